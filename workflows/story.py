"""What a release remembers between activities, and the pure steps from errand to answer to the next position.

Before it: `workflows.release` runs the loop. After it: `controller.model.machine` has the rules. Kept apart from the
workflow so that it is tested without Temporal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from controller.model.evidence import Evidence, StepOrder
from controller.model.lease import ClosureKind
from controller.model.machine import (
    Event,
    Happening,
    Phase,
    Position,
    Task,
    advance,
    begin,
    command,
    state_of,
    todo,
)
from controller.model.release import Command, CommandKind, Outcome, ReleaseOrder, State
from controller.model.verdict import Decision
from workflows.edges import Cause, edges, number
from workflows.messages import (
    Activity,
    Answer,
    CloseErrand,
    Ending,
    Errand,
    Judged,
    JudgeErrand,
    Ledger,
    Note,
    Retirement,
)

AnyErrand = Errand | JudgeErrand | CloseErrand | Ending | Retirement
UNKNOWN = "the ledger does not know this release"
FINAL = (Phase.CONCLUDING, Phase.RETIRING, Phase.FINISHING, Phase.DONE)
"""The outcome stands; nothing changes it any more."""
ACTIVITIES = {
    Task.PREFLIGHT: Activity.PREFLIGHT,
    Task.START_VERSION: Activity.START_VERSION,
    Task.HOLD_STEP: Activity.HOLD_STEP,
    Task.HOLD_OPEN: Activity.HOLD_STEP,
    Task.PROMOTE: Activity.PROMOTE,
    Task.CLOSE: Activity.CLOSE,
    Task.CONCLUDE: Activity.CONCLUDE,
    Task.RETIRE_CANARY: Activity.RETIRE,
    Task.RETIRE_STABLE: Activity.RETIRE,
    Task.FINISH: Activity.FINISH,
}


@dataclass(frozen=True, slots=True)
class Story:
    """A release so far.

    Args:
        order: What was ordered.
        at: Where the machine stands.
        notes: Journal lines that no activity has written yet.
        counts: Lines so far by kind; they number the next ones.
        evidence: What the last judge handed over.
        judged_step: The step that evidence is about, -1 before the first.
        facts: `verdict_at` and `closed_at` as far as they are known, seconds since 1970 (UTC).
        actor: Who caused the end.
    """

    order: ReleaseOrder
    at: Position = field(default_factory=begin)
    notes: tuple[Note, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    evidence: Evidence | None = None
    judged_step: int = -1
    facts: Mapping[str, float] = field(default_factory=dict)
    actor: str = "serinus"

    @property
    def task(self) -> Task:
        """What is to be done now."""
        return todo(self.order.plan, self.at)

    @property
    def state(self) -> State:
        """Where the release stands, in the words people see."""
        return state_of(self.order.plan, self.at)

    @property
    def doing(self) -> tuple[Task, int, State]:
        """Changes when the activity that runs is no longer the one that should run."""
        return self.task, self.at.step, self.state


def moved(story: Story, after: Position, cause: Cause) -> Story:
    """Return the story at another position, with the journal lines that the move is worth."""
    notes, counts = number(edges(story.order.plan, story.at, after, cause), story.counts)
    return replace(story, at=after, notes=(*story.notes, *notes), counts=counts)


def told(story: Story, what: Command, at: float) -> Story:
    """Return the story after a person's command; `at` is the workflow's clock, seconds since 1970 (UTC).

    Raises:
        CommandRefused: The release is in a phase that does not take it.
    """
    after = command(story.order.plan, story.at, what.kind, reason=what.reason)
    cause = Cause(at, what.actor, what.correlation_id, what.reason, is_command=True)
    if what.kind is CommandKind.ABORT and after != story.at:
        story = replace(story, actor=what.actor)
    return moved(story, after, cause)


def given_up(story: Story, outcome: Outcome, reason: str, at: float) -> Story:
    """Return the story of a release that has to close, unless its closure is under way or its outcome stands."""
    if story.at.phase is Phase.CLOSING or story.at.phase in FINAL:
        return story
    after = replace(story.at, phase=Phase.CLOSING, outcome=outcome, reason=reason)
    return moved(story, after, Cause(at, reason=reason))


def errand(story: Story) -> tuple[Activity, AnyErrand, type[Answer] | type[Judged]]:
    """Return which activity comes next, what it is given and what it answers."""
    task, order, at = story.task, story.order, story.at
    activity = ACTIVITIES[task]
    if activity is Activity.HOLD_STEP:
        step = StepOrder(
            release=order,
            step=at.step,
            is_open=task is Task.HOLD_OPEN,
            evidence=story.evidence,
            is_continued=story.judged_step == at.step,
            is_waiting=at.is_waiting and not at.is_paused,
        )
        return activity, JudgeErrand(step, story.notes), Judged
    if task is Task.CLOSE:
        is_judged = at.outcome is Outcome.ROLLED_BACK and at.verdict and at.verdict.decision is Decision.FAIL
        kind = ClosureKind.FAILED if is_judged else ClosureKind.ABORTED
        verdict = at.verdict if is_judged else None
        return activity, CloseErrand(order, kind, at.reason, verdict, story.notes), Answer
    if task is Task.CONCLUDE:
        return activity, _ending(story), Answer
    if activity is Activity.RETIRE:
        is_replaced = task is Task.RETIRE_STABLE
        version = order.target.stable if is_replaced else order.version
        return activity, Retirement(order, version, is_replaced, story.notes), Answer
    return activity, Errand(order, story.notes), Answer


def _ending(story: Story) -> Ending:
    at = story.at
    return Ending(
        order=story.order,
        outcome=at.outcome or Outcome.FAILED,
        reason=at.reason,
        verdict=at.verdict,
        steps=story.counts.get("step_started", 0),
        actor=story.actor if at.outcome is Outcome.ABORTED else "serinus",
        facts=story.facts,
        notes=story.notes,
    )


def learned(story: Story, sent: AnyErrand, answer: Answer | Judged, at: float) -> Story:
    """Return the story after an answer to an errand; `at` is the workflow's clock, seconds since 1970 (UTC)."""
    if answer.ledger is not Ledger.OWED:
        story = replace(story, notes=tuple(note for note in story.notes if note not in sent.notes))
    event = _judged(story, sent, answer) if isinstance(answer, Judged) else _event(answer)
    story = _remembered(story, sent, answer)
    if answer.ledger is Ledger.UNKNOWN and story.at.phase in (
        Phase.PREFLIGHT,
        Phase.STARTING,
        Phase.STEPPING,
    ):
        return _disowned(story, at)
    if isinstance(answer, Answer) and answer.outcome is not None and story.at.phase is Phase.PREFLIGHT:
        phase = Phase.DONE if answer.is_over else Phase.RETIRING
        return replace(story, at=replace(story.at, phase=phase, outcome=answer.outcome, reason=answer.reason))
    return happened(story, event, at)


