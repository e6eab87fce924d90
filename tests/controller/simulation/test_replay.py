"""Recorded looks under another policy: what it would have said, and when."""

from __future__ import annotations

from dataclasses import replace

from controller.model.look import Arm, Look, SourceState
from controller.model.plan import Fallback, JudgeKind, Plan, Policy, Step, Tolerance
from controller.model.recording import Heading, Recorded, Recording
from controller.model.release import Outcome
from controller.model.share import BasisPoints
from controller.model.start import Start
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
