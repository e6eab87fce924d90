"""The state machine: what follows what, and that an abort always ends with stable at 100 %."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import CommandRefused
from controller.model.lease import ClosureKind
from controller.model.machine import (
    Event,
    Happening,
    Phase,
    Position,
    Task,
    advance,
    begin,
    check,
    command,
    state_of,
    todo,
)
from controller.model.plan import Fallback, Plan, Policy, Step
from controller.model.release import CommandKind, Outcome, State
from controller.model.share import BasisPoints
from controller.model.verdict import Decision, Ground, Verdict

PLAN = Plan("p", (Step(BasisPoints(1000)), Step(BasisPoints(3000)), Step(BasisPoints(6000))))
POLICY = Policy("p")
WELL = Event(Happening.WELL)
PASSED = Event(Happening.STEP_PASSED)
BAD = Verdict(Decision.FAIL, Ground.ERROR_RATE)


def go(at: Position, *events: Event, plan: Plan = PLAN, policy: Policy = POLICY) -> Position:
    for event in events:
        at = advance(plan, policy, at, event)
    return at


STEPPING = go(begin(), WELL, WELL)


def test_a_good_release_climbs_every_step_and_is_promoted() -> None:
    """Preflight, start, three passes, promotion, end: in this order and nothing else."""
    at, tasks = begin(), []

    while todo(PLAN, at) is not Task.NOTHING:
        tasks.append(todo(PLAN, at))
        at = go(at, PASSED if at.phase is Phase.STEPPING else WELL)

    assert tasks == [
        Task.PREFLIGHT,
        Task.START_VERSION,
        Task.HOLD_STEP,
        Task.HOLD_STEP,
        Task.HOLD_STEP,
        Task.PROMOTE,
        Task.CONCLUDE,
        Task.RETIRE_STABLE,
        Task.FINISH,
    ]
    assert at.outcome is Outcome.PROMOTED


def test_a_failed_step_closes_and_retires_the_canary() -> None:
    """A FAIL leads to close, then to the end of the canary, with the verdict kept."""
    at = go(STEPPING, Event(Happening.STEP_FAILED, verdict=BAD, reason="14 of 61"))

    assert todo(PLAN, at) is Task.CLOSE
    at = go(at, Event(Happening.CLOSED, closure=ClosureKind.FAILED), WELL)
    assert (at.outcome, at.reason, at.verdict) == (Outcome.ROLLED_BACK, "14 of 61", BAD)
    assert todo(PLAN, at) is Task.RETIRE_CANARY


def test_a_pass_during_a_pause_waits_for_the_resume() -> None:
    """A paused step is judged on, keeps its PASS, and moves on at the resume."""
    at = command(PLAN, STEPPING, CommandKind.PAUSE)
    assert todo(PLAN, at) is Task.HOLD_OPEN

    at = go(at, PASSED)

    assert (at.step, state_of(PLAN, at)) == (0, State.PAUSED)
    assert command(PLAN, at, CommandKind.RESUME).step == 1


def test_a_deadline_during_a_pause_changes_nothing() -> None:
    """No deadline ends a step while a person holds it."""
    at = command(PLAN, STEPPING, CommandKind.PAUSE)

    assert go(at, Event(Happening.STEP_UNDECIDED)) == at


def test_a_gate_is_passed_by_a_person_only() -> None:
    """A gate is held open; promote goes past it."""
    plan = Plan("g", (Step(BasisPoints(1000), gate=True), Step(BasisPoints(3000))))

    assert todo(plan, STEPPING) is Task.HOLD_OPEN
    assert state_of(plan, STEPPING) is State.WAITING
    assert command(plan, STEPPING, CommandKind.PROMOTE).step == 1


@pytest.mark.parametrize(
    ("ground", "policy"),
    [
        (Ground.COLLECTING, lambda choice: Policy("p", on_inconclusive=choice)),
        (Ground.INCONCLUSIVE_LIMIT, lambda choice: Policy("p", on_inconclusive=choice)),
        (Ground.NOT_ENOUGH, lambda choice: Policy("p", on_inconclusive=choice)),
        (Ground.NO_TRAFFIC, lambda choice: Policy("p", on_no_data=choice)),
        (Ground.SOURCE_DOWN, lambda choice: Policy("p", on_source_down=choice)),
    ],
)
def test_a_deadline_follows_the_policy_of_its_own_cause(
    ground: Ground, policy: Callable[[Fallback], Policy]
) -> None:
    """No evidence, a dead source and an unclear canary are three causes with three answers."""
    event = Event(Happening.STEP_UNDECIDED, verdict=Verdict(Decision.HOLD, ground), reason="r")

    rolled = go(STEPPING, event, policy=policy(Fallback.ROLLBACK))
    waits = go(STEPPING, event, policy=policy(Fallback.WAIT))
    goes_on = go(STEPPING, event, policy=policy(Fallback.PROMOTE))

    assert (rolled.phase, rolled.outcome) == (Phase.CLOSING, Outcome.ROLLED_BACK)
    assert (state_of(PLAN, waits), todo(PLAN, waits), waits.reason) == (State.WAITING, Task.HOLD_OPEN, "r")
    assert goes_on.step == 1


def test_the_keeper_decides_between_abort_and_promotion() -> None:
    """An abort that comes after the promotion finds the release promoted."""
    at = go(STEPPING, PASSED, PASSED, PASSED)
    at = command(PLAN, at, CommandKind.ABORT)

    at = go(at, Event(Happening.CLOSED, closure=ClosureKind.PROMOTED))

    assert (at.outcome, todo(PLAN, at)) == (Outcome.PROMOTED, Task.CONCLUDE)


def test_a_judges_fail_outranks_an_abort_that_came_later() -> None:
    """The first closure stands, with its own reason."""
    at = command(PLAN, STEPPING, CommandKind.ABORT, reason="changed my mind")

    at = go(at, Event(Happening.CLOSED, closure=ClosureKind.FAILED, verdict=BAD, reason="14 of 61"))

    assert (at.outcome, at.reason) == (Outcome.ROLLED_BACK, "14 of 61")


def test_resume_needs_a_pause() -> None:
    """A command that does not apply is refused with the reason."""
    with pytest.raises(CommandRefused, match="is not paused"):
        check(STEPPING, CommandKind.RESUME)


events = st.builds(
    Event,
    kind=st.sampled_from(list(Happening)),
    reason=st.just("r"),
    closure=st.sampled_from(list(ClosureKind)),
    verdict=st.sampled_from([None, BAD, Verdict(Decision.HOLD, Ground.NO_TRAFFIC)]),
)
moves = st.lists(events | st.sampled_from(list(CommandKind)), max_size=30)


def wander(plan: Plan, policy: Policy, path: list[Event | CommandKind]) -> Position:
    at = begin()
    for move in path:
        if isinstance(move, Event):
            at = advance(plan, policy, at, move)
        else:
            try:
                at = command(plan, at, move)
            except CommandRefused:
                continue
    return at


@given(path=moves)
def test_abort_reaches_stable_from_every_state(path: list[Event | CommandKind]) -> None:
    """Wherever a release stands, an abort ends it: closed for ever, or promoted before the abort arrived."""
    at = wander(PLAN, POLICY, path)
    before = at.phase

    try:
        at = command(PLAN, at, CommandKind.ABORT)
    except CommandRefused:
        assert before in (Phase.CONCLUDING, Phase.RETIRING, Phase.FINISHING, Phase.DONE)
    done = []
    while (task := todo(PLAN, at)) is not Task.NOTHING:
        done.append(task)
        assert len(done) < 10
        at = go(at, Event(Happening.CLOSED, closure=ClosureKind.ABORTED) if task is Task.CLOSE else WELL)

    assert at.outcome is not None
    if before not in (Phase.CONCLUDING, Phase.RETIRING, Phase.FINISHING, Phase.DONE):
        assert done[0] is Task.CLOSE
        assert Task.PROMOTE not in done


@given(path=moves)
def test_a_release_is_promoted_only_after_every_step_was_left(path: list[Event | CommandKind]) -> None:
    """No order of happenings and commands skips a step on the way up."""
    at, steps = begin(), [0]
    for move in path:
        at = wander_once(at, move)
        if at.phase is Phase.STEPPING and at.step != steps[-1]:
            steps.append(at.step)

    assert steps == list(range(len(steps)))
    if at.phase is Phase.PROMOTING:
        assert steps == [0, 1, 2]


def wander_once(at: Position, move: Event | CommandKind) -> Position:
    if isinstance(move, Event):
        return advance(PLAN, POLICY, at, move)
    try:
        return command(PLAN, at, move)
    except CommandRefused:
        return at


@given(path=moves)
def test_every_position_has_a_state_for_people(path: list[Event | CommandKind]) -> None:
    """Whatever happened, the release can be shown."""
    assert state_of(PLAN, wander(PLAN, POLICY, path)) in State


def test_nobody_waits_for_a_person_for_ever() -> None:
    """A second undecided end while waiting takes the canary back; a paused one stays, because a person has come."""
    undecided = Event(Happening.STEP_UNDECIDED, Verdict(Decision.HOLD, Ground.NO_TRAFFIC), reason="too few")
    waits = go(STEPPING, undecided)
    assert waits.is_waiting

    over = go(waits, undecided)
    assert (over.phase, over.outcome) == (Phase.CLOSING, Outcome.ROLLED_BACK)
    assert over.reason == "nobody decided in time; too few"
    assert go(command(PLAN, waits, CommandKind.PAUSE), undecided).phase is Phase.STEPPING


@pytest.mark.parametrize("fallback", list(Fallback))
def test_an_incident_of_the_whole_service_waits_whatever_the_policy_says(fallback: Fallback) -> None:
    """Neither promoted nor rolled back at a deadline that comes while everything burns."""
    burning = Event(Happening.STEP_UNDECIDED, Verdict(Decision.HOLD, Ground.SERVICE_BURNING), reason="r")

    assert go(STEPPING, burning, policy=Policy("p", on_inconclusive=fallback)).is_waiting
