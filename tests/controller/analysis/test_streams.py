"""Several metrics: who decides, with what weight, and what the sentence says."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from controller.analysis.beginning import begin, begin_release
from controller.analysis.engine import begin_step
from controller.analysis.streams import needed, parts, whole
from controller.model.evidence import Evidence, Stream
from controller.model.look import History, Look
from controller.model.metric import Metric, MetricKind, Need
from controller.model.plan import Plan, Policy, Step
from controller.model.share import BasisPoints
from controller.model.start import Luck, Rung, Start
from controller.model.verdict import Decision, Ground, sentence
from controller.model.wealth import Tally
from tests.controller.analysis.looking import arm, judged, look

RUNGS = (Rung(0.5, 0.05, 0.5), Rung(0.9, 0.14, 0.1), Rung(0.99, 0.32, 0.01))
START = Start(plan_s=120, rungs=RUNGS)
ERRORS = Metric(MetricKind.ERRORS)
LATENCY = Metric(MetricKind.LATENCY, weight=0.4)
POLICY = Policy("p", warmup_s=0, metrics=(ERRORS, LATENCY))
FRESH = begin(POLICY, START, BasisPoints(1000))
EVIDENCE = TypeAdapter(Evidence)
FAST, SLOW = (450, 90, 9), (80, 50, 20)


def looks(seconds: int, *, failed: int = 0, slow: tuple[int, int, int] = (50, 10, 1)) -> list[Look]:
    """900 requests a second on stable, 100 on the canary, which fails and is slow as told."""
    return [
        look(t, arm(t, [(900, 0)], over=FAST), arm(t, [(100, failed)], over=slow)) for t in range(seconds + 1)
    ]


def test_a_slow_canary_is_failed_by_its_latency() -> None:
    """No request fails, but a fifth takes longer than stable's p99: the sentence says so with the bound."""
    _, verdict = judged(POLICY, FRESH, looks(10, slow=SLOW))

    assert (verdict.decision, verdict.ground, verdict.metric) == (Decision.FAIL, Ground.ODDS, "latency p99")
    words = sentence(verdict, target="catalog", canary="v3", stable="v2")
    assert words.startswith("catalog v3 took longer than 320 ms in ")
    assert "stable v2 in " in words


def test_the_parts_of_the_odds_add_up_to_one() -> None:
    """Each metric's part is said, and the whole is the weighted mean."""
    evidence, verdict = judged(POLICY, FRESH, looks(1, failed=4, slow=SLOW))

    assert [part.metric for part in verdict.parts] == ["errors", "latency p50", "latency p90", "latency p99"]
    assert sum(part.part for part in verdict.parts) == pytest.approx(1)
    assert verdict.odds == pytest.approx(whole(evidence))
    assert sum(one.weight for one in evidence.streams) == pytest.approx(1)


def test_an_advisory_metric_is_told_and_decides_nothing() -> None:
    """A policy that only wants to hear of latency promotes a slow canary, and says how slow it is."""
    policy = replace(POLICY, metrics=(ERRORS, replace(LATENCY, need=Need.ADVISORY)))
    _, verdict = judged(policy, begin(policy, START), looks(60, slow=SLOW))

    assert verdict.decision is Decision.PASS
    assert max(part.odds for part in verdict.parts) > 1e6
    assert {part.part for part in verdict.parts if part.metric != "errors"} == {0.0}


def test_a_metric_that_is_not_measured_leaves_its_weight_to_the_others() -> None:
    """Without latencies the errors have all of it, and one metric needs no parts."""
    usual = Policy("p", warmup_s=0)
    evidence = begin(usual, Start())

    assert [(one.metric, one.weight) for one in evidence.streams] == [(MetricKind.ERRORS, 1.0)]
    assert parts(evidence) == ()


def test_a_required_metric_that_is_not_measured_lets_nothing_pass() -> None:
    """A release whose latency cannot be judged is held and says why; a bad one is still taken back."""
    _, verdict = judged(POLICY, begin(POLICY, Start()), looks(60))
    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.NOT_MEASURED)

    _, bad = judged(POLICY, begin(POLICY, Start()), looks(10, failed=40))
    assert bad.decision is Decision.FAIL


def test_a_certificate_needs_every_required_metric() -> None:
    """Clean errors certify at once; the step waits until the slow requests are proved as well."""
    evidence, verdict = judged(POLICY, FRESH, looks(60))
    assert verdict.ground is Ground.CERTIFIED
    assert verdict.proof == min(one.odds.proof for one in evidence.streams)

    _, slower = judged(POLICY, FRESH, looks(60, slow=(56, 14, 2)))
    assert slower.ground is not Ground.CERTIFIED


def test_an_uncertified_step_does_not_pass_while_the_odds_lean_against_it() -> None:
    """Enough requests without a certificate are a PASS, but not at odds of three to one against the canary."""
    policy = replace(POLICY, metrics=(ERRORS,), tolerance=replace(POLICY.tolerance, alpha=1e-6))
    worse = [look(t, arm(t, [(9000, 45)]), arm(t, [(1000, 8)])) for t in range(40)]
    evidence, verdict = judged(policy, begin(policy, Start(prior=0.005)), worse)

    enough = needed(policy, policy.tolerance.acceptable, 0.005)
    assert evidence.streams[0].odds.step_requests > enough
    assert whole(evidence) > 3
    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.LEANING)


