"""Whole releases in a made-up world: the real machine and engine, the same seed, the same end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import InvalidInput
from controller.judging.lines import heading_line, look_line, read
from controller.model.evidence import StepOrder
from controller.model.look import Look
from controller.model.plan import Fallback, JudgeKind, Limits, MannWhitney, Plan, Policy, Step
from controller.model.release import Outcome
from controller.model.share import EVERYTHING, BasisPoints
from controller.model.traffic import Match
from controller.model.verdict import Ground
from controller.plans import ready
from controller.simulation.latency import Latency, Pauses, Slowness
from controller.simulation.replay import replay
from controller.simulation.scene import Burst, Fault, Fleet, Outage, Scene
from controller.simulation.study import seeded
from controller.simulation.world import Run, run

PLAN, POLICY = ready.plan("fast"), ready.policy("fast")
GOOD = Scene(per_s=200, stable_rate=0.005, canary=Fault(0.005))
BAD = replace(GOOD, canary=Fault(0.2))


def play(scene: Scene, seed: int = 1) -> Run:
    return run(scene, PLAN, POLICY, random=seeded(seed, 0))


def test_a_good_canary_is_promoted() -> None:
    """It climbs the whole ladder, and both arms served what the shares say."""
    found = play(GOOD)

    assert (found.outcome, found.step, found.delay_s) == (Outcome.PROMOTED, 1, None)
    assert found.stable.total + found.canary.total == pytest.approx(200 * found.took_s, rel=0.05)


def test_a_bad_canary_is_taken_back_with_its_numbers() -> None:
    """The FAIL comes with delay, requests, and the failures that users met."""
    found = play(BAD)

    assert (found.outcome, found.is_failed) == (Outcome.ROLLED_BACK, True)
    assert found.verdict is not None
    assert found.verdict.ground is Ground.ODDS
    assert found.delay_s == found.took_s
    assert found.since_fault == found.canary
    assert "against a tolerable canary" in found.reason


INSIDE_FIRST = Plan(
    "inside first",
    (
        Step(EVERYTHING, hold_s=30, deadline_s=600, matches=(Match(headers={"x-internal": "1"}),)),
        Step(BasisPoints(1_000), hold_s=30, deadline_s=600),
        Step(BasisPoints(5_000), hold_s=30, deadline_s=600),
    ),
)


def test_a_release_that_begins_with_few_goes_on_to_everybody() -> None:
    """5 % of the requests fit: a good release is promoted, a bad one is caught while nobody else met it."""
    scene, looks = replace(GOOD, audience=0.05), list[Look]()

    good = run(scene, INSIDE_FIRST, POLICY, random=seeded(1, 0))
    bad = run(
        replace(scene, canary=Fault(0.2)),
        INSIDE_FIRST,
        POLICY,
        random=seeded(1, 0),
        record=lambda order, look: looks.append(look),
    )

    assert good.outcome is Outcome.PROMOTED
    assert not {Ground.SPLIT_MISMATCH, Ground.CANARY_DARK, Ground.AUDIENCE_AWAY} & set(good.grounds)
    assert (bad.is_failed, bad.step) == (True, 0)
    assert bad.canary.total < 0.1 * bad.stable.total


def test_a_canary_that_its_audience_does_not_reach_is_held() -> None:
    """Whether nobody came or the split broke: it is said, nothing goes on, and nobody is blamed."""
    dark = replace(GOOD, audience=0.05, canary=Fault(0.005, dark_after_s=10))

    found = run(dark, INSIDE_FIRST, replace(POLICY, longest_wait_s=20), random=seeded(1, 0))

    assert found.verdict is not None
    assert (found.verdict.ground, found.is_failed, found.step) == (Ground.AUDIENCE_AWAY, False, 0)


def test_recorded_looks_of_an_audience_are_judged_as_they_were() -> None:
    """Replay knows of the audience too: the same grounds, and no split that would be wrong."""
    lines: list[bytes] = []

    def record(order: StepOrder, look: Look) -> None:
        lines.extend([look_line(order, look)] if lines else [heading_line(order), look_line(order, look)])

    found = run(replace(GOOD, audience=0.05), INSIDE_FIRST, POLICY, random=seeded(1, 0), record=record)
    replayed = replay(read(lines))

    assert replayed.outcome is found.outcome is Outcome.PROMOTED
    assert {one.verdict.ground for one in replayed.judged} == set(found.grounds)


def test_the_same_seed_is_the_same_release() -> None:
    """A run depends on its seed and on nothing else."""
    assert play(BAD, seed=3) == play(BAD, seed=3)
    assert play(BAD, seed=3) != play(BAD, seed=4)


def test_a_late_fault_counts_from_its_begin() -> None:
    """Delay and requests are those since the fault, not since the release."""
    found = play(replace(GOOD, canary=Fault(0.3, after_s=20.0)))

    assert found.outcome is Outcome.ROLLED_BACK
    assert found.delay_s == found.took_s - 20.0
    assert 0 < found.since_fault.total < found.canary.total


def test_a_burst_that_hits_both_is_nobodys_fault() -> None:
    """40 % of everything fails for a while, and the canary is promoted all the same."""
    found = play(replace(GOOD, bursts=(Burst(5, 8, 0.4),)))

    assert found.outcome is Outcome.PROMOTED


def test_a_world_without_traffic_waits_for_a_person_in_vain() -> None:
    """Nobody is judged without requests: the policy waits from the deadline on, and then takes the canary back."""
    found = play(replace(GOOD, per_s=0))

    assert (found.outcome, found.is_failed, found.has_waited) == (Outcome.ROLLED_BACK, False, True)
    assert found.verdict is not None
    assert found.verdict.ground is Ground.NO_TRAFFIC
    assert found.reason.startswith("nobody decided in time; ")
    assert found.took_s == PLAN.steps[0].deadline_s + POLICY.longest_wait_s


def test_a_release_that_waits_is_still_judged() -> None:
    """Traffic that comes with a fault after the deadline fails the canary while it waits."""
    plan = Plan("short", (Step(BasisPoints(5000), hold_s=5, deadline_s=20),))
    scene = replace(GOOD, canary=Fault(0.5, after_s=40), outages=(Outage(10, 20),))

    found = run(scene, plan, POLICY, random=seeded(1, 0))

    assert (found.has_waited, found.is_failed) == (True, True)
    assert found.delay_s is not None
    assert 0 < found.delay_s < 10


def test_a_policy_that_rolls_back_without_data_does() -> None:
    """The real machine asks the real policy."""
    policy = replace(POLICY, on_no_data=Fallback.ROLLBACK)

    found = run(replace(GOOD, per_s=0), PLAN, policy, random=seeded(1, 0))

    assert (found.outcome, found.is_failed, found.has_waited) == (Outcome.ROLLED_BACK, False, False)


LIMITS = Limits(interval_s=5, failure_limit=1, inconclusive_limit=2)
MEASURED = [
    Policy("limits", judge=JudgeKind.THRESHOLD, limits=LIMITS, warmup_s=0),
    Policy("ranks", judge=JudgeKind.MANN_WHITNEY, mann_whitney=MannWhitney(interval_s=2), warmup_s=0),
]


@pytest.mark.parametrize("policy", MEASURED, ids=lambda policy: policy.name)
def test_the_judges_that_measure_play_whole_releases(policy: Policy) -> None:
    """A good canary climbs the ladder and a bad one does not; what was recorded is judged the same again."""
    lines: list[bytes] = []

    def record(order: StepOrder, look: Look) -> None:
        lines.extend([look_line(order, look)] if lines else [heading_line(order), look_line(order, look)])

    good = run(GOOD, PLAN, policy, random=seeded(1, 0))
    bad = run(replace(BAD, canary=Fault(0.4)), PLAN, policy, random=seeded(1, 0), record=record)

    assert (good.outcome, bad.outcome, bad.is_failed) == (Outcome.PROMOTED, Outcome.ROLLED_BACK, True)
    again = replay(read(lines))
    assert (again.outcome, again.judged[-1].verdict) == (Outcome.ROLLED_BACK, bad.verdict)


@pytest.mark.parametrize(
    ("per_s", "ground", "took_s"),
    [
        (0, Ground.NO_TRAFFIC, PLAN.steps[0].deadline_s + MEASURED[0].longest_wait_s),
        (50, Ground.INCONCLUSIVE_LIMIT, 15),
    ],
)
def test_a_limit_of_inconclusive_measurements_ends_a_step_early(
    per_s: float, ground: Ground, took_s: float
) -> None:
    """After three of them, long before the deadline, the policy decides: to wait without traffic, else to go back."""
    found = run(replace(GOOD, per_s=per_s), PLAN, MEASURED[0], random=seeded(1, 0))

    assert found.verdict is not None
    assert (found.verdict.ground, found.is_failed) == (ground, False)
    assert (found.outcome, found.took_s) == (Outcome.ROLLED_BACK, took_s)


def test_a_gate_is_judged_and_then_passed_by_a_person() -> None:
    """A good canary leaves a gate after its time; a bad one is failed in it."""
    plan = Plan("gated", (Step(BasisPoints(1000), hold_s=20, gate=True), *PLAN.steps[1:]))

    good, bad = (run(scene, plan, POLICY, random=seeded(1, 0)) for scene in (GOOD, BAD))

    assert (good.outcome, bad.outcome, bad.step) == (Outcome.PROMOTED, Outcome.ROLLED_BACK, 0)
    assert good.took_s > 20


@pytest.mark.parametrize(
    "scene",
    [
        GOOD,
        BAD,
        replace(GOOD, canary=Fault(0.05, after_s=10, ramp_s=30)),
        replace(GOOD, canary=Fault(0.005, slowness=Slowness(times=1.5)), latency=Latency(0.05)),
        replace(GOOD, fleet=Fleet(3, 3, unlike=0.3), latency=Latency(0.05, pauses=Pauses()), group=2),
        replace(GOOD, fleet=Fleet(3, 3, bad_rate=0.4)),
        replace(GOOD, outages=(Outage(4, 5), Outage(12, 1))),
        replace(GOOD, canary=Fault(0.005, dark_after_s=6), look_every_s=5),
        replace(GOOD, canary=Fault(0.005, hangs_after_s=6)),
    ],
)
def test_what_was_recorded_is_judged_the_same_again(scene: Scene) -> None:
    """Written, read and replayed, a run ends with the same verdict, whatever happened in it."""
    lines: list[bytes] = []

    def record(order: StepOrder, look: Look) -> None:
        lines.extend([look_line(order, look)] if lines else [heading_line(order), look_line(order, look)])

    found = run(scene, PLAN, POLICY, random=seeded(2, 0), record=record)

    again = replay(read(lines))
    assert again.judged[-1].verdict == found.verdict
    assert again.outcome == found.outcome
    assert again.judged[-1].at_s == found.took_s


def test_rates_follow_fault_and_burst() -> None:
    """A ramp grows evenly, and a burst adds to both arms what it takes from the good requests."""
    scene = Scene(
        per_s=1, stable_rate=0.1, canary=Fault(0.5, after_s=10, ramp_s=20), bursts=(Burst(100, 10, 0.5),)
    )

    assert scene.rates(5) == pytest.approx((0.1, 0.1))
    assert scene.rates(20) == pytest.approx((0.1, 0.3))
    assert scene.rates(50) == pytest.approx((0.1, 0.5))
    assert scene.rates(105) == pytest.approx((0.55, 0.75))


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Scene(per_s=float("nan"), stable_rate=0, canary=Fault(0)), "rate"),
        (lambda: Scene(per_s=1, stable_rate=1.5, canary=Fault(0)), "stable_errors"),
        (lambda: Fault(-0.1), "canary_errors"),
        (lambda: Burst(0, 1, 2), "burst"),
        (lambda: Outage(-1, 2), "source_down"),
        (lambda: Fault(0, hangs_after_s=-1), "hang_after"),
        (lambda: Fault(0, dark_after_s=-1), "dark_after"),
        (lambda: Slowness(times=0), "canary_slower"),
        (lambda: Slowness(part=2), "canary_slow_part"),
        (lambda: Latency(0), "latency_ms"),
        (lambda: Latency(1, sigma=-1), "latency_sigma"),
        (lambda: Fleet(0, 1), "instances"),
        (lambda: Fleet(1, 1, bad_rate=3), "bad_instance"),
        (lambda: Scene(per_s=1, stable_rate=0, canary=Fault(0), group=0), "group"),
    ],
)
def test_an_impossible_world_cannot_be_made(make: object, field: str) -> None:
    """Each wrong number names its option."""
    assert callable(make)

    with pytest.raises(InvalidInput) as caught:
        make()

    assert caught.value.field == field
