"""The ledger in SQLite or PostgreSQL: what survives every process.

The use cases (API) and the activities (worker) write here at the same time, each from its own process. One method is
one transaction, run on one of a few threads, so that a slow disk never holds the event loop. The parts stand in
`controller.store.relational`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controller.errors import InvalidInput, StoreUnavailable
from controller.model.notice import Notice
from controller.model.release import Change, Command, JournalEvent, Progress, Release, ReleaseOrder
from controller.model.target import Target
from controller.store import rules
from controller.store.port import Ordered, Store
from controller.store.relational import reading, writing
from controller.store.relational.opening import THREADS, Access, Terms, begin, open_engine

T = TypeVar("T")

LONGEST_WAIT_S = 5.0
"""How long a call waits for other writers, its place among our own threads included."""
LONGEST_CALL_S = 2 * LONGEST_WAIT_S
"""After this a call gives up on a disk or a server that hangs; whether its write happened is then not known."""
TRIES = 3
"""How often a transaction runs that PostgreSQL refused because another process wrote the same key first."""


class SqlStore(Store):
    """A ledger in a database; made by `open`."""

    def __init__(self, *, engine: Engine, wait_s: float = LONGEST_WAIT_S) -> None:
        self._engine = engine
        self._wait_s = wait_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ledger")
        self._is_closed = False

    @classmethod
    async def open(cls, url: str, *, wait_s: float = LONGEST_WAIT_S) -> SqlStore:
        """Open a ledger, make it if there is none, and bring its tables up to date.

        Safe when several processes open the same fresh file at once. A new file gets mode 0600, a new folder 0700.

        Args:
            url: SQLAlchemy URL.
            wait_s: How long each call waits for other writers, seconds.

        Raises:
            ConfigurationError: The URL cannot be used, or a newer Serinus wrote the ledger.
            StoreUnavailable: The file or the server cannot be reached.
        """
        try:
            engine = await asyncio.to_thread(open_engine, url, wait_s=wait_s)
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise _unavailable(error) from error
        return cls(engine=engine, wait_s=wait_s)

    async def put_target(self, target: Target) -> bool:
        """Create or replace a target; True when it is new."""
        return await self._write(partial(writing.put_target, target=target))

    async def get_target(self, environment: str, name: str) -> Target:
        """Return a target; `NotFound` when it is not declared."""
        return await self._read(partial(reading.get_target, environment=environment, name=name))

    async def list_targets(self) -> tuple[Target, ...]:
        """Return all targets by environment and name."""
        return await self._read(reading.list_targets)

    async def delete_target(self, environment: str, name: str) -> None:
        """Delete a target that no active release holds."""
        await self._write(partial(writing.delete_target, environment=environment, name=name))

    async def order(self, order: ReleaseOrder, command: Command) -> Ordered:
        """Write a release, its START command and its first event, if the target is free."""
        rules.check_order(order, command)
        return await self._write(partial(writing.order, order=order, command=command))

    async def discard(self, release: str) -> None:
        """Delete a release that never began, with its commands; its `ordered` event stays in the journal.

        Raises:
            CommandRefused: Something happened to the release since it was ordered.
        """
        await self._write(partial(writing.discard, release=release))

    async def get_release(self, release: str) -> Release:
        """Return a release; `NotFound` when there is none."""
        return await self._read(partial(reading.get_release, release=release))

    async def list_releases(
        self,
        *,
        target: str | None = None,
        active: bool | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[Release, ...]:
        """Return releases, newest first; `InvalidInput` for a wrong limit or an unknown cursor."""
        rules.check_limit(limit, rules.MOST_RELEASES)
        return await self._read(
            partial(reading.list_releases, target=target, active=active, before=before, limit=limit)
        )

    async def record(
        self, event: JournalEvent, change: Change | None = None, notices: Sequence[Notice] = ()
    ) -> int:
        """Write an event, what it changes and its notices; a repeated id changes nothing."""
        rules.check_event(event, change, notices)
        return await self._write(partial(writing.record, event=event, change=change, notices=notices))

    async def report(self, progress: Progress) -> None:
        """Keep the newest step, share and verdict of a running release."""
        rules.check_progress(progress)
        await self._run(partial(writing.report, progress=progress), Access.WRITE_SOFTLY)

    async def events(self, release: str, *, after: int = 0, limit: int = 200) -> tuple[JournalEvent, ...]:
        """Return a release's events with `seq` above `after`, oldest first."""
        rules.check_limit(limit, rules.MOST_ROWS)
        return await self._read(partial(reading.events, release=release, after=after, limit=limit))

    async def add_command(self, command: Command) -> bool:
        """Write a command as pending; False when it was written before."""
        rules.check_command(command)
        return await self._write(partial(writing.add_command, command=command))

    async def pending_commands(self, limit: int = 100) -> tuple[Command, ...]:
        """Return commands that the orchestrator has not taken yet, oldest first."""
        rules.check_limit(limit, rules.MOST_ROWS)
        return await self._read(partial(reading.pending_commands, limit=limit))

    async def settle_command(self, command: str, *, is_accepted: bool, note: str = "") -> None:
        """Mark a command as taken or refused; the first answer stays, an unknown id is no error."""
        await self._write(
            partial(writing.settle_command, command=command, is_accepted=is_accepted, note=note)
        )

    async def pending_notices(self, channel: str, limit: int = 20) -> tuple[Notice, ...]:
        """Return undelivered notices of a channel, oldest first."""
        rules.check_limit(limit, rules.MOST_ROWS)
        return await self._read(partial(reading.pending_notices, channel=channel, limit=limit))

    async def pending_channels(self) -> tuple[str, ...]:
        """Return the channels that have undelivered notices, by name."""
        return await self._read(reading.pending_channels)

    async def mark_notice(self, notice: str, channel: str, *, is_delivered: bool, note: str = "") -> None:
        """Count a try of a notice; one that was delivered stays so, an unknown one is no error."""
        await self._write(
            partial(writing.mark_notice, notice=notice, channel=channel, is_delivered=is_delivered, note=note)
        )

    async def notices(self, release: str) -> tuple[tuple[Notice, bool], ...]:
        """Return a release's notices, oldest first, each with whether it was delivered."""
        return await self._read(partial(reading.notices, release=release))

    async def aclose(self) -> None:
        """End the threads and close the connections. Calls that run end first."""
        self._is_closed = True
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._engine.dispose()

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._run(work, Access.READ)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._run(work, Access.WRITE)

    async def _run(self, work: Callable[[Connection], T], access: Access) -> T:
        if self._is_closed:
            raise StoreUnavailable("the ledger was closed")
        deadline = time.monotonic() + self._wait_s
        transact = partial(self._transact, work, access, deadline)
        try:
            async with asyncio.timeout(self._wait_s + LONGEST_CALL_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, transact)
        except TimeoutError as error:
            raise StoreUnavailable(
                "the ledger's disk or server hangs; what was asked may still happen"
            ) from error

    def _transact(self, work: Callable[[Connection], T], access: Access, deadline: float) -> T:
        lost: IntegrityError | None = None
        for _ in range(TRIES):
            wait_s = deadline - time.monotonic()
            if wait_s <= 0:
                break
            try:
                with begin(self._engine, Terms(access, wait_s)) as connection, connection.begin():
                    return work(connection)
            except IntegrityError as error:
                lost = error
            except (DataError, UnicodeError) as error:
                raise InvalidInput("expected text and numbers that the ledger can keep") from error
            except (DBAPIError, PoolTimeout, OSError) as error:
                raise _unavailable(error) from error
        if lost is not None:
            raise _unavailable(lost) from lost
        raise StoreUnavailable(f"other writers held the ledger for {self._wait_s:g} s; try again")


def _unavailable(error: Exception) -> StoreUnavailable:
    # The first line of the driver's own words (locked, disk full, no such table); the next ones can hold values.
    cause = str(getattr(error, "orig", None) or error).partition("\n")[0]
    return StoreUnavailable(f"the ledger does not answer: {cause}")
