"""Pushes go first: Envoy answers pushes and questions about counts in one thread, one after the other.

Before it: `plane` says when a push begins and ends. After it: `reader` asks for its next page when none is on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class RightOfWay:
    """Knows whether a push waits for its acknowledgement."""

    def __init__(self) -> None:
        self._pushes = 0
        self._changed = asyncio.Event()

    @contextmanager
    def push(self) -> Iterator[None]:
        """Have the right of way in this block; several can have it."""
        self._pushes += 1
        try:
            yield
        finally:
            self._pushes -= 1
            self._changed.set()

    async def free(self, within_s: float) -> None:
        """Wait until no push is on its way, so many seconds at most: counts must not grow old behind pushes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._pushes:
                    self._changed.clear()
                    await self._changed.wait()
