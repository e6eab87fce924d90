"""The evidence judge behind `judge`: what it promises, look by look."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from controller.analysis.beginning import begin_release
from controller.analysis.engine import begin_step, judge
from controller.analysis.streams import needed, whole
from controller.model.evidence import Evidence
from controller.model.look import Arm, History, Look, SourceState
from controller.model.plan import Plan, Policy, Step, Tolerance
from controller.model.share import BasisPoints
from controller.model.verdict import Decision, Ground, Verdict, sentence
from controller.model.wealth import Margin

PLAN = Plan("p", (Step(BasisPoints(500), hold_s=60), Step(BasisPoints(5000), hold_s=60)))
POLICY = Policy("p", warmup_s=0)
EVIDENCE = TypeAdapter(Evidence)
FRESH = replace(begin_release(PLAN, POLICY, History(600, 60_000, 60)), share=BasisPoints(0))
"""Of no share, so that these tests may split as they like; test_surroundings.py has the splits."""


def look(
    at_s: float, canary: tuple[int, int], stable: tuple[int, int], *, source: SourceState = SourceState.OK
) -> Look:
    return Look(
        id=int(at_s),
        at_s=at_s,
        source=source,
        generation="g",
        stable=Arm(*stable),
        canary=Arm(*canary, ready=True),
    )


def judged(*looks: Look, policy: Policy = POLICY, evidence: Evidence = FRESH) -> tuple[Evidence, Verdict]:
    for each in looks:
        evidence, verdict = judge(policy, evidence, each)
    return evidence, verdict


def steady(seconds: int, *, canary: tuple[int, int], stable: tuple[int, int]) -> list[Look]:
    """Looks with so many requests and failures a second."""
    return [
        look(t, (canary[0] * t, canary[1] * t), (stable[0] * t, stable[1] * t)) for t in range(seconds + 1)
    ]


def test_a_bad_canary_is_failed_with_its_odds() -> None:
    """Two failures of five requests a second against a clean stable: failed within four looks, and the sentence says it."""
    evidence, verdict = judged(*steady(4, canary=(5, 2), stable=(95, 0)))

    assert (verdict.decision, verdict.ground) == (Decision.FAIL, Ground.ODDS)
    assert verdict.odds is not None
    assert verdict.odds >= 100
    said = sentence(verdict, target="catalog", canary="v3", stable="v2")
    assert said.startswith(f"catalog v3 failed {verdict.canary_failed} of {verdict.canary_total} requests")
    assert said.endswith("to 1 against a tolerable canary")
    assert evidence.failed == verdict


def test_a_good_canary_is_certified() -> None:
    """A thousand requests a second at half the traffic certify a step within seconds."""
    _, verdict = judged(*steady(20, canary=(500, 0), stable=(500, 0)))

    assert (verdict.decision, verdict.ground) == (Decision.PASS, Ground.CERTIFIED)
    assert verdict.proof is not None
    assert verdict.proof >= 20


def test_each_step_is_certified_on_its_own() -> None:
    """The proof of one step is not the next one's."""
    evidence, verdict = judged(*steady(20, canary=(500, 0), stable=(500, 0)))
    assert verdict.ground is Ground.CERTIFIED

    _, after = judged(look(21, (10_500, 0), (10_500, 0)), evidence=begin_step(evidence, PLAN.steps[1]))

    assert after.decision is Decision.HOLD


def test_a_common_fault_is_not_the_canarys() -> None:
    """A burst on both arms, however bad, is no evidence against the canary."""
    evidence, verdict = judged(*steady(60, canary=(10, 4), stable=(90, 36)))

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.SERVICE_BURNING)
    assert whole(evidence) < 100


def test_no_traffic_is_no_evidence() -> None:
    """An hour of nothing leaves the odds at 1 to 1 and holds."""
    _, verdict = judged(*steady(3600, canary=(0, 0), stable=(0, 0)))

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.NO_TRAFFIC)
    assert verdict.odds == pytest.approx(1.0)


def test_requests_of_one_arm_wait_for_the_other() -> None:
    """A canary whose stable is quiet is judged as soon as there is something to compare, with all its requests."""
    alone = [look(t, (10 * t, 3 * t), (0, 0)) for t in range(3)]
    evidence, verdict = judged(*alone)
    assert (verdict.decision, evidence.streams[0].odds.canary.total) == (Decision.HOLD, 20)

    _, together = judged(look(3, (30, 9), (200, 0)), evidence=evidence)

    assert together.odds is not None
    assert together.odds > 5


