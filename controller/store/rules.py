"""What every ledger decides the same way, whatever it writes to: pure, shared by the memory and the SQL adapter.

Before it stands the port, which says what a ledger promises; after it the adapters, which only keep and find.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from controller.errors import CommandRefused, InvalidInput, KeyReused, NotFound, TargetBusy
from controller.model.notice import Notice
from controller.model.release import (
    Change,
    Command,
    CommandKind,
    JournalEvent,
    Progress,
    Release,
    ReleaseOrder,
    State,
)
from controller.model.verdict import Verdict

MOST_RELEASES = 200
MOST_ROWS = 10_000
LARGEST_PLACE = 2**63 - 1
"""What an 8-byte column holds; a larger cursor means the same: nothing comes after it."""

_OVER = (State.CLOSING, State.DRAINING, State.DONE)
_UNCHANGING = ("state", "step", "share", "outcome", "reason", "verdict", "ended_at")


def changed(release: Release, change: Change | None) -> Release:
    """Return a release with what an event changes about it; facts are added to those it has.

    Raises:
        CommandRefused: The change would bring back a release that is done; its target may be another's by now.
    """
    if change is None:
        return release
    if release.state is State.DONE and change.state not in (None, State.DONE):
        raise CommandRefused(f"release {release.order.id} is done and lets go of its target for good")
    given = {name: getattr(change, name) for name in _UNCHANGING if getattr(change, name) is not None}
    return replace(release, **given, facts={**release.facts, **change.facts})


def progressed(release: Release, progress: Progress, *, newest_at: float | None) -> Release | None:
    """Return a release with a judge's newest report, or None when the report comes too late to be true.

    Args:
        release: As it stands.
        progress: The report.
        newest_at: `at` of the newest report taken so far. Only reports are compared with each other: the clock of
            the journal may be the orchestrator's.
    """
    is_over = release.outcome is not None or release.state in _OVER
    is_older = progress.step < release.step or (newest_at is not None and progress.at < newest_at)
    if is_over or is_older:
        return None
    return replace(release, step=progress.step, share=progress.share, verdict=progress.verdict)


def ordered_event(order: ReleaseOrder) -> JournalEvent:
    """Return the first event of a release."""
    return JournalEvent(
        id=f"{order.id}:ordered",
        release=order.id,
        kind="ordered",
        text=f"{order.actor} ordered {order.target.name} {order.version}",
        at=order.created_at,
        actor=order.actor,
        correlation_id=order.correlation_id,
        details={"target": order.target.name, "version": order.version, "stable": order.target.stable},
    )


def is_repeat_of_order(earlier: Command, command: Command) -> bool:
    """Whether a START was sent before with the same key and meaning.

    Raises:
        KeyReused: The key was used for something else.
    """
    if earlier.digest != command.digest or earlier.kind is not CommandKind.START:
        raise key_reused()
    return True


def require_repeat_of_command(earlier: Command, command: Command) -> None:
    """Check that a command with a known key says exactly what it said before.

    Release and kind are compared beside the digest: an abort must never pass for somebody else's repeat.

    Raises:
        KeyReused: The key was used for something else.
    """
    told = (earlier.digest, earlier.release, earlier.kind)
    if told != (command.digest, command.release, command.kind):
        raise key_reused()


def key_reused() -> KeyReused:
    """Say that a key stands for another request already."""
    return KeyReused(
        "this Idempotency-Key was sent before with another request; use a new key", field="Idempotency-Key"
    )


def target_busy(release: str) -> TargetBusy:
    """Say who holds the target."""
    return TargetBusy(
        f"release {release} of this target is active; wait for its end or abort it", release=release
    )


def no_release(release: str) -> NotFound:
    """Say that a release is not in the ledger."""
    return NotFound(f"the ledger has no release {release}", field="release")


def no_target() -> NotFound:
    """Say that a target is not declared, without repeating what was asked for."""
    return NotFound(
        "no such target is declared in this environment; `serinus target list` shows them", field="target"
    )


def no_cursor() -> InvalidInput:
    """Say that a list cannot go on from where the caller says it stopped."""
    return InvalidInput("expected the id of a release in the ledger", field="before")


def already_begun(release: str) -> CommandRefused:
    """Say that a release cannot be discarded any more."""
    return CommandRefused(
        f"release {release} has begun and stays in the ledger; abort it instead", field="release"
    )


def can_be_discarded(release: Release, kinds: Iterable[str]) -> bool:
    """Whether nothing has happened to a release since it was ordered; `kinds` are its journal's events."""
    return release.state is State.STARTING and release.outcome is None and set(kinds) <= {"ordered"}


