"""Port: the ledger. Targets, releases, their journal, commands with their actors, and the outbox of alerts.

Temporal runs releases; the ledger is the system of record. One transaction a method: a journal event, the change of
its release and its notices are written together or not at all. Every method can raise `StoreUnavailable`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from controller.model.notice import Notice
from controller.model.release import Change, Command, JournalEvent, Progress, Release, ReleaseOrder
from controller.model.target import Target


@dataclass(frozen=True, slots=True)
class Ordered:
    """Answer to `order`: the release, and whether this very call created it (False: the same key came before)."""

    release: Release
    is_new: bool


class Store(ABC):
    """The ledger."""

    @abstractmethod
    async def put_target(self, target: Target) -> bool:
        """Create or replace a target; True when it is new. A replaced target keeps nothing of the old declaration."""

    @abstractmethod
    async def get_target(self, environment: str, name: str) -> Target:
        """Return a target.

        Raises:
            NotFound: It is not declared.
        """

    @abstractmethod
    async def list_targets(self) -> tuple[Target, ...]:
        """Return all targets by environment and name."""

    @abstractmethod
    async def delete_target(self, environment: str, name: str) -> None:
        """Delete a target; its releases stay in the ledger.

        Raises:
            NotFound: It is not declared.
            TargetBusy: A release of it is active.
        """

    @abstractmethod
    async def order(self, order: ReleaseOrder, command: Command) -> Ordered:
        """Write a new release, its START command and the journal event `<release>:ordered`, if its target is free.

        The lock is a unique active row a target, so that of two calls at once exactly one wins.

        Raises:
            TargetBusy: Another release of the target is active; carries its id.
            KeyReused: The command's id was used before with another digest.
        """

    @abstractmethod
    async def discard(self, release: str) -> None:
        """Delete a release that was ordered and never started, with its command, so that the same key can be sent again."""

    @abstractmethod
    async def get_release(self, release: str) -> Release:
        """Return a release.

        Raises:
            NotFound: No such release.
        """

    @abstractmethod
    async def list_releases(
        self,
        *,
        target: str | None = None,
        active: bool | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[Release, ...]:
        """Return releases, newest first.

        Args:
            target: Only of targets with this name.
            active: Only those that do (or do not) hold their target.
            before: A release id: only older ones (the cursor).
            limit: 1 to 200.
        """

    @abstractmethod
    async def record(
        self, event: JournalEvent, change: Change | None = None, notices: Sequence[Notice] = ()
    ) -> int:
        """Write an event, what it changes about its release, and its notices, in one transaction.

        Returns the event's `seq`. An event whose id is already written changes nothing and returns the old seq.

        Raises:
            NotFound: No such release.
        """

    @abstractmethod
    async def report(self, progress: Progress) -> None:
        """Keep the newest step, share and verdict of a running release. Writes no event; ignored for ended ones."""

    @abstractmethod
    async def events(self, release: str, *, after: int = 0, limit: int = 200) -> tuple[JournalEvent, ...]:
        """Return a release's events with `seq` above `after`, oldest first; empty is not an error."""

    @abstractmethod
    async def add_command(self, command: Command) -> bool:
        """Write a command as pending; False when the same id and digest were written before.

        Raises:
            KeyReused: The id was used before with another digest.
        """

    @abstractmethod
    async def pending_commands(self, limit: int = 100) -> tuple[Command, ...]:
        """Return commands that were accepted and not yet taken by the orchestrator, oldest first. START is never one."""

    @abstractmethod
    async def settle_command(self, command: str, *, is_accepted: bool, note: str = "") -> None:
        """Mark a command as taken (or refused, with a note). Idempotent."""

    @abstractmethod
    async def pending_notices(self, channel: str, limit: int = 20) -> tuple[Notice, ...]:
        """Return undelivered notices of a channel, oldest first."""

    @abstractmethod
    async def pending_channels(self) -> tuple[str, ...]:
        """Return the channels that have undelivered notices."""

    @abstractmethod
    async def mark_notice(self, notice: str, channel: str, *, is_delivered: bool, note: str = "") -> None:
        """Count a try of a notice, and mark it delivered or not. Idempotent once delivered."""

    @abstractmethod
    async def notices(self, release: str) -> tuple[tuple[Notice, bool], ...]:
        """Return a release's notices, each with whether it was delivered."""

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