def test_a_source_that_goes_down_promotes_nothing() -> None:
    """What was certified stays unsaid while the source is away."""
    evidence, verdict = judged(*steady(20, canary=(500, 0), stable=(500, 0)))
    assert verdict.decision is Decision.PASS

    _, blind = judged(look(21, (10_000, 0), (10_000, 0), source=SourceState.DOWN), evidence=evidence)

    assert (blind.decision, blind.ground) == (Decision.HOLD, Ground.SOURCE_DOWN)


def test_the_warm_up_bets_nothing_and_learns_stable() -> None:
    """Failures in the warm-up are left to the rails; stable's rate is learned meanwhile."""
    policy = replace(POLICY, warmup_s=5)
    evidence, verdict = judged(*steady(5, canary=(5, 1), stable=(95, 3)), policy=policy)

    assert (verdict.ground, verdict.odds) == (Ground.WARMING_UP, 1.0)
    assert evidence.streams[0].odds.predictor.seen > 400


def test_a_low_base_rate_needs_more_requests_than_a_wide_margin() -> None:
    """Requests needed without a certificate follow the margin, and are bounded."""
    narrow = needed(POLICY, POLICY.tolerance.acceptable, 0.001)
    wide = needed(POLICY, Margin(2, 0.03), 0.001)

    assert wide < 150 < narrow <= 10_000


@given(
    rate=st.floats(1e-6, 0.99), rho=st.floats(1, 10), delta=st.floats(1e-300, 0.5), beta=st.floats(1e-6, 0.5)
)
def test_no_margin_is_too_small_to_be_counted_for(rate: float, rho: float, delta: float, beta: float) -> None:
    """A margin that no float can tell from equality needs the bound, and not an error in the judge."""
    policy = replace(POLICY, tolerance=Tolerance(beta=beta))

    assert 1 <= needed(policy, Margin(rho, delta), rate) <= 10_000


def test_an_uncertified_step_passes_only_with_enough_requests() -> None:
    """Without a certificate nothing passes below the needed number."""
    policy = replace(POLICY, tolerance=Tolerance(beta=1e-6, acceptable=Margin(2, 0.03)))
    looks = steady(200, canary=(5, 0), stable=(95, 0))
    evidence, passed_at = FRESH, 0
    for each in looks:
        evidence, verdict = judge(policy, evidence, each)
        if verdict.decision is Decision.PASS and not passed_at:
            passed_at = each.canary.total

    assert passed_at >= needed(policy, policy.tolerance.acceptable, 1e-5)


def test_the_memory_is_small() -> None:
    """A kibibyte or so of JSON travels in the heartbeat, however long the release."""
    evidence, _ = judged(*steady(500, canary=(50, 1), stable=(950, 9)))

    assert len(json.dumps(asdict(evidence.streams[0]))) <= 1024


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 30))
def test_a_judge_can_be_replaced_bit_for_bit(seed: int, cut: int) -> None:
    """Split anywhere, sent as JSON and taken up again, the odds are the same to the last bit."""
    rng = random.Random(seed)
    looks, canary, stable = [], (0, 0), (0, 0)
    for t in range(31):
        canary = (canary[0] + (n := rng.randrange(60)), canary[1] + rng.randrange(n // 10 + 1))
        stable = (stable[0] + (n := rng.randrange(600)), stable[1] + rng.randrange(n // 50 + 1))
        looks.append(look(t, canary, stable))
    whole, _ = judged(*looks)

    first, _ = judged(*looks[: cut + 1])
    taken_up = EVIDENCE.validate_json(EVIDENCE.dump_json(first))
    resumed, _ = judged(*looks[cut + 1 :], evidence=taken_up) if cut < 30 else (taken_up, None)

    assert resumed == whole


def test_identical_versions_are_not_rolled_back() -> None:
    """60 seeded releases of an identical version, looked at 200 times each: none fails (the promise is 1 %)."""
    rng = random.Random(20261124)
    failed = 0
    for _ in range(60):
        evidence, canary, stable = FRESH, (0, 0), (0, 0)
        for t in range(200):
            more = rng.randrange(8)
            canary = (canary[0] + more, canary[1] + sum(rng.random() < 0.01 for _ in range(more)))
            stable = (stable[0] + 50, stable[1] + sum(rng.random() < 0.01 for _ in range(50)))
            evidence, verdict = judge(POLICY, evidence, look(t, canary, stable))
        failed += verdict.decision is Decision.FAIL

    assert failed == 0
