"""The ledger in memory, with every rule of the real one: for tests, the simulator and a look at Serinus without disk.

It keeps what the port promises within one process and one event loop; nothing survives the process. Values go in and
come out as they are, because they are frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from controller.errors import StoreUnavailable
from controller.model.notice import Notice
from controller.model.release import (
    Change,
    Command,
    CommandKind,
    JournalEvent,
    Progress,
    Release,
    ReleaseOrder,
)
from controller.model.target import Target
from controller.store import rules
from controller.store.port import Ordered, Store

T = TypeVar("T")


@dataclass(slots=True)
class _Told:
    command: Command
    is_settled: bool = False
    is_accepted: bool = False
    note: str = ""


@dataclass(slots=True)
class _Outgoing:
    notice: Notice
    is_delivered: bool = False
    note: str = ""


@dataclass(slots=True)
class _Book:
    targets: dict[tuple[str, str], Target] = field(default_factory=dict)
    releases: dict[str, Release] = field(default_factory=dict)
    reported_at: dict[str, float] = field(default_factory=dict)
    journal: dict[str, JournalEvent] = field(default_factory=dict)
    commands: dict[str, _Told] = field(default_factory=dict)
    outbox: dict[tuple[str, str], _Outgoing] = field(default_factory=dict)


class MemoryStore(Store):
    """A ledger that ends with its process. No method waits, so each is one transaction."""

    def __init__(self) -> None:
        self._kept = _Book()
        self.is_down = False
        """Set it to see what callers do when the ledger does not answer: every method raises `StoreUnavailable`."""

    @property
    def _book(self) -> _Book:
        if self.is_down:
            raise StoreUnavailable("the ledger in memory was told to be down")
        return self._kept

    async def put_target(self, target: Target) -> bool:
        """Create or replace a target; True when it is new."""
        place = (target.environment, target.name)
        is_new = place not in self._book.targets
        self._book.targets[place] = target
        return is_new

    async def get_target(self, environment: str, name: str) -> Target:
        """Return a target; `NotFound` when it is not declared."""
        found = self._book.targets.get((environment, name))
        if found is None:
            raise rules.no_target()
        return found

    async def list_targets(self) -> tuple[Target, ...]:
        """Return all targets by environment and name."""
        return tuple(target for _, target in sorted(self._book.targets.items()))

    async def delete_target(self, environment: str, name: str) -> None:
        """Delete a target that no active release holds."""
        await self.get_target(environment, name)
        self._require_free(environment, name)
        del self._book.targets[environment, name]

    async def order(self, order: ReleaseOrder, command: Command) -> Ordered:
        """Write a release, its START command and its first event, if the target is free."""
        book = self._book
        rules.check_order(order, command)
        earlier = book.commands.get(command.id)
        if earlier is not None and rules.is_repeat_of_order(earlier.command, command):
            return Ordered(book.releases[earlier.command.release], is_new=False)
        self._require_free(order.target.environment, order.target.name)
        if order.id in book.releases:
            raise rules.key_reused()
        book.releases[order.id] = Release(order=order)
        book.commands[command.id] = _Told(command)
        self._write(rules.ordered_event(order))
        return Ordered(book.releases[order.id], is_new=True)

    async def discard(self, release: str) -> None:
        """Delete a release that never began, with its commands; its `ordered` event stays in the journal."""
        book = self._book
        found = book.releases.get(release)
        if found is None:
            return
        if not rules.can_be_discarded(found, (event.kind for event in self._events(release))):
            raise rules.already_begun(release)
        del book.releases[release]
        book.reported_at.pop(release, None)
        book.commands = {key: told for key, told in book.commands.items() if told.command.release != release}

    async def get_release(self, release: str) -> Release:
        """Return a release; `NotFound` when there is none."""
        found = self._book.releases.get(release)
        if found is None:
            raise rules.no_release(release)
        return found

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
        book = self._book
        if before is not None and before not in book.releases:
            raise rules.no_cursor()
        ids = list(book.releases)
        older = ids[: ids.index(before)] if before is not None else ids
        found = (book.releases[release] for release in reversed(older))
        return _first(
            limit,
            found,
            lambda release: (
                (target is None or release.order.target.name == target)
                and (active is None or release.is_active is active)
            ),
        )

    async def record(
        self, event: JournalEvent, change: Change | None = None, notices: Sequence[Notice] = ()
    ) -> int:
        """Write an event, what it changes and its notices; a repeated id changes nothing."""
        book = self._book
        rules.check_event(event, change, notices)
        if event.id in book.journal:
            return book.journal[event.id].seq
        book.releases[event.release] = rules.changed(await self.get_release(event.release), change)
        for notice in notices:
            book.outbox.setdefault((notice.id, notice.channel), _Outgoing(replace(notice, attempts=0)))
        return self._write(event)

    async def report(self, progress: Progress) -> None:
        """Keep the newest step, share and verdict of a running release."""
        rules.check_progress(progress)
        book = self._book
        found = book.releases.get(progress.release)
        if found is None:
            return
        newer = rules.progressed(found, progress, newest_at=book.reported_at.get(progress.release))
        if newer is not None:
            book.releases[progress.release] = newer
            book.reported_at[progress.release] = progress.at

    async def events(self, release: str, *, after: int = 0, limit: int = 200) -> tuple[JournalEvent, ...]:
        """Return a release's events with `seq` above `after`, oldest first."""
        rules.check_limit(limit, rules.MOST_ROWS)
        return _first(limit, self._events(release), lambda event: event.seq > after)

    async def add_command(self, command: Command) -> bool:
        """Write a command as pending; False when it was written before."""
        rules.check_command(command)
        earlier = self._book.commands.get(command.id)
        if earlier is not None:
            rules.require_repeat_of_command(earlier.command, command)
            return False
        await self.get_release(command.release)
        self._book.commands[command.id] = _Told(command)
        return True

    async def pending_commands(self, limit: int = 100) -> tuple[Command, ...]:
        """Return commands that the orchestrator has not taken yet, oldest first."""
        rules.check_limit(limit, rules.MOST_ROWS)
        waiting = (told.command for told in self._book.commands.values() if not told.is_settled)
        return _first(limit, waiting, lambda command: command.kind is not CommandKind.START)

    async def settle_command(self, command: str, *, is_accepted: bool, note: str = "") -> None:
        """Mark a command as taken or refused; the first answer stays, an unknown id is no error."""
        told = self._book.commands.get(command)
        if told is not None and not told.is_settled:
            told.is_settled, told.is_accepted, told.note = True, is_accepted, note

    async def pending_notices(self, channel: str, limit: int = 20) -> tuple[Notice, ...]:
        """Return undelivered notices of a channel, oldest first."""
        rules.check_limit(limit, rules.MOST_ROWS)
        waiting = (outgoing.notice for outgoing in self._book.outbox.values() if not outgoing.is_delivered)
        return _first(limit, waiting, lambda notice: notice.channel == channel)

    async def pending_channels(self) -> tuple[str, ...]:
        """Return the channels that have undelivered notices, by name."""
        outbox = self._book.outbox.values()
        return tuple(sorted({outgoing.notice.channel for outgoing in outbox if not outgoing.is_delivered}))

    async def mark_notice(self, notice: str, channel: str, *, is_delivered: bool, note: str = "") -> None:
        """Count a try of a notice; one that was delivered stays so, an unknown one is no error."""
        outgoing = self._book.outbox.get((notice, channel))
        if outgoing is not None and not outgoing.is_delivered:
            outgoing.notice = replace(outgoing.notice, attempts=outgoing.notice.attempts + 1)
            outgoing.is_delivered, outgoing.note = is_delivered, note

    async def notices(self, release: str) -> tuple[tuple[Notice, bool], ...]:
        """Return a release's notices, oldest first, each with whether it was delivered."""
        return tuple(
            (outgoing.notice, outgoing.is_delivered)
            for outgoing in self._book.outbox.values()
            if outgoing.notice.release == release
        )

    def _require_free(self, environment: str, name: str) -> None:
        for release in self._book.releases.values():
            target = release.order.target
            if release.is_active and (target.environment, target.name) == (environment, name):
                raise rules.target_busy(release.order.id)

    def _events(self, release: str) -> tuple[JournalEvent, ...]:
        return tuple(event for event in self._book.journal.values() if event.release == release)

    def _write(self, event: JournalEvent) -> int:
        journal = self._book.journal
        return journal.setdefault(event.id, replace(event, seq=len(journal) + 1)).seq


def _first(limit: int, values: Iterable[T], is_wanted: Callable[[T], bool]) -> tuple[T, ...]:
    return tuple(islice(filter(is_wanted, values), limit))