def test_a_step_that_looks_unacceptable_does_not_pass_on_its_requests() -> None:
    """Unlike instances make the tolerated ratio wide; what is far beyond acceptable is still held."""
    policy = replace(POLICY, metrics=(ERRORS,))
    unlike = Start(prior=0.01, luck=Luck(tau=0.5, degrees=3), steps=3)
    worse = [
        look(t, arm(t, [(450, 4)] * 2, names="s"), arm(t, [(250, 10)] * 2, names="c")) for t in range(40)
    ]
    _, verdict = judged(policy, begin(policy, unlike), worse)

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.NOT_ACCEPTABLE)
    assert verdict.proof is not None
    assert verdict.proof < 1e-12


def test_the_numbers_of_a_sentence_are_those_the_odds_stand_on() -> None:
    """A fault after ten clean minutes is told with what came since, and not thinned by what came before."""
    clean = [look(t, arm(t, [(900, 0)]), arm(t, [(100, 0)])) for t in range(600)]
    since = [
        look(599 + t, arm(599 + t, [(900, 0)]), replace(arm(599 + t, [(100, 0)]), failed=20 * t))
        for t in range(1, 7)
    ]
    policy = replace(POLICY, metrics=(ERRORS,))
    _, verdict = judged(policy, begin(policy, Start()), [*clean, *since])

    assert verdict.decision is Decision.FAIL
    assert verdict.canary_total <= 600
    assert verdict.canary_failed >= 40
    assert verdict.window_s <= 6


def test_the_ceiling_is_about_errors_in_whatever_order_the_metrics_stand() -> None:
    """Slow requests that come together say nothing of failures: a ladder that stands first does not temper the ceiling."""
    start = replace(START, rungs=tuple(replace(rung, temper=40.0) for rung in RUNGS))
    usual, turned = (
        replace(POLICY, metrics=metrics, ceiling=0.02) for metrics in ((ERRORS, LATENCY), (LATENCY, ERRORS))
    )

    found = [judged(policy, begin(policy, start), looks(10, failed=6))[0] for policy in (usual, turned)]

    assert found[0].ceiling == found[1].ceiling


def test_a_ceiling_fails_what_fails_like_stable() -> None:
    """Both arms fail a tenth of their requests: tolerable beside stable, but not above a ceiling of 2 %."""
    policy = replace(POLICY, metrics=(ERRORS,), ceiling=0.02)
    both = [look(t, arm(t, [(900, 90)]), arm(t, [(100, 10)])) for t in range(60)]
    _, verdict = judged(policy, begin(policy, Start()), both)
    assert verdict.decision is Decision.FAIL
    assert max(verdict.parts, key=lambda part: part.part).metric == verdict.metric == "ceiling"

    _, without = judged(replace(policy, ceiling=None), begin(POLICY, Start()), both)
    assert without.decision is not Decision.FAIL


def test_a_step_begins_its_proofs_anew() -> None:
    """Odds go on over the release; what certifies is of the step."""
    evidence, _ = judged(POLICY, FRESH, looks(30))
    next_step = begin_step(evidence, Step(BasisPoints(5000)))

    assert {one.odds.proof for one in next_step.streams} == {1.0}
    assert {one.odds.step_requests for one in next_step.streams} == {0}
    assert whole(next_step) == pytest.approx(whole(evidence))
    assert next_step.share == 5000


def test_a_release_freezes_the_ladder_of_its_history() -> None:
    """Bounds, priors and dispersion come from stable's last hour; a short history freezes nothing."""
    bounds = tuple(0.001 * 1.2**k for k in range(40))
    row = tuple(100 if k == 20 else 8 if k == 30 else 1 if k == 35 else 0 for k in range(41))
    history = History(3600, 6540, 6, bounds_s=bounds, bucket_minutes=(row,) * 60)
    plan = Plan("p", (Step(BasisPoints(500)),))

    found = begin_release(plan, POLICY, history, largest_group=2)
    assert found.start.temper == 2
    assert [rung.quantile for rung in found.start.rungs] == [0.5, 0.9, 0.99][-len(found.start.rungs) :]
    assert all(rung.bound_s in bounds for rung in found.start.rungs)
    assert begin_release(plan, POLICY, History(0, 0, 0)).start.rungs == ()


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 19), failed=st.integers(0, 3), slow=st.integers(0, 4))
def test_all_metrics_resume_bit_for_bit(cut: int, failed: int, slow: int) -> None:
    """Split anywhere, through JSON, the evidence is the same to the last bit."""
    told = looks(20, failed=failed, slow=(50 + slow, 10 + slow, 1 + slow))
    straight, _ = judged(POLICY, FRESH, told)
    first, _ = judged(POLICY, FRESH, told[:cut])
    taken_up, _ = judged(POLICY, EVIDENCE.validate_json(EVIDENCE.dump_json(first)), told[cut:])

    assert taken_up == straight


def test_a_stream_is_small() -> None:
    """At most a kibibyte of JSON each, however long the release."""
    evidence, _ = judged(POLICY, FRESH, looks(500, failed=1))

    adapter = TypeAdapter(Stream)
    assert max(len(adapter.dump_json(one)) for one in evidence.streams) <= 1024
    assert asdict(evidence)


def test_latencies_that_come_late_set_the_mark_only() -> None:
    """A source that measures from the second look on is not charged with what it counted before."""
    first = look(0, arm(0, [(900, 0)]), arm(0, [(100, 0)]))
    second = look(1, arm(1000, [(900, 0)], over=FAST), arm(1000, [(100, 0)], over=SLOW))
    evidence, _ = judged(POLICY, FRESH, [first, second])

    assert {one.odds.canary + one.odds.since_canary for one in evidence.streams[1:]} == {Tally()}
