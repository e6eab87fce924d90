"""When a step ends by itself, in one place for judge, simulator and replay."""

from __future__ import annotations

import pytest

from controller.judging.ending import is_overdue
from controller.model.plan import Step
from controller.model.share import BasisPoints
from controller.model.verdict import Decision, Ground, Verdict

STEP = Step(BasisPoints(1000), hold_s=10, deadline_s=60)


@pytest.mark.parametrize(
    ("step_s", "is_exhausted", "is_over"), [(59.9, False, False), (60, False, True), (1, True, True)]
)
def test_a_step_is_over_at_its_deadline_or_when_its_judge_gives_up(
    step_s: float, is_exhausted: bool, is_over: bool
) -> None:
    """Whichever comes first."""
    verdict = Verdict(Decision.HOLD, Ground.COLLECTING, is_exhausted=is_exhausted)

    assert is_overdue(STEP, verdict, step_s) is is_over
