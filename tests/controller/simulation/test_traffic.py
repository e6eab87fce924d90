"""The world outside: what both versions serve, what the source counts, and what is remembered of the time before."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from controller.analysis.beginning import start_of
from controller.model.look import Look, SourceState
from controller.model.share import BasisPoints
from controller.plans import ready
from controller.simulation import past
from controller.simulation.latency import Latency, Pauses, Slowness
from controller.simulation.scene import Fault, Fleet, Outage, Scene
from controller.simulation.traffic import Traffic

PLAN, POLICY = ready.plan("fast"), ready.policy("fast")
SCENE = Scene(per_s=1000, stable_rate=0.02, canary=Fault(0.02))
HALF = BasisPoints(5000)


def world(scene: Scene, seed: int = 1) -> Traffic:
    """A world whose past is drawn and whose latency ladder is frozen."""
    random = Random(seed)
    traffic = Traffic(scene, random, stable="v1", canary="v2")
    traffic.rungs = start_of(PLAN, POLICY, past.history(scene, traffic.stable, random)).rungs
    return traffic


def after(scene: Scene, seconds: int) -> tuple[Traffic, Look]:
    """The world after a while at half of the traffic, and its look."""
    traffic = world(scene)
    for _ in range(seconds):
        traffic.go_on(HALF)
    return traffic, traffic.look(1)


def watched(traffic: Traffic, seconds: int) -> list[Look]:
    """A look a second."""
    looks = []
    for number in range(seconds):
        traffic.go_on(HALF)
        looks.append(traffic.look(number + 1))
    return looks


def test_instances_share_the_traffic_and_make_the_arm() -> None:
    """Four and two instances, each with its equal part, together exactly what the arm counts."""
    _, look = after(replace(SCENE, fleet=Fleet(4, 2)), 30)

    assert [one.id for one in look.canary.instances] == ["v2-1", "v2-2"]
    assert len(look.stable.instances) == 4
    for arm in (look.stable, look.canary):
        assert sum(one.total for one in arm.instances) == arm.total
        assert sum(one.failed for one in arm.instances) == arm.failed
        for one in arm.instances:
            assert one.total == pytest.approx(15_000 / len(arm.instances), rel=0.1)


def test_unlike_instances_stay_as_unlike_as_they_were() -> None:
    """The past and the release have the same instances: who failed more before fails more now."""
    scene = replace(SCENE, fleet=Fleet(6, 6, unlike=0.5))
    random = Random(3)
    traffic = Traffic(scene, random, stable="v1", canary="v2")
    before = [one.failed / one.total for one in past.history(scene, traffic.stable, random).instances]
    for _ in range(120):
        traffic.go_on(HALF)

    now = [one.failed / one.total for one in traffic.look(1).stable.instances]

    assert max(before) / min(before) > 1.5
    assert now == pytest.approx(before, rel=0.25)


def test_groups_keep_the_rate_and_come_together() -> None:
    """Failures are multiples of three in quiet seconds, and as many as independent ones in the long run."""
    quiet = replace(SCENE, per_s=200, stable_rate=0.01, canary=Fault(0.01), group=3)
    traffic = world(quiet)
    steps = [one.canary.failed for one in watched(traffic, 600)]

    assert {later - before for before, later in pairwise(steps)} <= {0, 3, 6, 9, 12}
    _, loud = after(replace(SCENE, canary=Fault(0.5), group=3), 60)
    assert loud.canary.failed / loud.canary.total == pytest.approx(0.5, abs=0.02)


def test_one_bad_instance_is_bad_and_the_others_are_not() -> None:
    """The first of the canary's, from the moment of the fault on."""
    _, look = after(replace(SCENE, canary=Fault(0.02, after_s=10), fleet=Fleet(3, 3, bad_rate=0.5)), 40)

    first, *others = (one.failed / one.total for one in look.canary.instances)
    assert first == pytest.approx((10 * 0.02 + 30 * 0.5) / 40, abs=0.02)
    assert others == pytest.approx([0.02, 0.02], abs=0.01)


def test_a_dark_canary_gets_nothing_and_stable_serves_all() -> None:
    """From the moment on its counters stand still."""
    traffic, look = after(replace(SCENE, canary=Fault(0.02, dark_after_s=5)), 15)

    assert look.canary.total == pytest.approx(2_500, rel=0.1)
    assert look.stable.total == pytest.approx(12_500, rel=0.1)
    assert traffic.since_fault.total == 0


