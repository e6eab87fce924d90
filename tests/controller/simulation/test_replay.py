"""Recorded looks under another policy: what it would have said, and when."""

from __future__ import annotations

from dataclasses import replace

from controller.model.look import Arm, Exceedance, Instance, Look, SourceState
from controller.model.metric import LADDER, METRICS, Need, RungMargin
from controller.model.plan import Fallback, JudgeKind, Plan, Policy, Rail, Step, Tolerance
from controller.model.recording import Heading, Recorded, Recording
from controller.model.release import Outcome
from controller.model.share import BasisPoints
from controller.model.start import Rung, Start
from controller.model.target import TargetKey
from controller.model.verdict import Decision, Ground
from controller.simulation.replay import replay

PLAN = Plan(
    "p", (Step(BasisPoints(1000), hold_s=5, deadline_s=20), Step(BasisPoints(5000), hold_s=5, deadline_s=20))
)
LENIENT = Policy("lenient", judge=JudgeKind.THRESHOLD, max_error_rate=0.5, min_requests=20, warmup_s=0)
STRICT = replace(LENIENT, name="strict", max_error_rate=0.02)


def recording(*counts: tuple[int, int, int], policy: Policy = LENIENT) -> Recording:
    """One look a second; each entry is the step, and the canary's new requests and failures in that second."""
    total = failed = 0
    looks = []
    for number, (step, new, bad) in enumerate(counts, start=1):
        total, failed = total + new, failed + bad
        look = Look(number, float(number), SourceState.OK, "g", Arm(9 * total), Arm(total, failed))
        looks.append(Recorded(look, step))
    heading = Heading("rel-1", TargetKey("local.catalog"), "v1", "v2", PLAN, policy, Start(plan_s=60))
    return Recording(heading, tuple(looks))


WELL = [(0, 0, 0), *[(0, 20, 1)] * 8, *[(1, 20, 1)] * 8]


def test_the_releases_own_policy_is_the_default() -> None:
    """Each step is earned at the first look after its hold, and the last one earned is a promotion."""
    found = replay(recording(*WELL))

    assert found.outcome is Outcome.PROMOTED
    assert [(one.step, one.look, one.step_s) for one in found.earned] == [(0, 6, 5.0), (1, 14, 5.0)]
    assert len(found.judged) == len(WELL)


def test_a_stricter_policy_would_have_taken_it_back() -> None:
    """The replay ends at the look of its FAIL, with its sentence."""
    found = replay(recording(*WELL), STRICT)

    assert (found.outcome, found.judged[-1].look) == (Outcome.ROLLED_BACK, 2)
    assert found.judged[-1].verdict.decision is Decision.FAIL
    assert found.reason.startswith("catalog v2 failed 1 of 20 requests (5.0 %)")


def test_a_policy_that_would_never_be_done_is_said_to_wait() -> None:
    """At the deadline of a step that got nothing the policy's fallback decides, as in the real machine."""
    quiet = recording(*[(0, 0, 0)] * 30)

    waits = replay(quiet)
    rolls_back = replay(quiet, replace(LENIENT, on_no_data=Fallback.ROLLBACK))

    assert (waits.outcome, waits.is_waiting, len(waits.judged)) == (None, True, 30)
    assert (rolls_back.outcome, rolls_back.judged[-1].step_s) == (Outcome.ROLLED_BACK, 20.0)


def test_a_record_that_is_over_before_the_policy_is_done_decides_nothing() -> None:
    """No outcome is invented."""
    found = replay(recording(*WELL[:4]))

    assert (found.outcome, found.is_waiting, found.earned) == (None, False, ())


def test_an_open_step_is_judged_and_never_earned() -> None:
    """A pause has neither PASS nor deadline, while a FAIL ends it."""
    held = recording(*WELL[:9])
    opened = replace(held, looks=tuple(replace(one, is_open=True) for one in held.looks))

    assert replay(opened).earned == ()
    assert replay(opened, STRICT).outcome is Outcome.ROLLED_BACK


def test_counts_begin_anew_in_each_step() -> None:
    """A threshold's window is of the step, as in the judge."""
    found = replay(recording(*WELL))

    first_of_second = next(one for one in found.judged if one.step == 1)
    assert (first_of_second.step_s, first_of_second.verdict.canary_total) == (1.0, 20)


def test_a_missing_beginning_still_replays() -> None:
    """A record that begins in the second step is judged from there."""
    whole = recording(*WELL)

    found = replay(replace(whole, looks=whole.looks[9:]))

    assert (found.judged[0].look, found.outcome) == (10, Outcome.PROMOTED)


def test_the_evidence_judge_keeps_its_odds_over_the_steps() -> None:
    """Odds are for the whole release: under a looser alpha the same record ends earlier or at the same look."""
    bad = recording((0, 0, 0), *[(0, 30, 2)] * 6, *[(1, 30, 2)] * 10)
    cautious = Policy("cautious", warmup_s=0, tolerance=Tolerance(alpha=1e-6))
    quick = Policy("quick", warmup_s=0, tolerance=Tolerance(alpha=0.1))

    slow, fast = replay(bad, cautious), replay(bad, quick)

    assert fast.judged[-1].verdict.ground is Ground.ODDS
    assert fast.judged[-1].look < slow.judged[-1].look


