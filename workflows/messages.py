"""What travels between workflows, activities and the client: one value in, one value out, and every fixed name.

Before it: `workflows.client` sends these. After it: `workflows.release` and `workflows.deliver` receive them and pass
them to `workflows.activities`. Fields may be added with a default, never renamed or used for something else: messages
of releases in flight are read by newer code. Values of `controller.model` travel as they are.

One rule from the JSON converter: it tries the members of a union in order and turns 1.5 into 1 for `int | float`, so
numbers here are plain `float` or `int` and free-form details never travel (`tests/workflows/test_messages.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.model.evidence import StepOrder, StepReport
from controller.model.lease import ClosureKind
from controller.model.machine import Happening
from controller.model.release import Outcome, ReleaseOrder, State
from controller.model.share import BasisPoints
from controller.model.verdict import Verdict

CONTROL_QUEUE = "serinus-control"
"""Workflows and short activities; nothing that judges, so that a rollback never waits behind full slots."""
JUDGE_QUEUE = "serinus-judge"
"""`hold_step` alone; its slots are the number of releases that one worker judges at once."""
IO_QUEUE = "serinus-io"
"""Deliveries to the outside."""

RELEASE_WORKFLOW = "ReleaseWorkflow"
DELIVER_WORKFLOW = "DeliverWorkflow"
MEMO_RELEASE = "release"
"""Memo key that holds the release id: the workflow id only names the target."""

ABORT_SIGNAL = "abort"
TELL_UPDATE = "tell"
WAKE_SIGNAL = "wake"


class Activity(StrEnum):
    """Names of the activities; part of every stored history."""

    PREFLIGHT = "preflight"
    START_VERSION = "start_version"
    HOLD_STEP = "hold_step"
    PROMOTE = "promote"
    CLOSE = "close"
    CONCLUDE = "conclude"
    RETIRE = "retire"
    FINISH = "finish"
    DELIVER_NEXT = "deliver_next"


class Ledger(StrEnum):
    """What became of the journal lines that an activity was given."""

    WRITTEN = "written"
    OWED = "owed"
    """The ledger did not take them in time; the next activity brings them again."""
    UNKNOWN = "unknown"
    """The ledger does not know the release (any more): it must not go on."""


@dataclass(frozen=True, slots=True)
class Note:
    """One journal line on its way to the ledger, written by whichever activity comes next.

    Args:
        kind: As in `JournalEvent.kind`.
        n: How many of this kind the release has had, from 1; with release and kind it makes the line's id.
        at: Seconds since 1970 (UTC), by the workflow's clock.
        state: Where the release stands from then on.
        step: Index of the step it is about.
        share: What is asked of the router from then on; None when the line changes nothing about it.
        reason: One sentence, "" when the kind says it all.
        verdict: The verdict it stands on.
        actor: Who caused it.
        correlation_id: Of the command that caused it, or of the order.
    """

    kind: str
    n: int
    at: float
    state: State
    step: int = 0
    share: BasisPoints | None = None
    reason: str = ""
    verdict: Verdict | None = None
    actor: str = "serinus"
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Errand:
    """The order, and the journal lines that are due: all that preflight, start_version, promote and finish need."""

    order: ReleaseOrder
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgeErrand:
    """One step to be judged."""

    step: StepOrder
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class CloseErrand:
    """A release to be barred.

    Args:
        kind: FAILED when a judge's verdict stands behind it, else ABORTED. An earlier closure wins anyway.
        reason: One sentence.
        verdict: The FAIL, if there is one.
    """

    order: ReleaseOrder
    kind: ClosureKind
    reason: str
    verdict: Verdict | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """An outcome to be written and told.

    Args:
        steps: How many steps were begun.
        actor: Who caused it.
        facts: `verdict_at` and `closed_at` as far as they are known, seconds since 1970 (UTC).
    """

    order: ReleaseOrder
    outcome: Outcome
    reason: str = ""
    verdict: Verdict | None = None
    steps: int = 0
    actor: str = "serinus"
    facts: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Retirement:
    """A version to be drained and stopped: the canary, or the stable version that was replaced."""

    order: ReleaseOrder
    version: str
    is_replaced: bool
    """The version was stable until now: the proxies must have confirmed its successor first."""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an activity answers.

    Args:
        kind: WELL, UNWELL or CLOSED.
        reason: Why it is UNWELL or CLOSED; else something worth a journal line, or "".
        ledger: What became of the notes.
        closure: The standing closure's kind; CLOSED only.
        verdict: The closure's verdict, if a judge closed it.
        closed_at: When the closure was written, seconds since 1970 (UTC).
        outcome: The outcome that the ledger already holds (preflight of a release that was started again).
        is_over: With `outcome`: the ledger has nothing left to do for it either.
    """

    kind: Happening = Happening.WELL
    reason: str = ""
    ledger: Ledger = Ledger.WRITTEN
    closure: ClosureKind | None = None
    verdict: Verdict | None = None
    closed_at: float | None = None
    outcome: Outcome | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """The judge's report, and what became of the notes.

    Args:
        has_looked: The judge kept evidence of this very step; else the report's evidence says nothing.
    """

    report: StepReport
    ledger: Ledger = Ledger.WRITTEN
    has_looked: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """Where a release stands after it took a command."""

    state: State
    step: int


@dataclass(frozen=True, slots=True)
class ReleaseEnd:
    """Result of the release workflow; outcome None means that the ledger did not know the release."""

    outcome: Outcome | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """One channel's outbox to be drained.

    Args:
        channel: Name of the configured channel.
        skipped: Notices that were given up for now, by id.
    """

    channel: str
    skipped: tuple[str, ...] = ()


class Delivered(StrEnum):
    """What became of the oldest notice of a channel."""

    SENT = "sent"
    GIVEN_UP = "given_up"
    """Refused by the guard, or tried for a day; it stays in the outbox and is tried again now and then."""
    NOTHING_LEFT = "nothing_left"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one call of `deliver_next` did; `notice` is the id it was about, "" when there was none."""

    kind: Delivered
    notice: str = ""
