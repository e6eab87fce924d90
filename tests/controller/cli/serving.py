"""A controller over the memory adapters on a real loopback port, in a thread: what the command line talks to in tests."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from controller.api.events import Streaming
from controller.cli.client import Api, Location
from tests.controller.releases.world import TOKEN, World, a_world

Result = TypeVar("Result")
PATIENCE_S = 10.0


class _Quiet(uvicorn.Server):
    """uvicorn without signal handlers: it runs in a thread, and the tests own the signals."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Serving:
    """A running controller.

    Args:
        folder: The state folder: gets the token and `up.json`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._opened = a_world(streaming=Streaming(poll_s=0.02))
        self.world: World = self.do(self._opened.__aenter__())
        self._server: _Quiet | None = None
        self._task: asyncio.Task[None] | None = None
        (folder / "token").write_text(f"{TOKEN}\n")
        self.up()

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run something in the controller's thread and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def up(self) -> None:
        """Start serving on a fresh port and write it down, as a run does."""
        self.do(self._up())
        (self.folder / "up.json").write_text(json.dumps({"api": self.url}))

    async def _up(self) -> None:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._server = _Quiet(
            uvicorn.Config(self.world.app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        )
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            await asyncio.sleep(0.005)

    def down(self) -> None:
        """Stop serving, with open streams; the world stays."""
        self.do(self._down())

    async def _down(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = self._server.force_exit = True
            # A process that dies takes its connections along; a server that stops in a thread does not.
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
            await self._task
        self._server = None

    def api(self) -> Api:
        """Return a client that asks for the address before each call."""
        return Api(where=lambda: Location(self.url, TOKEN))

    def close(self) -> None:
        """Stop everything."""
        self.down()
        self.do(self._opened.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()
