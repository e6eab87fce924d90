"""What the power says is what happens: simulated releases find the named fault every second time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.analysis.power import sights
from controller.model.look import History
from controller.model.plan import Fallback, JudgeKind, MannWhitney, Plan, Policy, Rail, Step, Tolerance
from controller.model.share import BasisPoints
from controller.plans import ready
from controller.simulation.scene import Fault, Scene
from controller.simulation.study import study


@pytest.mark.parametrize(
    ("share", "per_s", "base", "hold_s"),
    [(500, 1_000, 0.001, 120), (5_000, 300, 0.002, 60), (9_500, 100, 0.01, 60)],
)
def test_the_named_rate_is_found_every_second_time(
    share: int, per_s: float, base: float, hold_s: float
) -> None:
    """Of 40 seeded releases about half fail at the named rate, nearly all at twice the distance from stable."""
    plan = Plan("one", (Step(BasisPoints(share), hold_s=hold_s, deadline_s=hold_s + 1),))
    policy = Policy("p", warmup_s=0, rail=Rail(min_requests=1_000_000), tolerance=Tolerance(beta=1e-6))
    history = History(3600, round(3600 * per_s), round(3600 * per_s * base))
    (seen,) = sights(plan, policy, history)
    assert seen.rate is not None

    def found(rate: float) -> int:
        scene = Scene(per_s, base, Fault(rate), look_every_s=2)
        return study(scene, plan, policy, runs=40, seed=3).failed.count

    assert 10 <= found(seen.rate) <= 32
    assert found(base + 2 * (seen.rate - base)) >= 38


def test_the_rate_named_for_ranks_is_found_every_second_time() -> None:
    """The same of the rank-sum judge, ten points of ten seconds: at the named rate, and at twice the distance."""
    plan = Plan("one", (Step(BasisPoints(5_000), hold_s=100, deadline_s=101),))
    policy = Policy(
        "p",
        judge=JudgeKind.MANN_WHITNEY,
        mann_whitney=MannWhitney(interval_s=10),
        warmup_s=0,
        rail=Rail(min_requests=1_000_000),
    )
    (seen,) = sights(plan, policy, History(3600, 360_000, 3_600))
    assert seen.rate is not None

    def found(rate: float) -> int:
        return study(
            Scene(100, 0.01, Fault(rate), look_every_s=5), plan, policy, runs=40, seed=3
        ).failed.count

    assert 10 <= found(seen.rate) <= 32
    assert found(0.01 + 2 * (seen.rate - 0.01)) >= 34


def test_a_plan_that_sees_nothing_finds_nothing() -> None:
    """At one request in 10 s the plan `demo` never fails a canary that fails every request before its deadline."""
    plan, policy = ready.plan("demo"), replace(ready.policy("demo"), on_no_data=Fallback.ROLLBACK)
    assert [one.rate for one in sights(plan, policy, History(3600, 360, 0))] == [None, None, None]

    found = study(Scene(0.1, 0.0, Fault(1.0)), plan, policy, runs=60, seed=3)

    assert found.failed.count == 0
