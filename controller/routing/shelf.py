"""Keeps the past of a data plane's versions over restarts of the router, in a small database beside the book.

Before it: the counter reader hands over what changed, at most every 30 s and at the end. After it: the next router,
which begins with it; the time between is simply not there. Nothing depends on it: a file that cannot be read is thrown
away, a disk that does not take it is said once, and neither holds anybody up. It is not in the book, because the book
must be readable or the router does not start.

A database, because of a thousand versions only the newest minutes change: they are written, not the whole hour.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from controller.model.target import TargetKey
from controller.model.wealth import Tally
from controller.observability import logger
from controller.routing.past import MINUTE_S, MINUTES, Minute, Past

HOUR_S = MINUTES * MINUTE_S
BUSY_S = 2.0
STEP = 200
"""Minutes that are gathered without a stop; 3 ms."""
LAYOUT = 1
"""Bumped when the tables change; what another layout says is not understood and thrown away."""
TABLES = """
CREATE TABLE IF NOT EXISTS version (name TEXT PRIMARY KEY, instances TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS minute (
  name TEXT NOT NULL, began_at REAL NOT NULL, covered_s REAL NOT NULL, failed INTEGER NOT NULL, counts BLOB NOT NULL,
  buckets BLOB NOT NULL, PRIMARY KEY (name, began_at)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS earlier (target TEXT PRIMARY KEY, versions TEXT NOT NULL) WITHOUT ROWID;
"""
MINUTES_OF = "SELECT began_at, covered_s, failed, counts, buckets FROM minute WHERE name = ? AND began_at >= ? ORDER BY began_at"
UNREADABLE = (sqlite3.Error, ValueError, KeyError, TypeError, OverflowError, AttributeError, OSError)

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Changes:
    """What one save writes; made in the event loop, written in a thread."""

    versions: list[tuple[str, str]]
    minutes: list[tuple[str, float, float, int, bytes, bytes]]
    earlier: list[tuple[TargetKey, str]]
    now: float


class Shelf:
    """The file of one router.

    Args:
        path: Made when it is not there; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._is_well = True

    def open(self, now: float) -> Past:
        """Open the file and return what is in it of the last hour; an empty past when it cannot be read.

        Args:
            now: Seconds since 1970.
        """
        try:
            return self._read(now)
        except UNREADABLE as error:
            log.warning("history_thrown_away", file=self._path.name, error=str(error)[:200])
        self._close()
        for part in ("", "-wal", "-shm"):
            with suppress(OSError):
                self._path.with_name(self._path.name + part).unlink(missing_ok=True)
        with suppress(*UNREADABLE):
            return self._read(now)
        return Past()

    async def save(self, past: Past, now: float) -> None:
        """Write what changed since the last call. Never raises."""
        past.forget(now)
        changes = await _collect(past, now)
        try:
            await asyncio.to_thread(self._write, changes)
        except UNREADABLE as error:
            past.mark_changed()
            if self._is_well:
                log.warning("history_not_kept", file=self._path.name, error=str(error)[:200])
            self._is_well = False
        else:
            self._is_well = True

    async def aclose(self) -> None:
        """Close the file. Idempotent."""
        await asyncio.to_thread(self._close)

    def _read(self, now: float) -> Past:
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_S
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, LAYOUT):
            raise ValueError(f"layout {found}, this Serinus writes {LAYOUT}")
        self._connection.executescript(TABLES)
        self._connection.execute(f"PRAGMA user_version = {LAYOUT}")
        past = Past()
        for name, columns in self._connection.execute("SELECT name, instances FROM version"):
            rows = self._connection.execute(MINUTES_OF, (name, now - HOUR_S))
            past.of(name).restore(json.loads(columns), [_minute(*row) for row in rows])
        for target, versions in self._connection.execute("SELECT target, versions FROM earlier"):
            past.earlier[TargetKey(target)] = {
                version: tuple(Tally(int(total), int(failed)) for total, failed in pairs)
                for version, pairs in json.loads(versions)
            }
        past.forget(now)
        return past

    def _write(self, changes: _Changes) -> None:
        if self._connection is None:
            raise sqlite3.OperationalError("the file is not open")
        with self._connection as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM minute WHERE began_at < ?", (changes.now - HOUR_S,))
            db.executemany("INSERT OR REPLACE INTO minute VALUES (?, ?, ?, ?, ?, ?)", changes.minutes)
            db.executemany("INSERT OR REPLACE INTO version VALUES (?, ?)", changes.versions)
            db.execute("DELETE FROM version WHERE name NOT IN (SELECT name FROM minute)")
            db.execute("DELETE FROM earlier")
            db.executemany("INSERT INTO earlier VALUES (?, ?)", changes.earlier)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _minute(began_at: float, covered_s: float, failed: int, counts: bytes, buckets: bytes) -> Minute:
    minute = Minute(float(began_at), float(covered_s), int(failed), is_kept=True)
    minute.counts.frombytes(counts)
    minute.buckets.frombytes(buckets)
    return minute


async def _collect(past: Past, now: float) -> _Changes:
    """Gather what changed, and let others go on meanwhile: of 10 000 versions it takes a tenth of a second."""
    versions, minutes = {}, []
    for name, version, minute in past.changed():
        versions[name] = json.dumps(version.instances)
        row = (name, minute.began_at, minute.covered_s, minute.failed)
        minutes.append((*row, minute.counts.tobytes(), minute.buckets.tobytes()))
        minute.is_kept = True
        if len(minutes) % STEP == 0:
            await asyncio.sleep(0)
    earlier = [(target, _earlier_to_json(known)) for target, known in past.earlier.items()]
    return _Changes(list(versions.items()), minutes, earlier, now)


def _earlier_to_json(known: Mapping[str, Sequence[Tally]]) -> str:
    return json.dumps(
        [(version, [(one.total, one.failed) for one in tallies]) for version, tallies in known.items()]
    )
