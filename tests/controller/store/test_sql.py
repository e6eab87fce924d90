"""The SQL ledger beyond its contract: two writers, a held lock, a full disk, a broken file, a killed process."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import stat
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import ConfigurationError, NotFound, StoreUnavailable, TargetBusy
from controller.model.notice import Notice
from controller.model.plan import Plan, Policy, Step
from controller.model.release import Change, Command, CommandKind, JournalEvent, Progress, ReleaseOrder, State
from controller.model.share import BasisPoints
from controller.model.target import Target
from controller.model.verdict import Decision, Ground, Verdict
from controller.store.sql import SqlStore

PLAN = Plan("short", (Step(BasisPoints(500)),))


def order(release: str = "rel-1", name: str = "catalog") -> tuple[ReleaseOrder, Command]:
    """An order with its START."""
    target = Target(name=name, stable="v1", versions={"v1": (), "v2": ()})
    made = ReleaseOrder(release, target, "v2", PLAN, Policy("calm"), "ada", "corr", 1.0)
    return made, Command(f"start-{release}", release, CommandKind.START, "ada", 1.0)


def happened(what: str, release: str = "rel-1", text: str = "it happened") -> JournalEvent:
    """An event of a release."""
    return JournalEvent(f"{release}:{what}", release, what, text, 2.0)


def alert(what: str, release: str = "rel-1") -> Notice:
    """A notice of a release."""
    return Notice(f"{release}.{what}", "hook", what, release, "title", "text", 3.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger will be."""
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqlStore]:
    """A fresh ledger that gives up on a held lock soon."""
    ledger = await SqlStore.open(f"sqlite:///{path}", wait_s=0.3)
    yield ledger
    await ledger.aclose()


@pytest.fixture
async def pair(path: Path) -> AsyncIterator[tuple[SqlStore, SqlStore]]:
    """Two ledgers on one file, as controller and worker have them, patient because test machines are slow."""
    both = (
        await SqlStore.open(f"sqlite:///{path}", wait_s=30),
        await SqlStore.open(f"sqlite:///{path}", wait_s=30),
    )
    yield both
    for each in both:
        await each.aclose()


