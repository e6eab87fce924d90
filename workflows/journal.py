"""From what a workflow carries to what the ledger keeps: journal lines, the outcome, and one notice a channel.

Before it: `workflows.activities` bring notes and endings. After it: `controller.store` writes each in one transaction.
Ids are made from release, kind and number, so that a retry writes nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from controller.errors import InvalidInput, NotFound, StoreUnavailable
from controller.model.details import Details, of_release, of_verdict, printable
from controller.model.notice import Notice
from controller.model.release import Change, JournalEvent, Outcome, ReleaseOrder, State
from controller.model.share import EVERYTHING, NOTHING
from controller.model.traffic import audience
from controller.model.verdict import sentence
from controller.observability import logger
from controller.store.port import Store
from workflows.failures import clip
from workflows.messages import Ending, Ledger, Note

log = logger(__name__)

QUIET = (Outcome.PROMOTED,)
"""Outcomes that nobody is woken for."""
KEEPS_REASON = ("waiting", "closing")
"""Kinds whose reason is what the release says about itself from then on."""
CLEARS_REASON = ("step_started", "resumed")


class Scribe:
    """Writes what happened to releases.

    Args:
        store: The ledger.
        channels: Names of the channels that are told about every outcome but a promotion.
    """

    def __init__(self, *, store: Store, channels: Sequence[str]) -> None:
        self._store = store
        self.channels = tuple(channels)

    async def write(self, order: ReleaseOrder, notes: Sequence[Note]) -> Ledger:
        """Write lines in order; UNKNOWN when the ledger does not know the release.

        Raises:
            StoreUnavailable: The ledger does not take them now.
        """
        for note in notes:
            try:
                await self._store.record(line(order, note), _change(note))
            except NotFound:
                return Ledger.UNKNOWN
            except InvalidInput as error:  # a line that no ledger takes must not hold up a release
                log.error("journal_line_refused", release=order.id, kind=note.kind, reason=error.message)
        return Ledger.WRITTEN

    async def write_within(self, order: ReleaseOrder, notes: Sequence[Note], *, seconds: float) -> Ledger:
        """Write lines unless that takes too long: OWED when the ledger does not take them in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self.write(order, notes)
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("journal_owed", release=order.id, lines=len(notes), reason=str(error))
            return Ledger.OWED

    async def conclude(self, ending: Ending, *, at: float) -> Ledger:
        """Write the outcome, what it changes and its notices in one transaction.

        Raises:
            StoreUnavailable: The ledger does not take it now.
        """
        reason = clean(ending.reason) or _success(ending)
        event = JournalEvent(
            id=f"{ending.order.id}:{ending.outcome}:1",
            release=ending.order.id,
            kind=ending.outcome.value,
            text=reason,
            at=at,
            actor=clean(ending.actor),
            correlation_id=ending.order.correlation_id,
            details={**of_verdict(ending.verdict), **ending.facts},
        )
        is_promoted = ending.outcome is Outcome.PROMOTED
        change = Change(
            state=State.PROMOTING if is_promoted else State.CLOSING,
            share=EVERYTHING if is_promoted else NOTHING,
            outcome=ending.outcome,
            reason=reason,
            verdict=ending.verdict,
            ended_at=at,
            facts=ending.facts,
        )
        notices = [notice(ending, channel, reason, at) for channel in self._told(ending.outcome)]
        try:
            await self._store.record(event, change, notices)
        except NotFound:
            return Ledger.UNKNOWN
        return Ledger.WRITTEN

    async def finish(self, order: ReleaseOrder, *, at: float) -> Ledger:
        """Write that the target is free again.

        Raises:
            StoreUnavailable: The ledger does not take it now.
        """
        text = f"release of {order.target.name} {order.version} is over; the target is free"
        event = JournalEvent(
            id=f"{order.id}:finished:1",
            release=order.id,
            kind="finished",
            text=text,
            at=at,
            correlation_id=order.correlation_id,
        )
        try:
            await self._store.record(event, Change(state=State.DONE))
        except NotFound:
            return Ledger.UNKNOWN
        return Ledger.WRITTEN

    def _told(self, outcome: Outcome) -> tuple[str, ...]:
        return () if outcome in QUIET else self.channels


def line(order: ReleaseOrder, note: Note) -> JournalEvent:
    """Return the journal event of one line."""
    details: Details = {"step": note.step, **of_verdict(note.verdict)}
    if note.share is not None:
        details["share_basis_points"] = int(note.share)
        if note.share and (few := audience(order.plan.steps[note.step].matches)):
            details["audience"] = few
    return JournalEvent(
        id=f"{order.id}:{note.kind}:{note.n}",
        release=order.id,
        kind=note.kind,
        text=_text(order, note),
        at=note.at,
        actor=clean(note.actor),
        correlation_id=clean(note.correlation_id),
        details=details,
    )


def notice(ending: Ending, channel: str, reason: str, at: float) -> Notice:
    """Return the alert of an outcome for one channel; its id stays the same however often it is made."""
    order = ending.order
    done = ending.outcome.value.replace("_", " ")
    details: Details = {
        **of_release(order),
        "actor": clean(ending.actor),
        **of_verdict(ending.verdict),
        **ending.facts,
    }
    return Notice(
        id=f"{order.id}.{ending.outcome}",
        channel=channel,
        kind=f"release.{ending.outcome}",
        release=order.id,
        title=f"{order.target.name} {order.version}: {done}",
        text=reason,
        at=at,
        details=details,
    )


def clean(text: str) -> str:
    """Return a text that every ledger can keep: clipped, without NUL and half surrogate pairs."""
    return clip(printable(text))


def _change(note: Note) -> Change:
    reason = clean(note.reason) if note.kind in KEEPS_REASON else "" if note.kind in CLEARS_REASON else None
    is_started = note.kind == "step_started"
    return Change(state=note.state, step=note.step if is_started else None, share=note.share, reason=reason)


def _text(order: ReleaseOrder, note: Note) -> str:
    target, version, stable = order.target.name, order.version, order.target.stable
    number, of = note.step + 1, len(order.plan.steps)
    said, actor = clean(note.reason), clean(note.actor)
    because = f": {said}" if said else ""
    share = order.plan.steps[note.step].said
    words = {
        "preflight_passed": f"{target} {stable} is well and its counters answer{because}",
        "version_ready": f"{target} {version} is ready",
        "step_started": f"step {number} of {of} began: {share} of {target} to {version}",
        "step_passed": f"step {number} of {of} passed{because}",
        "step_ended_by_command": f"{actor} ended step {number} of {of}{because}",
        "paused": f"{actor} paused step {number} of {of}{because}; judging goes on",
        "resumed": f"{actor} resumed step {number} of {of}{because}",
        "waiting": f"step {number} of {of} waits for a person{because}",
        "promoting": f"{target} {version} becomes stable",
        "closing": f"the share of {target} {version} is taken back{because}",
        "drained": f"the version that lost is out of traffic{because}",
    }
    return words.get(note.kind, f"{note.kind}{because}")


def _success(ending: Ending) -> str:
    order = ending.order
    said = (
        f"{order.target.name} {order.version} is stable after {ending.steps} of {len(order.plan.steps)} steps"
    )
    if ending.verdict is None:
        return said
    numbers = sentence(
        ending.verdict, target=order.target.name, canary=order.version, stable=order.target.stable
    )
    return f"{said}; {numbers}"
