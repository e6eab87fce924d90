"""Many runs summed up: counts, exact intervals, and delays that occurred."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.model.plan import Plan, Step
from controller.model.share import BasisPoints
from controller.plans import ready
from controller.simulation.latency import Latency, Slowness
from controller.simulation.scene import Burst, Fault, Fleet, Scene
from controller.simulation.study import Cause, Spread, Study, spread, study
from controller.simulation.tolerance import is_tolerable

PLAN, POLICY = ready.plan("fast"), ready.policy("fast")
SHORT = Plan("short", (Step(BasisPoints(2000), hold_s=50, deadline_s=60),))
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
    assert found.failed_in == (Cause("step 1", 12),)


def test_the_probe_meets_a_bad_release_at_a_thousandth_of_the_traffic() -> None:
    """At 10 000 requests/s: 5 % failing is caught in the first step, with few users hit; a good release is promoted."""
    scene = replace(SCENE, per_s=10_000, canary=Fault(0.05))

    bad = study(scene, ready.plan("probe"), ready.policy("standard"), runs=6, seed=5)
    good = study(
        replace(scene, canary=Fault(0.005)), ready.plan("probe"), ready.policy("standard"), runs=2, seed=5
    )

    assert bad.failed_in == (Cause("step 1", 6),)
    assert bad.users_hit.p95 is not None
    assert bad.users_hit.p95 < 30
    assert good.promoted.count == 2


def test_a_good_canary_is_promoted_in_every_run() -> None:
    """No rollback by mistake, and a time to full promotion."""
    found = play(replace(SCENE, canary=Fault(0.005)))

    assert (found.is_tolerable, found.failed.count, found.promoted.count) == (True, 0, 12)
    assert found.promotion_s.median is not None
    assert found.delay_s == Spread(None, None)


def test_what_the_fails_stand_on_is_counted() -> None:
    """A slow canary is failed by latency, and the whole of its runs is told apart by rung."""
    slow = replace(SCENE, canary=Fault(0.005, slowness=Slowness(times=2)), latency=Latency(0.05))

    found = play(slow, runs=6)

    assert sum(one.count for one in found.failed_by) == found.failed.count == 6
    assert all(one.name.startswith("latency p") for one in found.failed_by)
    assert play(replace(SCENE, canary=Fault(0.005, hangs_after_s=8)), runs=2).failed_by == (
        Cause("candidate_hanging", 2),
    )


def test_holds_are_told_apart() -> None:
    """One bad instance, a canary without requests and a burning service end at a deadline or unattended, never in a FAIL."""
    good, policy = replace(SCENE, canary=Fault(0.005)), replace(POLICY, longest_wait_s=20)
    bad, dark, burning = (
        study(scene, SHORT, policy, runs=2, seed=5)
        for scene in (
            replace(good, fleet=Fleet(4, 4, bad_rate=0.5)),
            replace(good, canary=Fault(0.005, dark_after_s=5)),
            replace(good, bursts=(Burst(8, 3000, 0.4),)),
        )
    )

    assert (bad.bad_instance.count, bad.undecided.count, bad.failed.count) == (2, 2, 0)
    assert (dark.dark.count, dark.waiting.count, dark.undecided.count) == (2, 2, 0)
    assert (burning.burning.count, burning.waiting.count) == (2, 2)
    assert all(one.is_tolerable for one in (bad, dark, burning))


def test_a_study_is_its_seed() -> None:
    """The same seed gives the same study, and a larger one begins with the same runs."""
    assert play(SCENE, runs=4) == play(SCENE, runs=4)
    assert play(SCENE, runs=4).example == play(SCENE, runs=8).example


def test_tolerable_is_what_the_policy_says() -> None:
    """The border itself is tolerable: 1.1 times stable's rate and 0.05 points."""
    at = 1.1 * 0.005 + 0.0005

    assert is_tolerable(replace(SCENE, canary=Fault(at)), POLICY)
    assert not is_tolerable(replace(SCENE, canary=Fault(at + 1e-6)), POLICY)


def test_a_slow_canary_is_not_tolerable() -> None:
    """Every request 5 % slower is within the ladder's margins, 50 % slower is not; without latencies nobody knows."""
    world = replace(SCENE, canary=Fault(0.005, slowness=Slowness(times=1.05)), latency=Latency(0.05))
    slower = replace(world, canary=Fault(0.005, slowness=Slowness(times=1.5)))

    assert is_tolerable(world, POLICY)
    assert not is_tolerable(slower, POLICY)
    assert is_tolerable(replace(slower, latency=None), POLICY)
    assert is_tolerable(slower, replace(POLICY, metrics=POLICY.metrics[:1]))


def test_what_answers_nothing_is_not_tolerable_and_one_bad_instance_is() -> None:
    """A hang takes the whole canary; a bad instance does so only where it is the only one. A ceiling holds for all."""
    good = replace(SCENE, canary=Fault(0.005))

    assert not is_tolerable(replace(good, canary=Fault(0.005, hangs_after_s=9)), POLICY)
    assert is_tolerable(replace(good, fleet=Fleet(2, 2, bad_rate=0.9)), POLICY)
    assert not is_tolerable(replace(good, fleet=Fleet(2, 1, bad_rate=0.9)), POLICY)
    assert not is_tolerable(good, replace(POLICY, ceiling=0.004))


@pytest.mark.parametrize(
    ("values", "median", "p95"),
    [([], None, None), ([3], 3, 3), ([4, 1], 1, 4), (list(range(1, 101)), 50, 95)],
)
def test_spreads_are_values_that_occurred(values: list[float], median: float, p95: float) -> None:
    """Median and 95th percentile by nearest rank."""
    assert spread(values) == Spread(median, p95)
