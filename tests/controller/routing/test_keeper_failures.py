"""The keeper when disk, proxy or time do not do what they should."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import ConfigurationError, InvalidInput, LeaseHeld, ReleaseClosed, RouterUnavailable
from controller.model.lease import ClosureKind, Renewal, Standing
from controller.model.traffic import Match
from controller.routing.book import Book
from controller.routing.keeper import Keeper
from controller.routing.memory import MemoryPlane
from controller.routing.port import PlaneCapabilities
from tests.controller.routing.keeping import KEY, SHOP, Desk, HandClock, asking, open_desk

LONG = "x" * 1_900
"""A reason that needs a new page of the database."""


class Disk:
    """Fills up and empties: a real limit of SQLite on the number of pages."""

    def __init__(self, book: Book) -> None:
        # The one reach into the book: nothing else makes SQLite itself say that the disk is full.
        self._connection = book._connection

    def fill(self) -> None:
        """Let no further page be written."""
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        self._connection.execute(f"PRAGMA max_page_count = {pages}")

    def empty(self) -> None:
        """Let pages be written again."""
        self._connection.execute("PRAGMA max_page_count = 100000")


async def _exhaust(desk: Desk) -> None:
    """Use up the free space inside the pages that exist."""
    with suppress(RouterUnavailable):
        for number in range(50):
            await desk.keeper.close(KEY, f"old-{number}", ClosureKind.ABORTED, LONG)
        raise AssertionError("the disk did not fill up")


class Blunt(MemoryPlane):
    """A plane that has shares and knows nothing of requests."""

    def capabilities(self) -> PlaneCapabilities:
        """Say the least."""
        return PlaneCapabilities()


async def test_a_plane_that_cannot_narrow_gets_no_audience() -> None:
    """What was meant for few is refused, instead of being given to everybody."""
    clock, plane = HandClock(), Blunt()
    keeper = Keeper(plane=plane, book=Book.open(":memory:"), boot_clock=clock.boot_s, wall_clock=clock.wall_s)
    await keeper.start()
    await keeper.declare(SHOP)

    with pytest.raises(InvalidInput) as caught:
        await keeper.grant(replace(asking(), matches=(Match(headers={"x-internal": "1"}),)))

    assert caught.value.field == "matches"
    assert plane.share_of(KEY) is None
    assert (await keeper.grant(asking())).epoch == 1
    await keeper.aclose()


async def test_a_restarted_router_serves_the_same_audience(tmp_path: Path) -> None:
    """What was given to few is still given to few, and not to everybody."""
    inside = (Match(headers={"x-internal": "1"}),)
    desk = await open_desk(tmp_path / "book.db")
    await desk.keeper.declare(SHOP)
    await desk.keeper.grant(replace(asking(share=10_000), matches=inside))

    restarted = await open_desk(tmp_path / "book.db", clock=desk.clock)

    served = restarted.plane.share_of(KEY)
    assert served is not None
    assert (served.share, served.matches) == (10_000, inside)


async def test_a_book_from_before_audiences_is_read_and_written_on(tmp_path: Path) -> None:
    """Layout 1 has no column for them: its leases are for everybody, as they were."""
    desk = await open_desk(tmp_path / "book.db")
    await desk.keeper.declare(SHOP)
    await desk.keeper.grant(asking())
    await desk.keeper.aclose()
    with sqlite3.connect(tmp_path / "book.db") as old:
        old.execute("ALTER TABLE lease DROP COLUMN matches")
        old.execute("PRAGMA user_version = 1")
    old.close()

    restarted = await open_desk(tmp_path / "book.db", clock=desk.clock)

    served = restarted.plane.share_of(KEY)
    assert served is not None
    assert (served.share, served.matches) == (1_000, ())
    inside = (Match(headers={"x-internal": "1"}),)
    await restarted.keeper.grant(replace(asking(after=1), matches=inside))
    again = await open_desk(tmp_path / "book.db", clock=desk.clock)
    assert [one.matches for one in again.keeper.shares().values()] == [inside]


async def test_a_full_disk_cannot_keep_a_canary_alive(desk: Desk) -> None:
    """The close takes the share back and bars the release in memory; the error says that the bar is not on disk."""
    await desk.keeper.grant(asking())
    Disk(desk.book).fill()
    await _exhaust(desk)

    with pytest.raises(RouterUnavailable, match="full"):
        await desk.keeper.close(KEY, "rel-1", ClosureKind.FAILED, LONG)

    await desk.keeper.finish()
    assert desk.share() == 0
    with pytest.raises(ReleaseClosed):
        await desk.keeper.grant(asking(after=1))
    assert (await desk.keeper.renew([Renewal(KEY, "rel-1", 1)]))[0].standing is Standing.CLOSED


async def test_a_close_reaches_the_disk_when_there_is_space_again(tmp_path: Path) -> None:
    """The next tick writes the bar that was missing, and a restart knows it."""
    desk = await open_desk(tmp_path / "book.db")
    await desk.keeper.declare(SHOP)
    disk = Disk(desk.book)
    disk.fill()
    await _exhaust(desk)
    with pytest.raises(RouterUnavailable):
        await desk.keeper.close(KEY, "rel-1", ClosureKind.FAILED, LONG)
    await desk.tick()
    disk.empty()

    await desk.tick()

    restarted = await open_desk(tmp_path / "book.db")
    with pytest.raises(ReleaseClosed):
        await restarted.keeper.grant(asking())
    await desk.keeper.aclose()
    await restarted.keeper.aclose()


async def test_a_full_disk_grants_and_promotes_nothing(desk: Desk) -> None:
    """What cannot be remembered is not given: no lease, no epoch, no new stable version."""
    desk.book._connection.execute("PRAGMA query_only = ON")

    with pytest.raises(RouterUnavailable):
        await desk.keeper.grant(asking())
    with pytest.raises(RouterUnavailable):
        await desk.keeper.promote(KEY, "rel-1", "v2")
    with pytest.raises(RouterUnavailable):
        await desk.keeper.declare(SHOP.at("v4", ("127.0.0.1:7004",)))
    with pytest.raises(RouterUnavailable):
        await desk.keeper.remove(KEY)

    seen = await desk.keeper.observe(KEY)
    assert (seen.epoch, seen.stable, seen.lease, desk.share()) == (0, "v1", None, 0)
    assert await desk.keeper.targets() == (SHOP,)


async def test_renewals_go_on_while_the_disk_is_full(desk: Desk) -> None:
    """A lease in memory lives on: only its deadline on disk is late, which is safe."""
    await desk.keeper.grant(asking())
    desk.book._connection.execute("PRAGMA query_only = ON")

    for _ in range(3):
        desk.clock.now_s += 4.0
        (answer,) = await desk.keeper.renew([Renewal(KEY, "rel-1", 1)])
        await desk.tick()
        assert answer.standing is Standing.RENEWED

    assert desk.share() == 1_000


class SlowPlane(MemoryPlane):
    """A proxy that never acknowledges until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def push(self) -> None:
        """Apply, then wait for the acknowledgement."""
        await super().push()
        await self.gate.wait()


