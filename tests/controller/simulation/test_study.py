"""Many runs summed up: counts, exact intervals, and delays that occurred."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.plans import ready
from controller.simulation.scene import Fault, Scene
from controller.simulation.study import Spread, Study, is_tolerable, spread, study

PLAN, POLICY = ready.plan("fast"), ready.policy("fast")
SCENE = Scene(per_s=100, stable_rate=0.005, canary=Fault(0.2), look_every_s=2)


def play(scene: Scene, runs: int = 12) -> Study:
    return study(scene, PLAN, POLICY, runs=runs, seed=5)


def test_a_bad_canary_is_detected_in_every_run() -> None:
    """Twelve of twelve, with the interval of twelve of twelve, and a delay in seconds, requests and failures."""
    found = play(SCENE)

    assert (found.is_tolerable, found.failed.count, found.promoted.count) == (False, 12, 0)
    assert found.failed.low == pytest.approx(0.025 ** (1 / 12))
    assert found.delay_s.median is not None
    assert found.delay_requests.median is not None
    assert found.users_hit.median is not None
    assert found.delay_s.median < 20
    assert 0 < found.users_hit.median < found.delay_requests.median
    assert found.promotion_s == Spread(None, None)


def test_a_good_canary_is_promoted_in_every_run() -> None:
    """No rollback by mistake, and a time to full promotion."""
    found = play(replace(SCENE, canary=Fault(0.005)))

    assert (found.is_tolerable, found.failed.count, found.promoted.count) == (True, 0, 12)
    assert found.promotion_s.median is not None
    assert found.delay_s == Spread(None, None)


def test_a_study_is_its_seed() -> None:
    """The same seed gives the same study, and a larger one begins with the same runs."""
    assert play(SCENE, runs=4) == play(SCENE, runs=4)
    assert play(SCENE, runs=4).example == play(SCENE, runs=8).example


def test_tolerable_is_what_the_policy_says() -> None:
    """The border itself is tolerable: 1.1 times stable's rate and 0.05 points."""
    at = 1.1 * 0.005 + 0.0005

    assert is_tolerable(replace(SCENE, canary=Fault(at)), POLICY)
    assert not is_tolerable(replace(SCENE, canary=Fault(at + 1e-6)), POLICY)


@pytest.mark.parametrize(
    ("values", "median", "p95"),
    [([], None, None), ([3], 3, 3), ([4, 1], 1, 4), (list(range(1, 101)), 50, 95)],
)
def test_spreads_are_values_that_occurred(values: list[float], median: float, p95: float) -> None:
    """Median and 95th percentile by nearest rank."""
    assert spread(values) == Spread(median, p95)