@contextmanager
def lock_held(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process in the middle of a long write."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        other.execute("ROLLBACK")


async def test_sql_two_writers_never_see_a_lock(pair: tuple[SqlStore, SqlStore]) -> None:
    """Two processes' worth of threads write at once: everything is there, each event with its own growing seq."""
    for n in range(4):
        await pair[0].order(*order(f"rel-{n}", f"shop-{n}"))
    verdict = Verdict(Decision.HOLD, Ground.COLLECTING)

    async def write(n: int) -> int:
        ledger, release = pair[n % 2], f"rel-{n % 4}"
        await ledger.report(Progress(release, 0, BasisPoints(500), verdict, float(n)))
        seq = await ledger.record(
            happened(f"e{n}", release), Change(facts={f"f{n}": 1.0}), [alert(f"e{n}", release)]
        )
        assert (await ledger.events(release, after=seq - 1, limit=1))[0].id == f"{release}:e{n}"
        return seq

    seqs = await asyncio.gather(*(write(n) for n in range(80)))

    assert len(set(seqs)) == 80
    for n in range(4):
        events = await pair[1].events(f"rel-{n}")
        assert [event.seq for event in events] == sorted(event.seq for event in events)
        assert len((await pair[0].get_release(f"rel-{n}")).facts) == len(events) - 1 == 20
    assert len(await pair[0].pending_notices("hook", limit=1_000)) == 80


async def test_sql_of_orders_from_two_processes_one_wins(pair: tuple[SqlStore, SqlStore]) -> None:
    """The lock of a target holds between processes, and so does an idempotency key."""
    answers = await asyncio.gather(
        *(pair[n % 2].order(*order(f"rel-{n}")) for n in range(20)), return_exceptions=True
    )
    won = [answer.release.order.id for answer in answers if not isinstance(answer, BaseException)]
    again = await asyncio.gather(
        *(
            pair[n % 2].order(*(order(f"new-{n}", "b")[0], replace(order(f"new-{n}", "b")[1], id="same-key")))
            for n in range(10)
        )
    )

    assert len(won) == 1
    assert [answer.release for answer in answers if isinstance(answer, TargetBusy)] == won * 19
    assert [each.is_new for each in again].count(True) == 1
    assert len({each.release.order.id for each in again}) == 1


async def test_sql_held_lock_ends_in_store_unavailable(store: SqlStore, path: Path) -> None:
    """A writer that never lets go costs the bounded wait, never more; reading goes on, and afterwards writing."""
    await store.order(*order())

    with lock_held(path):
        began = time.monotonic()
        answers = await asyncio.gather(
            *(store.record(happened(f"e{n}")) for n in range(30)), return_exceptions=True
        )
        took_s = time.monotonic() - began
        seen = await store.events("rel-1")
    seq = await store.record(happened("e0"))

    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert took_s < 2
    assert len(seen) == 1
    assert seq == 2


async def test_sql_waits_for_a_lock_that_is_let_go(path: Path) -> None:
    """A lock that is held for less than the patience is waited for, and nobody sees it."""
    store = await SqlStore.open(f"sqlite:///{path}", wait_s=5.0)
    await store.order(*order())

    with lock_held(path):
        writing = asyncio.create_task(store.record(happened("e")))
        await asyncio.sleep(0.1)
        assert not writing.done()
    seq = await writing
    await store.aclose()

    assert seq == 2


async def test_sql_waiting_never_holds_the_event_loop(store: SqlStore, path: Path) -> None:
    """While calls wait for a lock, everything else in the process goes on."""
    await store.order(*order())
    turns = 0

    with lock_held(path):
        writing = asyncio.create_task(store.record(happened("e")))
        while not writing.done():
            await asyncio.sleep(0.005)
            turns += 1
        with pytest.raises(StoreUnavailable):
            await writing

    assert turns > 10


async def test_sql_full_disk_writes_nothing_by_half(store: SqlStore, path: Path) -> None:
    """When the disk takes no more, a write fails whole; what was there stays, and with space it works again."""
    await store.order(*order())
    wal = path.with_name("ledger.db-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    long = happened("long", text="x" * 2_000_000)

    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 200_000, hard))
    try:
        with pytest.raises(StoreUnavailable):
            await store.record(long, Change(state=State.CLOSING), [alert("long")])
        events = await store.events("rel-1")
        release = await store.get_release("rel-1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    seq = await store.record(long, Change(state=State.CLOSING), [alert("long")])

    assert [event.kind for event in events] == ["ordered"]
    assert release.state is State.STARTING
    assert seq == 2
    assert (await store.get_release("rel-1")).state is State.CLOSING


async def test_sql_failed_transaction_leaves_nothing(store: SqlStore, path: Path) -> None:
    """A record whose last statement fails takes back its change and its notices as well."""
    await store.order(*order())
    with closing(sqlite3.connect(path)) as other:
        other.execute(
            "CREATE TRIGGER seeded BEFORE INSERT ON journal WHEN NEW.kind = 'bad' "
            "BEGIN SELECT RAISE(FAIL, 'seeded failure'); END"
        )

    with pytest.raises(StoreUnavailable):
        await store.record(happened("bad"), Change(state=State.CLOSING), [alert("bad")])

    assert (await store.get_release("rel-1")).state is State.STARTING
    assert await store.notices("rel-1") == ()


def test_sql_journal_refuses_change(path: Path) -> None:
    """Nobody updates or deletes a journal row, whatever client they use."""

    async def make() -> None:
        store = await SqlStore.open(f"sqlite:///{path}")
        await store.order(*order())
        await store.aclose()

    asyncio.run(make())

    with closing(sqlite3.connect(path)) as other:
        for statement in ("UPDATE journal SET text = ''", "DELETE FROM journal"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                other.execute(statement)


async def test_sql_index_keeps_one_active_release(store: SqlStore, path: Path) -> None:
    """The lock is the database's: a second active row of a target cannot be written by hand either."""
    await store.order(*order())

    with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        other.execute(
            "INSERT INTO releases (id, environment, target, version, state, step, share, reason, ordered, facts) "
            "SELECT 'rel-2', environment, target, version, 'waiting', 0, 0, '', ordered, '{}' FROM releases"
        )


@pytest.mark.parametrize(
    "damage",
    ["ordered = '{'", "state = 'asleep'", "share = 10001", "facts = '[]'", "verdict = '{\"decision\": 1}'"],
)
async def test_sql_broken_row_stops_nobody_else(store: SqlStore, path: Path, damage: str) -> None:
    """A row that somebody changed by hand is said when asked for, and left out of lists; the others go on."""
    await store.order(*order("rel-1", "a"))
    await store.order(*order("rel-2", "b"))
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"UPDATE releases SET {damage} WHERE id = 'rel-1'")
        other.commit()

    with pytest.raises(StoreUnavailable, match="rel-1"):
        await store.get_release("rel-1")
    with pytest.raises(StoreUnavailable, match="rel-1"):
        await store.record(happened("e"), Change(reason="x"))
    found = [release.order.id for release in await store.list_releases()]

    assert found == ["rel-2"]
    assert len(await store.events("rel-1")) == 1


async def test_sql_file_and_folder_are_private(store: SqlStore, path: Path) -> None:
    """The ledger, its side files and its folder are for their owner alone."""
    await store.order(*order())

    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (path.parent, *path.parent.iterdir())}

    assert modes == {"state": 0o700, "ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


async def test_sql_closed_ledger_is_unavailable(store: SqlStore) -> None:
    """A call after the close says so."""
    await store.aclose()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.list_targets()


async def test_sql_deleted_tables_are_unavailable(store: SqlStore, path: Path) -> None:
    """A database that lost its tables is an error of ours, with the driver's reason."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE targets")

    with pytest.raises(StoreUnavailable, match="no such table"):
        await store.list_targets()


async def test_sql_file_that_is_no_database_is_unavailable(path: Path) -> None:
    """A file of something else is refused, and not overwritten."""
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to look like one\n" * 100)
    before = path.read_bytes()

    with pytest.raises(StoreUnavailable):
        await SqlStore.open(f"sqlite:///{path}")

    assert path.read_bytes() == before


async def test_sql_folder_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    """A place where no file can be made is said at the start."""
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable):
        await SqlStore.open(f"sqlite:///{tmp_path}/file/ledger.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense s3cret",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///x?mode=ro",
        "mysql://u:s3cret@h/d",
        "file:///x",
    ],
)
async def test_sql_unusable_url_is_a_mistake_of_the_settings(url: str) -> None:
    """A URL that several processes cannot share, or that names another database, is refused without its password."""
    with pytest.raises(ConfigurationError) as refused:
        await SqlStore.open(url)

    assert "SERINUS_STORE__URL" in refused.value.message
    assert "s3cret" not in f"{refused.value}{refused.value.__cause__}"


async def test_sql_cancelled_call_leaves_a_whole_ledger(path: Path) -> None:
    """Callers that give up in the middle leave whole transactions behind, and the next caller is served."""
    store = await SqlStore.open(f"sqlite:///{path}", wait_s=30)
    await store.order(*order())

    tasks = [asyncio.create_task(store.record(happened(f"e{n}"), None, [alert(f"e{n}")])) for n in range(40)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.record(happened("last"))
    await store.aclose()  # what had begun in a thread goes on to its end

    again = await SqlStore.open(f"sqlite:///{path}")
    written = {event.kind for event in await again.events("rel-1")} - {"ordered", "last"}
    sent = {notice.kind for notice, _ in await again.notices("rel-1")}
    await again.aclose()
    assert sent == written


CHILD = """
import asyncio, sys
from controller.model.release import JournalEvent
from controller.store.sql import SqlStore

async def main():
    store = await SqlStore.open(sys.argv[1])
    for n in range(100_000):
        await store.record(JournalEvent(f"rel-1:e{n}", "rel-1", f"e{n}", "x" * 500, 1.0))
        print(n, flush=True)

asyncio.run(main())
"""


@pytest.mark.process
async def test_sql_kill_loses_nothing_that_was_acknowledged(
    pair: tuple[SqlStore, SqlStore], path: Path
) -> None:
    """After kill -9 in the middle of writing, every event that was acknowledged is there, and writing goes on."""
    await pair[0].order(*order())

    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, f"sqlite:///{path}", stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    for _ in range(50):
        await asyncio.wait_for(child.stdout.readline(), 20)
    child.send_signal(signal.SIGKILL)
    rest = (await asyncio.wait_for(child.stdout.read(), 20)).decode().split("\n")[:-1]
    acknowledged = 50 + len(rest)
    await child.wait()

    kinds = {event.kind for event in await pair[1].events("rel-1", limit=10_000)}
    assert {f"e{n}" for n in range(acknowledged)} <= kinds
    assert await pair[1].record(happened("after"))


async def test_sql_unknown_release_is_not_found_after_reopen(path: Path) -> None:
    """What was written is there after a reopen, equal; what was not is not."""
    first = await SqlStore.open(f"sqlite:///{path}")
    await first.order(*order())
    await first.aclose()

    second = await SqlStore.open(f"sqlite:///{path}")
    release = await second.get_release("rel-1")
    with pytest.raises(NotFound):
        await second.get_release("rel-2")
    await second.aclose()

    assert release.order == order()[0]
