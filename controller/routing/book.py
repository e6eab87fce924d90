"""The book of the lease keeper: what must survive the router, on disk before anybody is told.

Before it: `keeper` decides. After it: nothing; a restarted router reads it and serves the right thing at once. Targets
with their present stable version, closures and epochs stay for ever; leases only for the boot they were given in,
because their deadlines are on the boot clock.

Writes run one after another in a thread of their own, so that a slow disk never holds up a renewal or a withdrawal.
What must not be lost (targets, grants, closures) is synced to the disk; deadlines of renewals are not: losing the last
ones lets a lease lapse early, which is safe.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from controller.errors import ConfigurationError, RouterUnavailable
from controller.model.lease import Closure, ClosureKind, Lease
from controller.model.share import basis_points
from controller.model.target import Target, TargetKey
from controller.routing.proto import codec

IN_MEMORY = ":memory:"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BUSY_MS = 2_000
LAYOUT = 2
"""Bumped when the tables change; a newer one is refused rather than guessed: a router that did not know of audiences
would give a share that was meant for few to everybody."""
OLDER = {1: "ALTER TABLE lease ADD COLUMN matches TEXT NOT NULL DEFAULT ''"}
"""What makes the next layout out of each older one."""
TABLES = """
CREATE TABLE IF NOT EXISTS target (key TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epoch (target TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (
  target TEXT PRIMARY KEY, boot_id TEXT NOT NULL, release TEXT NOT NULL, version TEXT NOT NULL, epoch INTEGER NOT NULL,
  share INTEGER NOT NULL, term_s REAL NOT NULL, deadline_s REAL NOT NULL, matches TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS closure (
  target TEXT NOT NULL, release TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL,
  verdict TEXT NOT NULL, PRIMARY KEY (target, release)
) WITHOUT ROWID;
"""

Write = Callable[[sqlite3.Connection], None]


@dataclass(slots=True)
class Contents:
    """Everything the book holds, as read at the start."""

    targets: dict[TargetKey, Target] = field(default_factory=dict)
    epochs: dict[TargetKey, int] = field(default_factory=dict)
    leases: dict[TargetKey, Lease] = field(default_factory=dict)
    closures: dict[tuple[TargetKey, str], Closure] = field(default_factory=dict)


def boot_id() -> str:
    """Return the id of this boot of the host; "" where the kernel has none (then no lease outlives the router)."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


class Book:
    """The keeper's durable state. Every `write_*` raises `RouterUnavailable` when the disk does not take it.

    Args:
        connection: An open database with the tables in it; used from the writing thread only.
        boot: The id of this boot.
        contents: What was read from it.
    """

    def __init__(self, connection: sqlite3.Connection, *, boot: str, contents: Contents) -> None:
        self._connection = connection
        self._boot = boot
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="book")
        self.contents = contents

    @classmethod
    def open(cls, path: Path | str, *, boot: str | None = None) -> Book:
        """Open or create a book.

        Args:
            path: The file, or ":memory:" for tests.
            boot: Instead of this boot's id, for tests.

        Raises:
            ConfigurationError: The file cannot be opened, is no book, or was written by another version of Serinus.
        """
        boot = boot_id() if boot is None else boot
        try:
            connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
            )
            connection.execute("PRAGMA journal_mode = WAL")
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, *OLDER, LAYOUT):
                raise ConfigurationError(f"{path} has layout {found}, this Serinus writes {LAYOUT}")
            if found in OLDER:
                connection.execute(OLDER[found])
            connection.executescript(TABLES)
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
            contents = _read(connection, boot)
        except (sqlite3.Error, ValueError, KeyError) as error:
            raise ConfigurationError(
                f"the router's book {path} cannot be read: {error}; move it away to start without leases"
            ) from error
        return cls(connection, boot=boot, contents=contents)

    async def write_target(self, target: Target) -> None:
        """Keep a target as it is now."""
        await self._write(lambda db: _put_target(db, target))

    async def forget_target(self, key: TargetKey) -> None:
        """Forget a target; its epoch and closures stay, so that an old holder can never come back."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM target WHERE key = ?", (key,))
            db.execute("DELETE FROM lease WHERE target = ?", (key,))

        await self._write(write)

    async def write_grant(self, lease: Lease) -> None:
        """Keep a new lease and its epoch."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO epoch VALUES (?, ?)", (lease.target, lease.epoch))
            row = (lease.target, self._boot, lease.release, lease.version, lease.epoch)
            times = (lease.share, lease.term_s, lease.deadline_s, codec.matches_to_json(lease.matches))
            db.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, *times))

        await self._write(write)

    async def write_deadlines(self, leases: Sequence[Lease]) -> None:
        """Keep the deadlines of renewed leases, without waiting for the disk."""
        rows = [(lease.deadline_s, lease.target, lease.epoch) for lease in leases]
        await self._write(
            lambda db: _update_deadlines(db, rows),
            is_synced=False,
        )

    async def write_closure(self, closure: Closure, *, promoted: Target | None = None) -> None:
        """Bar a release, end its lease and, for a promotion, keep the new stable version: all or nothing."""

        def write(db: sqlite3.Connection) -> None:
            _put_closure(db, closure)
            if promoted is not None:
                _put_target(db, promoted)

        await self._write(write)

    async def aclose(self) -> None:
        """Finish what is being written and close the file. Idempotent."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self._connection.close()

    async def _write(self, write: Write, *, is_synced: bool = True) -> None:
        def run() -> None:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                write(self._connection)
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except (sqlite3.Error, RuntimeError) as error:
            raise RouterUnavailable(
                f"the router cannot write its book ({error}): free disk space or mend the disk, then repeat"
            ) from error


def _put_target(db: sqlite3.Connection, target: Target) -> None:
    db.execute("INSERT OR REPLACE INTO target VALUES (?, ?)", (target.key, codec.target_to_json(target)))


def _put_closure(db: sqlite3.Connection, closure: Closure) -> None:
    row = (closure.target, closure.release, closure.kind.value, closure.reason, closure.at)
    verdict = codec.verdict_to_json(closure.verdict)
    db.execute("INSERT OR REPLACE INTO closure VALUES (?, ?, ?, ?, ?, ?)", (*row, verdict))
    db.execute("DELETE FROM lease WHERE target = ? AND release = ?", (closure.target, closure.release))


def _update_deadlines(db: sqlite3.Connection, rows: Sequence[tuple[float, str, int]]) -> None:
    db.executemany("UPDATE lease SET deadline_s = ? WHERE target = ? AND epoch = ?", rows)


def _read(db: sqlite3.Connection, boot: str) -> Contents:
    contents = Contents()
    for key, text in db.execute("SELECT key, json FROM target"):
        contents.targets[TargetKey(key)] = codec.target_from_json(text)
    contents.epochs = {TargetKey(key): epoch for key, epoch in db.execute("SELECT target, epoch FROM epoch")}
    db.execute("DELETE FROM lease WHERE boot_id <> ? OR boot_id = ''", (boot,))
    rows = db.execute("SELECT target, release, version, epoch, share, term_s, deadline_s, matches FROM lease")
    for target, release, version, epoch, share, term_s, deadline_s, matches in rows:
        audience = codec.matches_from_json(matches)
        lease = Lease(target, release, version, epoch, basis_points(share), term_s, deadline_s, audience)
        contents.leases[lease.target] = lease
    for target, release, kind, reason, at, verdict in db.execute("SELECT * FROM closure"):
        closure = Closure(
            TargetKey(target), release, ClosureKind(kind), reason, at, codec.verdict_from_json(verdict)
        )
        contents.closures[closure.target, closure.release] = closure
    return contents