def happened(story: Story, event: Event, at: float) -> Story:
    """Return the story after an event of the machine."""
    after = advance(story.order.plan, story.order.policy, story.at, event)
    cause = Cause(at, correlation_id=story.order.correlation_id, reason=event.reason)
    return moved(story, after, cause)


def failed(story: Story, reason: str, at: float) -> Story | None:
    """Return the story after an activity that cannot succeed, or None when that is a defect of ours."""
    phase = story.at.phase
    if phase in (Phase.PREFLIGHT, Phase.STARTING, Phase.PROMOTING):
        return happened(story, Event(Happening.UNWELL, reason=reason), at)
    if phase is Phase.STEPPING:
        return happened(story, Event(Happening.STEP_FAILED, reason=f"it cannot be judged: {reason}"), at)
    return None


def _event(answer: Answer) -> Event:
    return Event(answer.kind, verdict=answer.verdict, reason=answer.reason, closure=answer.closure)


def _judged(story: Story, sent: AnyErrand, answer: Judged) -> Event:
    """A PASS or a deadline of a step that a command has left meanwhile says nothing about the step after it."""
    report = answer.report
    is_about_now = isinstance(sent, JudgeErrand) and sent.step.step == story.at.step
    kind = report.kind
    if not is_about_now and kind in (Happening.STEP_PASSED, Happening.STEP_UNDECIDED):
        kind = Happening.INTERRUPTED
    return Event(kind, verdict=report.verdict, reason=report.reason, closure=report.closure)


def _remembered(story: Story, sent: AnyErrand, answer: Answer | Judged) -> Story:
    """Keep the evidence and the facts; the first fact of a name stands."""
    found = answer.report if isinstance(answer, Judged) else answer
    facts = {"closed_at": found.closed_at, "verdict_at": getattr(found, "verdict_at", None)}
    known = {name: value for name, value in facts.items() if value is not None}
    story = replace(story, facts={**known, **story.facts})
    if isinstance(answer, Judged) and isinstance(sent, JudgeErrand) and answer.has_looked:
        return replace(story, evidence=answer.report.evidence, judged_step=sent.step.step)
    return story


def _disowned(story: Story, at: float) -> Story:
    """End at once if nothing was touched yet, else take everything back."""
    if story.at.phase is Phase.PREFLIGHT:
        return replace(story, at=replace(story.at, phase=Phase.DONE, outcome=None, reason=UNKNOWN))
    return given_up(story, Outcome.ABORTED, UNKNOWN, at)