async def _slow() -> tuple[Keeper, SlowPlane, HandClock]:
    plane, clock = SlowPlane(), HandClock()
    keeper = Keeper(plane=plane, book=Book.open(":memory:"), boot_clock=clock.boot_s, wall_clock=clock.wall_s)
    await keeper.start()
    await keeper.declare(SHOP)
    return keeper, plane, clock


async def test_a_close_does_not_wait_behind_a_slow_grant() -> None:
    """While a grant waits for a proxy, an abort takes the share back and is on disk."""
    keeper, plane, _ = await _slow()
    plane.gate.clear()
    granting = asyncio.create_task(keeper.grant(asking()))
    while plane.share_of(KEY) is None:
        await asyncio.sleep(0)

    closing = asyncio.create_task(keeper.close(KEY, "rel-1", ClosureKind.ABORTED, "now"))
    while plane.share_of(KEY) is not None:
        await asyncio.sleep(0)

    plane.gate.set()
    assert (await closing).kind is ClosureKind.ABORTED
    await granting
    assert plane.share_of(KEY) is None
    await keeper.aclose()


async def test_a_tick_does_not_wait_for_a_proxy() -> None:
    """A proxy that does not answer holds up neither renewals nor the end of other leases."""
    keeper, plane, clock = await _slow()
    await keeper.grant(asking(term_s=1.0))
    plane.gate.clear()
    clock.now_s += 2.0

    await keeper.tick()
    await keeper.tick()

    assert plane.renewals == 2
    plane.gate.set()
    await keeper.finish()
    assert plane.share_of(KEY) is None
    await keeper.aclose()


async def test_a_close_that_meets_a_promotion_stands(desk: Desk) -> None:
    """An abort that arrives while the promotion is being written wins, on disk as well."""
    await desk.keeper.grant(asking())
    promoting = asyncio.create_task(desk.keeper.promote(KEY, "rel-1", "v2"))
    await asyncio.sleep(0)  # the promotion is with the disk now
    closure = await desk.keeper.close(KEY, "rel-1", ClosureKind.ABORTED, "no")

    with pytest.raises(ReleaseClosed):
        await promoting

    assert closure.kind is ClosureKind.ABORTED
    assert (await desk.keeper.observe(KEY)).stable == "v1"
    rows = desk.book._connection.execute("SELECT kind FROM closure").fetchall()
    assert rows == [("aborted",)]


