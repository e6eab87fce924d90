"""The state machine of a release: from what happened to what is done next. Pure, and frozen by replay tests.

`begin` gives the first position, `advance` takes an event, `todo` says what to do in a position. The workflow
interprets `todo` with activities and feeds their results back as events; the simulator does the same with a virtual
clock. Whatever happens, an abort leads through `CLOSING` to a terminal position in which stable has everything (or the
version was already promoted: the keeper's closure decides which came first).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from controller.errors import CommandRefused
from controller.model.lease import ClosureKind
from controller.model.plan import Fallback, Plan, Policy
from controller.model.release import CommandKind, Outcome, State
from controller.model.verdict import Ground, Verdict


class Phase(StrEnum):
    """Where the machine stands."""

    PREFLIGHT = "preflight"
    STARTING = "starting"
    STEPPING = "stepping"
    PROMOTING = "promoting"
    CLOSING = "closing"
    CONCLUDING = "concluding"
    RETIRING = "retiring"
    FINISHING = "finishing"
    DONE = "done"


class Happening(StrEnum):
    """What can happen to a release besides commands."""

    WELL = "well"
    """The preflight passed, the version is ready, the promotion is through, the loser is retired, the end is written."""
    UNWELL = "unwell"
    """What was tried cannot succeed, however often it is repeated; the event carries the reason."""
    STEP_PASSED = "step_passed"
    STEP_FAILED = "step_failed"
    STEP_UNDECIDED = "step_undecided"
    """The deadline came without a verdict."""
    INTERRUPTED = "interrupted"
    """The judge handed over because a command came; the position already holds what follows."""
    CLOSED = "closed"
    """The keeper has barred the release; the event carries the kind, which may be an earlier closure's."""


@dataclass(frozen=True, slots=True)
class Event:
    """One happening, with what it brought along."""

    kind: Happening
    verdict: Verdict | None = None
    reason: str = ""
    closure: ClosureKind | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Everything the machine remembers.

    Args:
        phase: Where it stands.
        step: Index of the current step.
        is_paused: A person paused it; judging goes on.
        is_waiting: A deadline passed and the policy waits for a person.
        has_passed: The current step has its PASS, but may not be left yet (paused).
        outcome: What the end will be, once that is known.
        reason: Why, one sentence.
        verdict: The last verdict that mattered.
    """

    phase: Phase = Phase.PREFLIGHT
    step: int = 0
    is_paused: bool = False
    is_waiting: bool = False
    has_passed: bool = False
    outcome: Outcome | None = None
    reason: str = ""
    verdict: Verdict | None = None


class Task(StrEnum):
    """What to do in a position."""

    PREFLIGHT = "preflight"
    START_VERSION = "start_version"
    HOLD_STEP = "hold_step"
    """Judge at the step's share until PASS, FAIL or the deadline."""
    HOLD_OPEN = "hold_open"
    """Judge at the step's share without deadline and without PASS: paused, waiting, or a gate."""
    PROMOTE = "promote"
    CLOSE = "close"
    CONCLUDE = "conclude"
    """Journal the outcome and hand out the alerts."""
    RETIRE_CANARY = "retire_canary"
    RETIRE_STABLE = "retire_stable"
    FINISH = "finish"
    """Give the target free."""
    NOTHING = "nothing"


def begin() -> Position:
    """Return the position of a release that has just been ordered."""
    return Position()


def todo(plan: Plan, at: Position) -> Task:
    """Say what to do in a position."""
    if at.phase is Phase.STEPPING:
        is_open = at.is_paused or at.is_waiting or plan.steps[at.step].gate
        return Task.HOLD_OPEN if is_open else Task.HOLD_STEP
    if at.phase is Phase.RETIRING:
        return Task.RETIRE_STABLE if at.outcome is Outcome.PROMOTED else Task.RETIRE_CANARY
    return {
        Phase.PREFLIGHT: Task.PREFLIGHT,
        Phase.STARTING: Task.START_VERSION,
        Phase.PROMOTING: Task.PROMOTE,
        Phase.CLOSING: Task.CLOSE,
        Phase.CONCLUDING: Task.CONCLUDE,
        Phase.FINISHING: Task.FINISH,
        Phase.DONE: Task.NOTHING,
    }[at.phase]


def advance(plan: Plan, policy: Policy, at: Position, event: Event) -> Position:
    """Return the position after an event. An event that does not belong to the phase changes nothing."""
    if event.kind is Happening.CLOSED and at.phase in (Phase.STEPPING, Phase.PROMOTING, Phase.CLOSING):
        return _closed(at, event)
    if at.phase is Phase.STEPPING:
        return _stepped(plan, policy, at, event)
    if event.kind is Happening.UNWELL and at.phase is Phase.PREFLIGHT:
        return replace(at, phase=Phase.CLOSING, outcome=Outcome.FAILED, reason=event.reason)
    if event.kind is Happening.UNWELL and at.phase in (Phase.STARTING, Phase.PROMOTING):
        return replace(at, phase=Phase.CLOSING, outcome=Outcome.ROLLED_BACK, reason=event.reason)
    if event.kind is Happening.WELL:
        return _went_well(at)
    return at


def _went_well(at: Position) -> Position:
    if at.phase is Phase.PROMOTING:
        return replace(at, phase=Phase.CONCLUDING, outcome=Outcome.PROMOTED)
    follows = {
        Phase.PREFLIGHT: Phase.STARTING,
        Phase.STARTING: Phase.STEPPING,
        Phase.CONCLUDING: Phase.RETIRING,
        Phase.RETIRING: Phase.FINISHING,
        Phase.FINISHING: Phase.DONE,
    }
    return replace(at, phase=follows.get(at.phase, at.phase))


