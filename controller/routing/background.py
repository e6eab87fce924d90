"""Work that a decision starts and does not wait for, such as a push while the disk is busy.

Before it: `keeper`. After it: nothing; what fails is logged here, once, because nobody else will hear of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from controller.errors import SerinusError
from controller.observability import logger

log = logger(__name__)


class Background:
    """Tasks that nobody awaits, kept alive until they are done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start a task; an error of ours in it is logged and does not reach the caller."""
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self) -> None:
        """Wait until nothing runs."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    @staticmethod
    async def _guard(work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except SerinusError as error:
            log.error("background_work_failed", error=str(error))
