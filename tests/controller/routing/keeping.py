"""A lease keeper with everything around it in memory, and clocks that a test moves by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from controller.model.lease import GrantRequest, Lease
from controller.model.share import basis_points
from controller.model.target import Target, TargetKey
from controller.routing.book import IN_MEMORY, Book
from controller.routing.keeper import Keeper
from controller.routing.memory import MemoryPlane

SHOP = Target(
    name="catalog",
    stable="v1",
    versions={"v1": ("127.0.0.1:7001",), "v2": ("127.0.0.1:7002",), "v3": ("127.0.0.1:7003",), "v4": ()},
)
KEY = SHOP.key


@dataclass(slots=True)
class HandClock:
    """Boot and wall clock of one host."""

    now_s: float = 100.0

    def boot_s(self) -> float:
        """Return the boot clock, seconds."""
        return self.now_s

    def wall_s(self) -> float:
        """Return the time of day, seconds since 1970."""
        return 1_700_000_000.0 + self.now_s


@dataclass(slots=True)
class Desk:
    """One router: keeper, plane, book and clock."""

    keeper: Keeper
    plane: MemoryPlane
    book: Book
    clock: HandClock = field(default_factory=HandClock)

    def share(self, target: TargetKey = KEY) -> int:
        """Return the share that traffic sees now, basis points."""
        applied = self.plane.share_of(target)
        return applied.share if applied else 0

    async def tick(self) -> None:
        """Tick once and wait for what it began."""
        await self.keeper.tick()
        await self.keeper.finish()


async def open_desk(
    path: Path | str = IN_MEMORY, *, boot: str = "boot-1", clock: HandClock | None = None
) -> Desk:
    """Start a router on a book; a second one on the same file is a restart after a crash."""
    clock = clock or HandClock()
    plane, book = MemoryPlane(clock=clock.boot_s), Book.open(path, boot=boot)
    keeper = Keeper(plane=plane, book=book, boot_clock=clock.boot_s, wall_clock=clock.wall_s)
    await keeper.start()
    return Desk(keeper, plane, book, clock)


def asking(
    release: str = "rel-1",
    version: str = "v2",
    *,
    share: int = 1_000,
    after: int = 0,
    term_s: float = 5.0,
    target: TargetKey = KEY,
) -> GrantRequest:
    """Return a grant request."""
    return GrantRequest(target, release, version, basis_points(share), term_s, after)


def live(lease: Lease | None) -> Lease:
    """Return a lease that must be there."""
    assert lease is not None
    return lease
