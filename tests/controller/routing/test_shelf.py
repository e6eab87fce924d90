"""The past survives the router, and nothing that is wrong with its file can hold the router up."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.model.target import TargetKey
from controller.model.wealth import Tally
from controller.routing.past import Past
from controller.routing.shelf import STEP, Shelf, _collect

NOW = 1_700_000_000.0
SHOP = TargetKey("local.catalog")
BOUNDS_S = (0.001, 0.01)


def serve(past: Past, name: str, since: float, seconds: int, number: int = 3) -> float:
    """Serve the same each second; returns when it was over."""
    for second in range(1, seconds + 1):
        tries = {"a": Tally(number, 1), "b": Tally(1, 0)}
        past.of(name).add(since + second, 1.0, Tally(number + 1, 1), tries, (number, 0, 1))
    return since + seconds


def everything(past: Past, now: float) -> dict[str, object]:
    """Return all that can be asked of a past."""
    return {
        **{name: one.history(3_600.0, now, BOUNDS_S) for name, one in past.versions.items()},
        "earlier": past.earlier,
    }


async def test_a_restarted_router_knows_what_was_served(tmp_path: Path) -> None:
    """Minutes, buckets and earlier versions come back; the gap is simply not there."""
    shelf = Shelf(tmp_path / "history.db")
    past = shelf.open(NOW)
    later = serve(past, "v1", NOW, 150)
    await shelf.save(past, later)
    later = serve(past, "v1", later, 10)
    serve(past, "v2", NOW, 5)
    past.retire(SHOP, "v1", "v1")
    await shelf.save(past, later)
    await shelf.aclose()

    found = Shelf(tmp_path / "history.db").open(later + 600)
    before = everything(past, later)
    restored = everything(found, later)
    serve(found, "v1", later + 600, 30)
    history = found.of("v1").history(3_600.0, later + 630)

    assert restored == before
    assert [row[0].total for row in history.minutes] == [180, 180, 120, 90]
    assert history.window_s == 190.0


async def test_only_what_changed_is_written(tmp_path: Path) -> None:
    """A save after another one writes the newest minutes, and drops what is older than an hour."""
    shelf = Shelf(tmp_path / "history.db")
    past = shelf.open(NOW)
    later = serve(past, "v1", NOW, 130)
    await shelf.save(past, later)
    assert list(past.changed()) == []
    serve(past, "v1", later, 1)
    assert [minute.began_at for _, _, minute in past.changed()] == [NOW + 120]
    await shelf.save(past, NOW + 3_700)
    await shelf.aclose()

    with sqlite3.connect(tmp_path / "history.db") as db:
        rows = db.execute("SELECT began_at, covered_s FROM minute ORDER BY began_at").fetchall()
    db.close()

    assert rows == [(NOW + 120, 11.0)]


async def test_a_router_that_restarts_often_goes_on_in_the_same_minute(tmp_path: Path) -> None:
    """Sixty restarts in an hour must not push the hour out."""
    now = NOW
    for _ in range(20):
        shelf = Shelf(tmp_path / "history.db")
        past = shelf.open(now)
        now = serve(past, "v1", now, 10)
        await shelf.save(past, now)
        await shelf.aclose()

    assert len(past.of("v1").minutes) <= 5
    assert past.of("v1").history(3_600.0, now).window_s == 200.0


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage" * 1_000, b"SQLite format 3\x00" + b"\xff" * 5_000],
    ids=["empty", "garbage", "broken"],
)
async def test_garbage_is_thrown_away(tmp_path: Path, content: bytes) -> None:
    """A file that is no database is replaced by a new one that works."""
    path = tmp_path / "history.db"
    path.write_bytes(content)

    shelf = Shelf(path)
    past = shelf.open(NOW)
    assert past.versions == {}
    later = serve(past, "v1", NOW, 5)
    await shelf.save(past, later)
    await shelf.aclose()

    assert Shelf(path).open(later).of("v1").history(3_600.0, later).total == 20


@pytest.mark.parametrize(
    "change",
    [
        "PRAGMA user_version = 99",
        "UPDATE version SET instances = '[1]'",
        'UPDATE version SET instances = \'{"a": 0, "b": 0}\'',
        "UPDATE version SET instances = '{\"a\": 99}'",
        "UPDATE minute SET counts = x'00'",
        "UPDATE minute SET counts = x'0000000000000000'",
        "UPDATE minute SET buckets = 7",
        "UPDATE minute SET covered_s = 'long'",
        "UPDATE earlier SET versions = '{}x'",
        "DROP TABLE earlier; CREATE TABLE earlier (other)",
    ],
)
async def test_a_strange_content_is_thrown_away(tmp_path: Path, change: str) -> None:
    """Another layout, and values that are not ours, are no past: the router starts with an empty one."""
    path = tmp_path / "history.db"
    shelf = Shelf(path)
    past = shelf.open(NOW)
    later = serve(past, "v1", NOW, 5)
    past.retire(SHOP, "v0", "v1")
    await shelf.save(past, later)
    await shelf.aclose()
    db = sqlite3.connect(path)
    db.executescript(change)
    db.close()

    found = Shelf(path).open(later)

    assert (found.versions, found.earlier) == ({}, {})


async def test_a_disk_that_takes_nothing_holds_nobody_up(tmp_path: Path) -> None:
    """It is said once; what was not written is written when the disk is well again."""
    folder = tmp_path / "not-there"
    shelf = Shelf(folder / "history.db")
    past = shelf.open(NOW)
    later = serve(past, "v1", NOW, 5)
    with capture_logs() as logs:
        await shelf.save(past, later)
        await shelf.save(past, later)

    assert len(list(past.changed())) == 1
    assert [line["event"] for line in logs] == ["history_not_kept"]


async def test_others_go_on_while_a_large_past_is_gathered() -> None:
    """Ten thousand versions hold no push up: there is a stop every few milliseconds."""
    past, ticks = Past(), 0
    for number in range(5 * STEP):
        past.of(f"local.s{number}/v1").add(NOW, 1.0, Tally(3, 1), {"a:1": Tally(3, 1)})

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            past.of(f"local.new{ticks}/v1").add(NOW, 1.0, Tally(3, 1), {})
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    changes = await _collect(past, NOW)
    ticking.cancel()

    assert ticks == 5
    assert len(changes.minutes) == 5 * STEP
