"""Client of the fork server that makes service processes: one connection, JSON lines, exits reported as they happen.

Before it: `versions` decides what runs. After it: `services.launcher`, a part of the stack. The launcher may die and
come back at any time: every call then raises `WorkloadsUnavailable`, and `on_lost` says that all its children are gone
(they die with it).
"""

from __future__ import annotations

import asyncio
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from controller.errors import WorkloadsUnavailable

CALL_DEADLINE_S = 5.0
_LONGEST_LINE = 1024 * 1024


class StartRefused(WorkloadsUnavailable):
    """The launcher answers, but cannot start this one: a port in use, an option it does not know."""


class Forks(ABC):
    """Starts and stops single service processes."""

    @abstractmethod
    async def start(self, name: str, version: str, port: int, options: Mapping[str, object]) -> int:
        """Start one process and return its pid, without waiting for readiness.

        Raises:
            StartRefused: The launcher says why not.
            WorkloadsUnavailable: The launcher does not answer.
        """

    @abstractmethod
    async def stop(self, pid: int, *, grace_s: float) -> None:
        """End one process; returns when the launcher took the order. A pid that is gone is no error.

        Raises:
            WorkloadsUnavailable: The launcher does not answer.
        """

    @abstractmethod
    def watch(self, *, on_exit: Callable[[int, int], None], on_lost: Callable[[], None]) -> None:
        """Say whom to tell: `on_exit(pid, code)` for each exit, `on_lost()` when all children are gone at once."""


class LauncherForks(Forks):
    """`Forks` over the launcher's unix socket.

    Args:
        socket: Path of the socket.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._alive: set[int] = set()
        self._on_exit: Callable[[int, int], None] = lambda pid, code: None
        self._on_lost: Callable[[], None] = lambda: None

    def watch(self, *, on_exit: Callable[[int, int], None], on_lost: Callable[[], None]) -> None:
        """Say whom to tell about exits and about the launcher's own death."""
        self._on_exit = on_exit
        self._on_lost = on_lost

    async def start(self, name: str, version: str, port: int, options: Mapping[str, object]) -> int:
        """Start one process and return its pid."""
        order = {"op": "start", "name": name, "version": version, "port": port, "options": dict(options)}
        answer = await self._ask(order)
        pid = answer.get("pid")
        if not isinstance(pid, int):
            raise StartRefused(f"the launcher did not start {name} {version}: {answer.get('error')}")
        self._alive.add(pid)
        return pid

    async def stop(self, pid: int, *, grace_s: float) -> None:
        """End one process."""
        await self._ask({"op": "stop", "pid": pid, "grace_s": grace_s})

    async def aclose(self) -> None:
        """Hang up. Idempotent; the children go on as long as the launcher lives."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _ask(self, order: Mapping[str, object]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                async with self._connecting:
                    if self._writer is None:
                        await self._connect()
                return await self._exchange(order)
        except (OSError, TimeoutError) as error:
            raise WorkloadsUnavailable(
                f"the service launcher does not answer: {str(error) or 'timeout'}"
            ) from error

    async def _exchange(self, order: Mapping[str, object]) -> dict[str, Any]:
        if self._writer is None:
            raise ConnectionError("the launcher hung up")
        number = next(self._ids)
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(json.dumps({**order, "id": number}).encode() + b"\n")
            await self._writer.drain()
            return await self._asked[number]
        finally:
            del self._asked[number]

    async def _connect(self) -> None:
        """Open the connection and learn what lives: exits may have been missed, a start's answer may have got lost."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket), limit=_LONGEST_LINE)
        self._writer = writer
        self._reading = asyncio.create_task(self._read(reader, writer), name="launcher events")
        try:
            listed = await self._exchange({"op": "list"})
        except BaseException:
            writer.close()  # Half-known is unknown: the next call begins again.
            raise
        living = {int(child["pid"]) for child in listed.get("children", ())}
        for pid in self._alive - living:
            self._exited(pid, 0)
        for pid in living - self._alive:
            await self._exchange({"op": "stop", "pid": pid, "grace_s": 0})

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self._hear(json.loads(line))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # A line that is none of ours: the connection is of no use any more, as if it had been closed.
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(ConnectionError("the launcher hung up"))
            self._alive.clear()
            self._on_lost()

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("event") == "exited":
            # Scheduled, not called: if the child's start was answered on the line before, whoever asked must take the
            # pid first.
            asyncio.get_running_loop().call_soon(self._exited, int(message["pid"]), int(message["code"]))
            return
        asked = self._asked.get(message.get("id", 0))
        if asked is not None and not asked.done():
            asked.set_result(message)

    def _exited(self, pid: int, code: int) -> None:
        self._alive.discard(pid)
        self._on_exit(pid, code)