def check_limit(limit: int, most: int) -> int:
    """Check how many rows are asked for.

    Raises:
        InvalidInput: It is not 1 to `most`.
    """
    if isinstance(limit, bool) or not 1 <= limit <= most:
        raise InvalidInput(f"expected a whole number from 1 to {most}", field="limit")
    return limit


def check_order(order: ReleaseOrder, command: Command) -> None:
    """Check that an order and its command belong together and can be kept.

    Raises:
        InvalidInput: They name two releases, the command is not a START, or a text cannot be kept.
    """
    if command.release != order.id or command.kind is not CommandKind.START:
        raise InvalidInput("expected the START command of this very release", field="release")
    _check_texts("actor", order.actor, order.correlation_id, order.plan.name, order.policy.name)
    _check_finite("created_at", order.created_at)
    check_command(command)


def check_command(command: Command) -> None:
    """Check that a command can be kept.

    Raises:
        InvalidInput: A text holds NUL or half a surrogate pair, or its time is not finite.
    """
    _check_texts("reason", command.id, command.actor, command.reason, command.correlation_id, command.digest)
    _check_finite("at", command.at)


def check_event(event: JournalEvent, change: Change | None, notices: Sequence[Notice]) -> None:
    """Check that an event, its change and its notices belong together and can be kept.

    Raises:
        InvalidInput: They name two releases, a text holds NUL or half a surrogate pair, or a number is not finite.
    """
    _check_texts("event", event.id, event.kind, event.text, event.actor, event.correlation_id)
    _check_finite("at", event.at, *(notice.at for notice in notices))
    _check_details(event.details)
    if change is not None:
        _check_texts("reason", change.reason or "")
        _check_details(change.facts)
        _check_finite("ended_at", change.ended_at)
        _check_verdict(change.verdict)
    for notice in notices:
        if notice.release != event.release:
            raise InvalidInput("expected notices of the event's own release", field="notices")
        _check_texts("notices", notice.id, notice.channel, notice.kind, notice.title, notice.text)
        _check_details(notice.details)


def check_progress(progress: Progress) -> None:
    """Check that a report can be kept.

    Raises:
        InvalidInput: A number is not finite.
    """
    _check_finite("at", progress.at)
    _check_verdict(progress.verdict)


def _check_verdict(verdict: Verdict | None) -> None:
    if verdict is None:
        return
    _check_finite(
        "verdict", verdict.limit, verdict.window_s, verdict.odds, verdict.proof, verdict.slower_than_s
    )
    _check_finite("verdict", *(one.odds for one in verdict.parts), *(one.part for one in verdict.parts))
    _check_texts("verdict", verdict.metric, verdict.instance, *(one.metric for one in verdict.parts))


def _check_details(details: Mapping[str, str | int | float | bool | None] | Mapping[str, float]) -> None:
    for name, value in details.items():
        _check_texts("details", name, value if isinstance(value, str) else "")
        if isinstance(value, float):
            _check_finite("details", value)


def _check_finite(field: str, *numbers: float | None) -> None:
    if not all(number is None or math.isfinite(number) for number in numbers):
        raise InvalidInput("expected finite numbers", field=field)


def _check_texts(field: str, *texts: str) -> None:
    for text in texts:
        # PostgreSQL keeps no NUL, and no database keeps half a surrogate pair.
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InvalidInput("expected text without NUL and without half surrogate pairs", field=field)
