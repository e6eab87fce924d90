"""What stands in the keeper's memory and not on disk yet: closures that take effect first, and deadlines of renewals.

Before it: `keeper` notes what is behind and lets it be written at each tick. After it: the book. A disk that does not
take it is said once and tried again; nothing waits for it but the answer to a close.
"""

from __future__ import annotations

import asyncio

from controller.errors import RouterUnavailable
from controller.model.target import TargetKey
from controller.observability import logger
from controller.routing.background import Background
from controller.routing.book import Book
from controller.routing.holdings import Holdings

log = logger(__name__)


class Arrears:
    """Writes late, and keeps what could not be written.

    Args:
        book: The disk.
        holdings: What is written.
        one_change: Held while a decision goes to disk.
        background: Where writes run that nobody waits for.
    """

    def __init__(
        self, *, book: Book, holdings: Holdings, one_change: asyncio.Lock, background: Background
    ) -> None:
        self._book = book
        self._holdings = holdings
        self._one_change = one_change
        self._background = background
        self._unwritten: set[tuple[TargetKey, str]] = set()
        """Closures that stand in memory and are not on disk yet."""
        self._renewed: set[TargetKey] = set()
        """Leases whose deadline on disk is old."""
        self._catching_up: asyncio.Task[None] | None = None
        self._is_disk_well = True

    def closed(self, target: TargetKey, release: str) -> None:
        """Note a closure that is not on disk."""
        self._unwritten.add((target, release))

    def renewed(self, target: TargetKey) -> None:
        """Note a deadline that is not on disk."""
        self._renewed.add(target)

    def begin(self) -> None:
        """Begin to write what is behind, unless that is going on. Does not wait."""
        if (self._unwritten or self._renewed) and (self._catching_up is None or self._catching_up.done()):
            self._catching_up = self._background.spawn(self._catch_up())

    async def finish(self) -> None:
        """Write what is behind."""
        if self._unwritten or self._renewed:
            await self._catch_up()

    async def write_closure(self, target: TargetKey, release: str) -> None:
        """Write one closure, if it is behind.

        Raises:
            RouterUnavailable: The disk does not take it; it stays behind.
        """
        key = (target, release)
        async with self._one_change:
            if key in self._unwritten:
                await self._book.write_closure(self._holdings.closures[key])
                self._unwritten.discard(key)

    async def _catch_up(self) -> None:
        """Write late closures and new deadlines; a disk that is not well is said once and tried again."""
        renewed, self._renewed = self._renewed, set()
        leases = self._holdings.leases
        try:
            for target, release in tuple(self._unwritten):
                await self.write_closure(target, release)
            await self._book.write_deadlines([leases[one] for one in renewed if one in leases])
        except RouterUnavailable as error:
            self._renewed |= renewed
            if self._is_disk_well:
                log.error("book_not_written", error=str(error))
            self._is_disk_well = False
        else:
            self._is_disk_well = True