def slow_recording(*, ladder: tuple[RungMargin, ...] = LADDER, steps: int = 1) -> Recording:
    """A canary with 30 % of its requests above every bound, stable with few; 40 looks of the first step."""
    rungs = tuple(Rung(one.quantile, 0.1 * place, 0.05) for place, one in enumerate(ladder, start=1))
    looks = []
    for number in range(40):
        stable, canary = 90 * number, 10 * number
        look = Look(
            number + 1,
            float(number),
            SourceState.OK,
            "g",
            Arm(stable, over=Exceedance(stable, (stable // 20,) * len(rungs))),
            Arm(canary, over=Exceedance(canary, (3 * canary // 10,) * len(rungs))),
        )
        looks.append(Recorded(look, 0))
    errors, latency = METRICS
    policy = Policy("own", warmup_s=0, metrics=(errors, replace(latency, ladder=ladder)))
    heading = Heading(
        "rel-1", TargetKey("local.catalog"), "v1", "v2", PLAN, policy, Start(plan_s=60, rungs=rungs)
    )
    return Recording(heading, tuple(looks))


def test_latency_is_judged_at_the_bounds_that_were_recorded() -> None:
    """Under its own policy the slow canary is taken back for its latency, and nothing is left out."""
    found = replay(slow_recording())

    verdict = found.judged[-1].verdict
    assert (found.outcome, found.notes) == (Outcome.ROLLED_BACK, ())
    assert verdict.metric.startswith("latency p")
    assert verdict.slower_than_s is not None


def test_a_ladder_that_is_partly_recorded_is_judged_there_and_the_rest_is_said() -> None:
    """The policy asks for p50 and p95, the looks were counted at p50, p90 and p99."""
    recording = slow_recording()
    errors, latency = METRICS
    other = replace(LADDER[1], quantile=0.95)
    policy = Policy("other", warmup_s=0, metrics=(errors, replace(latency, ladder=(LADDER[0], other))))

    found = replay(recording, policy)

    assert found.notes == (
        "latency is judged at p50 only: the looks were counted at p50, p90, p99, the policy has p50, p95",
    )
    assert [one.metric for one in found.judged[-1].verdict.parts] == ["errors", "latency p50"]


def test_a_ladder_that_was_not_recorded_leaves_latency_out() -> None:
    """Then errors alone judge, and one who requires latency is told that it is not measured."""
    recording, (errors, latency) = slow_recording(), METRICS
    ladder = (replace(LADDER[1], quantile=0.95),)
    policy = Policy("other", warmup_s=0, metrics=(errors, replace(latency, ladder=ladder)))
    strict = replace(policy, metrics=(errors, replace(latency, ladder=ladder, need=Need.REQUIRED)))

    lenient, required = replay(recording, policy), replay(recording, strict)

    assert lenient.notes == required.notes
    assert lenient.notes[0].startswith("latency is left out: the looks were counted at p50, p90, p99")
    assert lenient.judged[-1].verdict.parts == ()
    assert required.judged[-1].verdict.ground is Ground.NOT_MEASURED


def test_a_policy_with_latency_is_told_when_none_was_recorded() -> None:
    """The threshold's recording has no bounds; under its own kind of judge nobody asks."""
    held = recording(*WELL, policy=replace(LENIENT, metrics=METRICS[:1]))

    assert replay(held).notes == ()
    assert replay(held, Policy("evidence")).notes == (
        "latency is left out: the looks were recorded without it",
    )


def test_instances_are_replayed_with_the_looks() -> None:
    """One bad instance of two is blamed by name, under the recorded policy and under a stricter one."""
    looks = []
    for number in range(30):
        bad, good = Instance("a", 10 * number, 5 * number), Instance("b", 10 * number, 0)
        canary = Arm(20 * number, 5 * number, instances=(bad, good))
        looks.append(
            Recorded(
                Look(number + 1, float(number), SourceState.OK, "g", Arm(180 * number, number // 5), canary)
            )
        )
    policy = Policy("own", warmup_s=0, rail=Rail(max_failed=0.9))
    heading = Heading("rel-1", TargetKey("local.catalog"), "v1", "v2", PLAN, policy, Start(plan_s=60))

    for rule in (policy, replace(policy, tolerance=Tolerance(alpha=0.001))):
        found = replay(Recording(heading, tuple(looks)), rule)
        blamed = [one.verdict for one in found.judged if one.verdict.ground is Ground.ONE_BAD_INSTANCE]
        assert {one.instance for one in blamed} == {"a"}


def test_nobody_who_waits_waits_for_ever() -> None:
    """After `longest_wait_s` the policy takes the canary back, as in the judge."""
    quiet = recording(*[(0, 0, 0)] * 60)
    opened = replace(quiet, looks=tuple(replace(one, is_open=one.look.id > 21) for one in quiet.looks))

    found = replay(opened, replace(LENIENT, longest_wait_s=15))

    assert (found.outcome, found.is_waiting) == (Outcome.ROLLED_BACK, False)
    assert found.judged[-1].step_s == 35.0
    assert found.reason.startswith("nobody decided in time; ")


def test_a_policy_that_goes_on_without_a_verdict_is_through_after_the_last_step() -> None:
    """`promote` at the last deadline is a promotion, and not an undecided record."""
    quiet = recording(*[(1, 0, 0)] * 30)

    assert replay(quiet, replace(LENIENT, on_no_data=Fallback.PROMOTE)).outcome is Outcome.PROMOTED
