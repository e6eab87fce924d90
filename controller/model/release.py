"""One attempt to make a version stable: what was ordered, where it stands, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.model.plan import Plan, Policy
from controller.model.share import NOTHING, BasisPoints
from controller.model.target import Target
from controller.model.verdict import Verdict


class Outcome(StrEnum):
    """How a release ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    FAILED = "failed"
    """It could not begin: the stable version or the sources were not well. A human is needed."""


class State(StrEnum):
    """Where a release stands, as people see it."""

    STARTING = "starting"
    STEPPING = "stepping"
    PAUSED = "paused"
    WAITING = "waiting"
    """At a gate, or at a deadline whose policy says so: a person has to decide."""
    PROMOTING = "promoting"
    CLOSING = "closing"
    DRAINING = "draining"
    """The outcome is final; the version that lost is being drained and stopped."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """Everything the orchestrator needs to run one release; nothing in it changes later.

    Args:
        id: `rel-` and random characters, unique.
        target: As it was when the release was ordered; its `stable` is what a rollback returns to.
        version: The canary.
        plan: The ladder of shares.
        policy: The rule of judgement.
        actor: Who ordered it.
        correlation_id: Of the request that ordered it.
        created_at: Seconds since 1970 (UTC).
    """

    id: str
    target: Target
    version: str
    plan: Plan
    policy: Policy
    actor: str
    correlation_id: str
    created_at: float

    def has_audience(self, step: int) -> bool:
        """Whether only some requests may meet the canary in a step, so that nobody knows its part of the traffic."""
        return bool(self.target.matches or self.plan.steps[step].matches)


@dataclass(frozen=True, slots=True)
class Release:
    """A release as the ledger knows it.

    Args:
        order: What was ordered.
        state: Where it stands.
        step: Index of the current step, from 0.
        share: What was last asked of the router.
        outcome: None while it runs.
        reason: One sentence: why it ended, or what it waits for; "" while there is nothing to say.
        verdict: The newest verdict.
        ended_at: When the outcome became final, seconds since 1970 (UTC).
        facts: Numbers of the decision, such as `verdict_at` and `closed_at` (seconds since 1970, UTC).
    """

    order: ReleaseOrder
    state: State = State.STARTING
    step: int = 0
    share: BasisPoints = NOTHING
    outcome: Outcome | None = None
    reason: str = ""
    verdict: Verdict | None = None
    ended_at: float | None = None
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        """Whether it still holds its target: true until the loser is drained."""
        return self.state is not State.DONE


class CommandKind(StrEnum):
    """What people can tell a release."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Command:
    """One thing somebody told a release, with who and why.

    Args:
        id: Unique; the Idempotency-Key when the caller sent one, else random. Also the id of the workflow update.
        release: Which release.
        kind: What.
        actor: Who.
        reason: Why; "" when not given.
        correlation_id: Of the request.
        at: Seconds since 1970 (UTC).
        digest: SHA-256 of the request's meaning: one id with two digests is refused.
    """

    id: str
    release: str
    kind: CommandKind
    actor: str
    at: float
    reason: str = ""
    correlation_id: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class JournalEvent:
    """One thing that happened to a release; never changed, never deleted.

    Args:
        id: Unique and deterministic (`<release>:<what>:<n>`), so that a retry writes nothing twice.
        release: Which release.
        kind: snake_case, past tense: `step_passed`, `rolled_back`, ...
        text: One sentence for people.
        at: Seconds since 1970 (UTC).
        actor: Who caused it; "serinus" for its own doing.
        correlation_id: Of the request that ordered the release or the command.
        details: Numbers and names, flat, JSON-safe.
        seq: Place in the ledger, given by it; 0 before.
    """

    id: str
    release: str
    kind: str
    text: str
    at: float
    actor: str = "serinus"
    correlation_id: str = ""
    details: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What a judge tells the ledger while a step runs; the newest one wins, a lost one does not matter."""

    release: str
    step: int
    share: BasisPoints
    verdict: Verdict
    at: float


@dataclass(frozen=True, slots=True)
class Change:
    """What a journal event changes about its release; None leaves a field as it is."""

    state: State | None = None
    step: int | None = None
    share: BasisPoints | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    verdict: Verdict | None = None
    ended_at: float | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
