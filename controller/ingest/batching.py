"""Bodies of many senders become one insert: a store of columns pays for each insert, not for each byte.

Before it: `intake`, once for each signal. After it: the trace store. A sender waits until its own body is kept: for the
linger, for the insert that is under way, and for its own. What gathers meanwhile is the next batch, so batches grow by
themselves as the load does. After an insert the store rests for longer than the insert took, so that a trickle of small
bodies does not cost half a core; a body that comes after a silence waits for the linger only. A body that the store takes for
bad is refused alone.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from controller.errors import SerinusError

LINGER_S = 0.1
"""Seconds. An insert of a few spans costs 90 ms of CPU, as much as 5 000 spans do."""
REST = 3.0
"""Times what the last insert took: a trickle of bodies then keeps the store busy for a fourth of the time."""
LONGEST_REST_S = 0.4
"""Seconds; with an exporter's 500 ms and the insert, a span is still seen within 1.5 s."""
MOST_ITEMS = 50_000
MOST_BYTES = 32 * 1024 * 1024


@dataclass(slots=True)
class _Waiting:
    body: bytes
    items: int
    kept: asyncio.Future[None]


class Batcher:
    """Gathers bodies and hands them on, one batch at a time.

    Args:
        keep: Keeps a batch. An error that cannot be tried again says that one of its bodies is bad, and that none was
            kept; each is then tried alone.
        linger_s: How long the first body of a batch waits for company, seconds.
        most_items: Spans, records or points of one batch, unless one body has more.
        most_bytes: Bytes of one batch, unless one body has more.
    """

    def __init__(
        self,
        keep: Callable[[Sequence[bytes]], Awaitable[None]],
        *,
        linger_s: float = LINGER_S,
        most_items: int = MOST_ITEMS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._keep = keep
        self._linger_s = linger_s
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._waiting: deque[_Waiting] = deque()
        self._items = 0
        self._rested_at_s = -math.inf
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def add(self, body: bytes, items: int) -> None:
        """Return when a body is kept. Whoever stops waiting does not take it back.

        Raises:
            TracesUnavailable: It is not kept.
            SerinusError: The store takes it for bad.
        """
        one = _Waiting(body, items, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        self._items += items
        if self._items >= self._most_items:
            self._full.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="batcher")
        await one.kept

    async def aclose(self) -> None:
        """Return when everything that waits is kept or refused."""
        self._full.set()
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                if self._linger_s > 0:
                    await self._gather()
                begun_s = time.monotonic()
                await self._flush(self._next())
                self._rested_at_s = rested_at_s(begun_s, time.monotonic())
        finally:
            self._task = None

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(max(self._linger_s, self._rested_at_s - time.monotonic())):
                await self._full.wait()
        except TimeoutError:
            pass

    def _next(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        items, size = batch[0].items, len(batch[0].body)
        while self._waiting:
            one = self._waiting[0]
            items, size = items + one.items, size + len(one.body)
            if items > self._most_items or size > self._most_bytes:
                break
            batch.append(self._waiting.popleft())
        self._items = sum(one.items for one in self._waiting)
        if self._items < self._most_items:
            self._full.clear()
        return batch

    async def _flush(self, batch: list[_Waiting]) -> None:
        try:
            await self._keep([one.body for one in batch])
        except SerinusError as error:
            if len(batch) == 1 or error.retryable:
                _refuse(batch, error)
                return
            for one in batch:
                await self._flush([one])
        except Exception as error:
            # The senders' edges log it and answer; the batcher itself must go on.
            _refuse(batch, error)
        else:
            for one in batch:
                if not one.kept.done():
                    one.kept.set_result(None)


def rested_at_s(begun_s: float, ended_s: float) -> float:
    """Return when the next insert may begin, unless it is a full one; times of one clock, seconds."""
    return ended_s + min(REST * (ended_s - begun_s), LONGEST_REST_S)


def _refuse(batch: list[_Waiting], error: Exception) -> None:
    for one in batch:
        if not one.kept.done():
            one.kept.set_exception(error)