def test_what_hangs_is_in_flight_and_users_count_it_as_failed() -> None:
    """Nothing completes, so the counters stand still while the requests pile up."""
    traffic, look = after(replace(SCENE, canary=Fault(0.02, hangs_after_s=5)), 15)

    assert look.canary.total == pytest.approx(2_500, rel=0.1)
    assert look.canary.in_flight == traffic.since_fault.failed == pytest.approx(5_000, rel=0.1)


def test_a_source_that_is_down_says_nothing_and_forgets_nothing() -> None:
    """Its look is empty; the first one afterwards has everything."""
    traffic = world(replace(SCENE, outages=(Outage(2, 2),)))
    looks = watched(traffic, 5)

    assert [one.source for one in looks] == [
        SourceState.OK,
        SourceState.DOWN,
        SourceState.DOWN,
        SourceState.OK,
        SourceState.OK,
    ]
    assert (looks[1].canary.total, looks[1].generation) == (0, "")
    assert looks[3].canary.total == pytest.approx(2_000, rel=0.1)


def test_slow_requests_are_counted_at_the_frozen_bounds() -> None:
    """Stable is above each rung's bound as often as before; a canary twice as slow far more often."""
    scene = replace(SCENE, latency=Latency(0.05), canary=Fault(0.02, slowness=Slowness(times=2)))
    traffic, look = after(scene, 30)

    assert [rung.quantile for rung in traffic.rungs] == [0.5, 0.9, 0.99]
    stable, canary = look.stable.over, look.canary.over
    assert stable is not None
    assert canary is not None
    assert (stable.n, canary.n) == (look.stable.total, look.canary.total)
    for place, rung in enumerate(traffic.rungs):
        assert stable.counts[place] / stable.n == pytest.approx(rung.prior, rel=0.25)
        assert canary.counts[place] > 1.5 * stable.counts[place]
    assert look.canary.in_flight > look.stable.in_flight > 10


def test_a_pause_makes_many_slow_together_and_is_found_in_the_past() -> None:
    """1 % of the time stands still: as many requests are above the pause's length, and the highest rung is tempered."""
    scene = replace(SCENE, latency=Latency(0.05, pauses=Pauses()))
    traffic = world(scene)
    known = past.history(scene, traffic.stable, Random(5))

    above = sum(sum(row[30:]) for row in known.bucket_minutes)  # from 237 ms on
    assert above / known.total == pytest.approx(0.01, rel=0.3)
    assert traffic.rungs[-1].temper > 5
    assert traffic.rungs[-1].temper > 2 * traffic.rungs[0].temper


def test_the_past_is_what_a_source_would_remember() -> None:
    """An hour by minute, instance and bucket, and the instances of earlier versions."""
    scene = replace(SCENE, fleet=Fleet(4, 4, unlike=0.3, generations=2), latency=Latency(0.05))
    traffic = Traffic(scene, Random(1), stable="v1", canary="v2")

    known = past.history(scene, traffic.stable, Random(2))

    assert (len(known.minutes), len(known.minutes[0]), len(known.earlier)) == (60, 4, 8)
    assert sum(known.buckets) == sum(one.total for one in known.instances) == known.total
    assert known.total == pytest.approx(3_600_000, rel=0.01)
    assert start_of(PLAN, POLICY, known).luck.degrees == 11


@pytest.mark.parametrize("history_s", [0.0, 30.0])
def test_a_short_past_knows_no_minutes(history_s: float) -> None:
    """A cold start has neither luck nor a ladder, and nothing breaks."""
    traffic = world(replace(SCENE, history_s=history_s, fleet=Fleet(2, 2), latency=Latency(0.05)))

    traffic.go_on(HALF)

    assert traffic.rungs == ()
    assert traffic.look(1).canary.over is None


def test_a_day_of_history_keeps_an_hour_of_minutes() -> None:
    """The rest is counted as a whole."""
    scene = replace(SCENE, per_s=10, history_s=86_400, fleet=Fleet(2, 2))
    traffic = Traffic(scene, Random(1), stable="v1", canary="v2")

    known = past.history(scene, traffic.stable, Random(2))

    assert len(known.minutes) == 60
    assert known.total == pytest.approx(864_000, rel=0.01)
