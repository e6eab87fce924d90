"""Threads in front of the engine: one writes, a few read, each with a connection of its own.

Before it: the questions of `store`. After it: a `Connection` a thread. The engine lets go of Python's lock while it
works, so the event loop goes on. Opening happens in the background, begins at once, and is tried again after a failure:
the process that receives spans is up before its store is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from controller.errors import SerinusError, TracesUnavailable
from controller.traces.clickhouse.connection import Connection, Row

READERS = 3
RETRY_S = 2.0
"""After opening failed, seconds until a caller tries it again; until then each gets the same answer."""
GRACE_S = 0.5
Answer = TypeVar("Answer")


class Crew:
    """Runs blocking work on connections.

    Args:
        connect: Makes a connection; called once a thread, by that thread.
        prepare: Brings the tables up to date; called once, before anything else.
        deadline_s: Longest time for one question, waiting for a thread included, seconds.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        prepare: Callable[[Connection], object],
        deadline_s: float,
        readers: int = READERS,
    ) -> None:
        self._connect = connect
        self._prepare = prepare
        self.deadline_s = deadline_s
        self._own = threading.local()
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self._writer = ThreadPoolExecutor(1, "traces-writer")
        self._readers = ThreadPoolExecutor(readers, "traces-reader")
        self._closed = False
        self._opening = self._writer.submit(self._open)
        self._opened_at = time.monotonic()

    async def ask(self, statement: str) -> list[Row]:
        """Return the rows of one SELECT (without SETTINGS and FORMAT).

        Raises:
            TracesUnavailable: No answer within the deadline, or the engine refused.
        """
        return await self.read(lambda connection: connection.rows(statement, deadline_s=self.deadline_s))

    async def read(self, work: Callable[[Connection], Answer]) -> Answer:
        """Do something on a reader's connection.

        Raises:
            TracesUnavailable: No answer within the deadline, or the engine refused.
        """
        try:
            # The engine gives up by itself; the rest is for waiting and for the way back.
            async with asyncio.timeout(self.deadline_s + GRACE_S):
                return await self._run(self._readers, work)
        except TimeoutError as error:
            raise TracesUnavailable(
                "the trace store did not answer in time; ask for a shorter time"
            ) from error

    async def write(self, work: Callable[[Connection], Answer]) -> Answer:
        """Do something on the writer's connection, after whatever it is doing now. Not cut off by a deadline."""
        return await self._run(self._writer, work)

    async def aclose(self) -> None:
        """Let work under way end, then close the connections. Idempotent."""
        self._closed = True
        for pool in (self._readers, self._writer):
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
        with self._lock:
            closing, self._connections = self._connections, []
        for connection in closing:
            await asyncio.to_thread(connection.close)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[Connection], Answer]) -> Answer:
        if self._closed:
            raise TracesUnavailable("the trace store is closed")
        await asyncio.shield(asyncio.wrap_future(self._open_again()))
        return await asyncio.wrap_future(pool.submit(lambda: work(self._connection())))

    def _open_again(self) -> Future[None]:
        failed = self._opening.done() and self._opening.exception() is not None
        if failed and time.monotonic() - self._opened_at > RETRY_S:
            self._opening, self._opened_at = self._writer.submit(self._open), time.monotonic()
        return self._opening

    def _open(self) -> None:
        try:
            self._prepare(self._connection())
        except SerinusError:
            raise
        except Exception as error:
            raise TracesUnavailable(f"the trace store cannot be opened ({error})") from error

    def _connection(self) -> Connection:
        found: Connection | None = getattr(self._own, "connection", None)
        if found is None:
            found = self._own.connection = self._connect()
            with self._lock:
                self._connections.append(found)
        return found