def _closed(at: Position, event: Event) -> Position:
    if event.closure is ClosureKind.PROMOTED:
        return replace(at, phase=Phase.CONCLUDING, outcome=Outcome.PROMOTED, reason="")
    at = replace(
        at,
        phase=Phase.CONCLUDING if at.phase is Phase.CLOSING else Phase.CLOSING,
        verdict=event.verdict or at.verdict,
    )
    if event.closure is ClosureKind.FAILED and at.outcome in (None, Outcome.ABORTED):
        return replace(at, outcome=Outcome.ROLLED_BACK, reason=event.reason or at.reason)
    return replace(at, outcome=at.outcome or Outcome.ABORTED, reason=at.reason or event.reason)


def _stepped(plan: Plan, policy: Policy, at: Position, event: Event) -> Position:
    at = replace(at, verdict=event.verdict or at.verdict)
    if event.kind in (Happening.STEP_FAILED, Happening.UNWELL):
        return replace(at, phase=Phase.CLOSING, outcome=Outcome.ROLLED_BACK, reason=event.reason)
    if event.kind is Happening.STEP_PASSED:
        return replace(at, has_passed=True) if at.is_paused else _next_step(plan, at)
    if event.kind is Happening.STEP_UNDECIDED and not at.is_paused:
        return _waited_out(at, event) if at.is_waiting else _undecided(plan, policy, at, event)
    return at


def _next_step(plan: Plan, at: Position) -> Position:
    at = replace(at, has_passed=False, is_waiting=False, is_paused=False, reason="")
    if at.step + 1 < len(plan.steps):
        return replace(at, step=at.step + 1)
    return replace(at, phase=Phase.PROMOTING)


def _undecided(plan: Plan, policy: Policy, at: Position, event: Event) -> Position:
    ground = event.verdict.ground if event.verdict else Ground.SOURCE_DOWN
    choice = {
        Ground.NO_TRAFFIC: policy.on_no_data,
        Ground.CANARY_DARK: policy.on_no_data,
        Ground.AUDIENCE_AWAY: policy.on_no_data,
        Ground.SPLIT_MISMATCH: policy.on_no_data,
        Ground.NOT_MEASURED: policy.on_no_data,
        Ground.SOURCE_DOWN: policy.on_source_down,
        Ground.SERVICE_BURNING: Fallback.WAIT,  # an incident of everybody's is not the canary's fault
    }
    fallback = choice.get(ground, policy.on_inconclusive)
    if fallback is Fallback.PROMOTE:
        return _next_step(plan, at)
    if fallback is Fallback.WAIT:
        return replace(at, is_waiting=True, reason=event.reason)
    return replace(at, phase=Phase.CLOSING, outcome=Outcome.ROLLED_BACK, reason=event.reason)


def _waited_out(at: Position, event: Event) -> Position:
    """Take the canary back when nobody came for as long as the policy waits."""
    reason = f"nobody decided in time; {event.reason}" if event.reason else "nobody decided in time"
    return replace(at, phase=Phase.CLOSING, outcome=Outcome.ROLLED_BACK, reason=reason)


def check(at: Position, kind: CommandKind) -> None:
    """Check a command against a position without changing anything.

    Raises:
        CommandRefused: The release is in a phase that does not take it.
    """
    runs = at.phase in (Phase.PREFLIGHT, Phase.STARTING, Phase.STEPPING)
    if kind is CommandKind.ABORT:
        allowed = runs or at.phase in (Phase.PROMOTING, Phase.CLOSING)
    elif kind is CommandKind.PROMOTE:
        allowed = at.phase is Phase.STEPPING
    elif kind is CommandKind.RESUME:
        allowed = runs and at.is_paused
    else:  # START is for the ledger: a release that runs never takes it
        allowed = runs and kind is CommandKind.PAUSE
    if not allowed:
        where = "is not paused" if kind is CommandKind.RESUME and runs else f"is {at.phase.value}"
        raise CommandRefused(f"the release {where}: {kind.value} does not apply")


def command(plan: Plan, at: Position, kind: CommandKind, *, reason: str = "") -> Position:
    """Return the position after a person's command.

    Raises:
        CommandRefused: As `check`.
    """
    check(at, kind)
    if kind is CommandKind.ABORT:
        if at.phase is Phase.CLOSING:
            return at
        return replace(
            at, phase=Phase.CLOSING, outcome=Outcome.ABORTED, reason=reason or "aborted by a person"
        )
    if kind is CommandKind.PAUSE:
        return replace(at, is_paused=True)
    if kind is CommandKind.RESUME:
        at = replace(at, is_paused=False)
        return _next_step(plan, at) if at.has_passed else at
    return _next_step(plan, at)


def state_of(plan: Plan, at: Position) -> State:
    """Say where a release stands, in the words people see."""
    if at.phase is Phase.STEPPING:
        if at.is_paused:
            return State.PAUSED
        return State.WAITING if at.is_waiting or plan.steps[at.step].gate else State.STEPPING
    return {
        Phase.PREFLIGHT: State.STARTING,
        Phase.STARTING: State.STARTING,
        Phase.PROMOTING: State.PROMOTING,
        Phase.CLOSING: State.CLOSING,
        Phase.CONCLUDING: State.CLOSING if at.outcome is not Outcome.PROMOTED else State.PROMOTING,
        Phase.RETIRING: State.DRAINING,
        Phase.FINISHING: State.DRAINING,
        Phase.DONE: State.DONE,
    }[at.phase]
