"""Loopback servers inside the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import uvicorn

from services.serve import listen

Serving = Callable[[Any], AbstractAsyncContextManager[str]]


class _Server(uvicorn.Server):
    """Stops when told, not at the next of ten ticks a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.stopping.wait()


@contextlib.asynccontextmanager
async def _serving(app: Any) -> AsyncIterator[str]:
    with listen(0) as bound:
        bound.listen()
        config = uvicorn.Config(
            app, log_config=None, ws="none", access_log=False, timeout_graceful_shutdown=2
        )
        server = _Server(config)
        running = asyncio.create_task(server._serve([bound]))
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.stopping.set()
            await running


@pytest.fixture
def serving() -> Serving:
    """Serve an app over real HTTP inside a block; its shutdown has run when the block ends."""
    return _serving


@contextlib.asynccontextmanager
async def _talking(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        current = asyncio.current_task()
        assert current is not None
        handlers.add(current)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            writer.close()
            # Cancelled only when the block ends; a cancelled handler would make asyncio complain about itself.
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for handler in handlers:
            handler.cancel()
        if handlers:
            await asyncio.wait(handlers, timeout=2)


@pytest.fixture
def talking() -> Callable[[Any], AbstractAsyncContextManager[str]]:
    """Run a server that says to each connection what it likes, inside a block."""
    return _talking
