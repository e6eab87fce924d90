"""A real Temporal server as a child process that a test can stop, freeze and bring back on the same port."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from tests.workflows.stage import temporal_binary
from workflows import attributes
from workflows.runtime import settle

UP_S = 20.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DevServer:
    """One server on one port, with our search attributes.

    Args:
        file: The database; None keeps everything in memory, so that nothing survives `kill`.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.port = free_port()
        self._file = file
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the process lives, frozen or not."""
        return self._process is not None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        names = [f"{key.name}=Keyword" for key in attributes.KEYWORDS] + [
            f"{key.name}=Int" for key in attributes.NUMBERS
        ]
        kept = (
            []
            if self._file is None
            else ["--db-filename", str(self._file), "--sqlite-pragma", "journal_mode=WAL"]
        )
        self._process = await asyncio.create_subprocess_exec(
            temporal_binary("temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1",
            "--port", str(self.port), "--http-port", str(free_port()), "--log-level", "never", *kept,
            *(part for name in names for part in ("--search-attribute", name)),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(UP_S):
            while not await self._answers():
                await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        try:
            client = await Client.connect(self.address)
            await client.count_workflows()
        except Exception:
            return False
        return True

    def freeze(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it without a chance to say goodbye."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            await self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)


@asynccontextmanager
async def a_server(file: Path | None = None) -> AsyncIterator[DevServer]:
    """Run a server for the length of a test."""
    server = DevServer(file)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
        await settle()
