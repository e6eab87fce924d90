"""What is foreseen of policies without a guarantee is what happens: identical versions in simulated releases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.analysis.soundness import risk
from controller.model.look import History
from controller.model.plan import JudgeKind, Limits, MannWhitney, Plan, Policy, Rail, Step
from controller.model.share import BasisPoints
from controller.simulation.scene import Fault, Scene
from controller.simulation.study import study

FACTOR = 2.0
"""The prediction is within this factor of what the simulation cannot exclude."""
NEVER = Rail(min_requests=1_000_000)
THRESHOLD = Policy(
    "p", judge=JudgeKind.THRESHOLD, max_error_rate=1.0, min_requests=10, warmup_s=0, rail=NEVER
)
RANKS = replace(THRESHOLD, judge=JudgeKind.MANN_WHITNEY)
ARGO = replace(THRESHOLD, max_error_rate=0.02, limits=Limits(interval_s=10, failure_limit=1))


@pytest.mark.parametrize(
    ("policy", "per_s", "base", "look_s"),
    [
        (ARGO, 20, 0.01, 5),
        (replace(ARGO, limits=Limits(interval_s=10, failure_limit=2, consecutive=True)), 10, 0.02, 5),
        (replace(ARGO, max_error_rate=0.01), 300, 0.02, 5),
        (replace(THRESHOLD, max_error_rate=0.05, min_requests=30), 10, 0.015, 2),
        (replace(THRESHOLD, max_error_rate=0.03, min_requests=100), 100, 0.015, 2),
        (replace(THRESHOLD, rail=Rail(10, 0.2, 10)), 6, 0.06, 2),
        (replace(THRESHOLD, rail=Rail(30, 0.08, 20)), 20, 0.03, 2),
        (replace(RANKS, mann_whitney=MannWhitney(10, confidence=0.8, tolerance=0)), 50, 0.02, 5),
    ],
)
def test_identical_versions_are_rolled_back_as_often_as_foreseen(
    policy: Policy, per_s: float, base: float, look_s: float
) -> None:
    """By a FAIL or at a deadline, of 120 seeded releases; the exact 95 % interval, widened by a factor of 2."""
    plan = Plan(
        "p",
        (
            Step(BasisPoints(2000), hold_s=40, deadline_s=80),
            Step(BasisPoints(5000), hold_s=40, deadline_s=80),
        ),
    )
    scene = Scene(per_s, base, Fault(base), look_every_s=look_s)

    foreseen = risk(
        plan, policy, History(36e5, round(36e5 * per_s), round(36e5 * per_s * base)), look_s=look_s
    )
    found = study(scene, plan, policy, runs=120, seed=7)

    low, high = found.failed.low + found.undecided.low, found.failed.high + found.undecided.high
    assert found.failed.count + found.undecided.count >= 4
    assert low / FACTOR <= foreseen.total <= high * FACTOR
