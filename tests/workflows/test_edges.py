"""Which lines a move of the machine is worth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.model.machine import Phase, Position, begin
from controller.model.release import Outcome, State
from tests.workflows.orders import PASS, an_order
from workflows.edges import Cause, edges, number

PLAN = an_order(gate=1).plan
CAUSE = Cause(7.0, correlation_id="cor-1", reason="said")
STEP = replace(begin(), phase=Phase.STEPPING)


def kinds(before: Position, after: Position, cause: Cause = CAUSE) -> list[str]:
    """Kinds of the lines of a move."""
    return [note.kind for note in edges(PLAN, before, after, cause)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (begin(), replace(begin(), phase=Phase.STARTING), ["preflight_passed"]),
        (replace(begin(), phase=Phase.STARTING), STEP, ["version_ready", "step_started"]),
        (STEP, replace(STEP, step=1), ["step_passed", "step_started"]),
        (replace(STEP, step=2), replace(STEP, step=2, phase=Phase.PROMOTING), ["step_passed", "promoting"]),
        (STEP, replace(STEP, is_paused=True), ["paused"]),
        (replace(STEP, is_paused=True), STEP, ["resumed"]),
        (STEP, replace(STEP, is_waiting=True), ["waiting"]),
        (STEP, replace(STEP, has_passed=True), []),
        (STEP, replace(STEP, phase=Phase.CLOSING, outcome=Outcome.ABORTED), ["closing"]),
        (replace(STEP, phase=Phase.CLOSING), replace(STEP, phase=Phase.CONCLUDING), []),
        (replace(STEP, phase=Phase.RETIRING), replace(STEP, phase=Phase.FINISHING), ["drained"]),
        (STEP, STEP, []),
    ],
)
def test_a_move_is_told_by_its_lines(before: Position, after: Position, expected: list[str]) -> None:
    """What is left comes first, then what begins; what nobody needs to know makes no line."""
    assert kinds(before, after) == expected


def test_a_step_that_a_person_ended_did_not_pass() -> None:
    """The journal never claims a PASS that no judge gave."""
    command = replace(CAUSE, actor="bo", is_command=True)

    assert kinds(STEP, replace(STEP, step=1), command) == ["step_ended_by_command", "step_started"]
    assert kinds(replace(STEP, has_passed=True), replace(STEP, step=1), command) == [
        "step_passed",
        "step_started",
    ]


def test_a_line_carries_share_state_verdict_and_cause() -> None:
    """A started step says its share; a passed one its verdict; both the correlation ID."""
    left, entered = edges(PLAN, replace(STEP, verdict=PASS), replace(STEP, step=1, verdict=PASS), CAUSE)

    assert (left.step, left.verdict, left.reason) == (0, PASS, "said")
    assert (entered.step, entered.share, entered.state) == (1, 1_800, State.WAITING)
    assert {left.correlation_id, entered.correlation_id} == {"cor-1"}


def test_lines_are_numbered_within_their_kind() -> None:
    """Two steps that began are number one and number two."""
    first, counts = number(edges(PLAN, replace(begin(), phase=Phase.STARTING), STEP, CAUSE), {})
    second, counts = number(edges(PLAN, STEP, replace(STEP, step=1), CAUSE), counts)

    assert [(note.kind, note.n) for note in (*first, *second)] == [
        ("version_ready", 1),
        ("step_started", 1),
        ("step_passed", 1),
        ("step_started", 2),
    ]
    assert counts == {"version_ready": 1, "step_started": 2, "step_passed": 1}