async def test_a_close_that_meets_a_grant_stands(desk: Desk) -> None:
    """A release that is closed while its grant is being written gets no lease."""
    granting = asyncio.create_task(desk.keeper.grant(asking()))
    await asyncio.sleep(0)
    await desk.keeper.close(KEY, "rel-1", ClosureKind.ABORTED, "no")

    with pytest.raises(ReleaseClosed):
        await granting

    assert desk.share() == 0
    assert desk.book._connection.execute("SELECT count(*) FROM lease").fetchone() == (0,)


async def test_a_frozen_router_grants_nothing_when_it_wakes(desk: Desk) -> None:
    """Past the deadline no push carries the share, though no tick has run since."""
    await desk.keeper.grant(asking(term_s=5.0))
    desk.clock.now_s += 5.0

    await desk.plane.push()

    assert desk.share() == 0
    assert desk.keeper.leases == 0


async def test_what_a_proxy_lost_is_said_and_sent_again(desk: Desk) -> None:
    """A proxy that let go of its shares shows in `observe`, is counted, and has them again after a tick; no lease ends."""
    await desk.keeper.grant(asking())
    desk.plane.mischief.has_lost_layer = True
    lost = await desk.keeper.observe(KEY)
    without = desk.share()

    await desk.tick()
    healed = await desk.keeper.observe(KEY)
    (answer,) = await desk.keeper.renew([Renewal(KEY, "rel-1", 1)])

    assert (lost.is_applied, bool(lost.nodes[0].refusal), without) == (False, True, 0)
    assert (healed.is_applied, healed.nodes[0].lapses, desk.share()) == (True, 1, 1_000)
    assert desk.keeper.proxy_events == {"lapsed": 1}
    assert (answer.standing, healed.epoch) == (Standing.RENEWED, 1)


async def test_what_a_proxy_lost_does_not_outlive_the_lease(desk: Desk) -> None:
    """What is sent again is what is unexpired then: past the deadline that is nothing, and nothing was lost."""
    await desk.keeper.grant(asking(term_s=5.0))
    desk.plane.mischief.has_lost_layer = True
    desk.clock.now_s += 5.0

    await desk.tick()

    assert (desk.share(), desk.plane.lapses) == (0, 0)


async def test_a_restart_goes_on_with_unexpired_leases(tmp_path: Path) -> None:
    """A router that was killed serves targets, shares and closures again; the holder renews as before."""
    before = await open_desk(tmp_path / "book.db")
    await before.keeper.declare(SHOP)
    await before.keeper.grant(asking(term_s=5.0))
    await before.keeper.close(KEY, "rel-0", ClosureKind.FAILED, "bad")
    clock = before.clock
    clock.now_s += 3.0
    await before.keeper.renew([Renewal(KEY, "rel-1", 1)])
    await before.tick()
    clock.now_s += 4.0

    after = await open_desk(tmp_path / "book.db", clock=clock)
    await after.plane.push()

    assert after.share() == 1_000
    assert (await after.keeper.renew([Renewal(KEY, "rel-1", 1)]))[0].standing is Standing.RENEWED
    with pytest.raises(LeaseHeld):
        await after.keeper.grant(asking("rel-2", after=1))
    with pytest.raises(ReleaseClosed):
        await after.keeper.grant(asking("rel-0", after=1))
    await after.keeper.aclose()
    await before.keeper.aclose()


async def test_a_reboot_ends_every_lease_and_keeps_the_rest(tmp_path: Path) -> None:
    """Deadlines on another boot's clock mean nothing; epochs, closures and the promoted version stay."""
    before = await open_desk(tmp_path / "book.db", boot="boot-1")
    await before.keeper.declare(SHOP)
    await before.keeper.promote(KEY, "rel-0", "v3")
    await before.keeper.grant(asking(term_s=60.0))
    await before.keeper.aclose()

    after = await open_desk(tmp_path / "book.db", boot="boot-2", clock=HandClock(now_s=1.0))
    await after.plane.push()

    seen = await after.keeper.observe(KEY)
    assert (seen.epoch, seen.lease, seen.stable, after.share()) == (1, None, "v3", 0)
    assert (await after.keeper.close(KEY, "rel-0", ClosureKind.FAILED, "x")).kind is ClosureKind.PROMOTED
    await after.keeper.aclose()


def test_a_book_that_is_none_is_refused(tmp_path: Path) -> None:
    """Garbage, and a layout from another time, are said aloud instead of starting empty."""
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(ConfigurationError, match=r"garbage\.db"):
        Book.open(garbage)

    future = tmp_path / "future.db"
    with sqlite3.connect(future) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="layout 99"):
        Book.open(future)
