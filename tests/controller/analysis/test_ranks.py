"""The rank-sum judge over even intervals: Kayenta's classes, and what is not enough."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from controller.analysis.engine import begin_step, judge
from controller.analysis.mann_whitney import Label, classify
from controller.model.evidence import Evidence, Series
from controller.model.look import Arm, Look, SourceState
from controller.model.plan import MOST_POINTS, JudgeKind, MannWhitney, Policy, Rail, Step
from controller.model.share import BasisPoints
from controller.model.verdict import Decision, Ground, Verdict, sentence
from tests.controller.analysis.looking import judged
from tests.controller.analysis.measuring import looks

PASS, FAIL, HOLD = Decision.PASS, Decision.FAIL, Decision.HOLD
POLICY = Policy(
    "p",
    judge=JudgeKind.MANN_WHITNEY,
    mann_whitney=MannWhitney(interval_s=1.0),
    warmup_s=0,
    rail=Rail(min_requests=1_000_000),
)
STEP = Step(BasisPoints(2000))
ADAPTER = TypeAdapter(Evidence)


def course(*failed: tuple[int, int], total: int = 1000) -> list[Look]:
    """One look a second, each with so many new failures of (stable, canary) in a thousand requests of each."""
    stable = canary = 0
    found = [Look(1, 0.0, SourceState.OK, "g", Arm(), Arm())]
    for n, (new_stable, new_canary) in enumerate(failed, start=1):
        stable, canary = stable + new_stable, canary + new_canary
        found.append(
            Look(n + 1, float(n), SourceState.OK, "g", Arm(n * total, stable), Arm(n * total, canary))
        )
    return found


def last(*failed: tuple[int, int], rule: Policy = POLICY) -> Verdict:
    return judged(rule, Evidence(), course(*failed))[1]


ALIKE = ((10, 11), (12, 9), (9, 12), (11, 10), (10, 13), (13, 10), (9, 9))
WORSE = ((10, 31), (12, 29), (9, 42), (11, 36), (10, 33), (13, 40), (9, 29))
BETTER = tuple((bad, good) for good, bad in WORSE)


@pytest.mark.parametrize(
    ("failed", "decision", "ground", "measurements"),
    [
        ((), HOLD, Ground.WARMING_UP, 0),
        (WORSE[:1], HOLD, Ground.NOT_ENOUGH, 1),
        (WORSE[:4], HOLD, Ground.NOT_ENOUGH, 4),
        (WORSE[:5], FAIL, Ground.SHIFTED, 5),
        (ALIKE[:4], HOLD, Ground.NOT_ENOUGH, 4),
        (ALIKE[:5], PASS, Ground.NOT_SHIFTED, 5),
        (ALIKE, PASS, Ground.NOT_SHIFTED, 7),
        (BETTER, PASS, Ground.NOT_SHIFTED, 7),
        (((0, 0),) * 4, HOLD, Ground.NOT_ENOUGH, 4),  # equal values are a Pass for Kayenta at any number
        (((0, 0),) * 5, PASS, Ground.NOT_SHIFTED, 5),
    ],
)
def test_points_are_classified_as_kayenta_does(
    failed: tuple[tuple[int, int], ...], decision: Decision, ground: Ground, measurements: int
) -> None:
    """High is taken back, Pass and Low pass, and fewer than five points a side are not enough."""
    verdict = last(*failed)

    assert (verdict.decision, verdict.ground, verdict.measurements) == (decision, ground, measurements)


def test_a_fail_is_what_the_classifier_calls_high() -> None:
    """The same series, given to it directly; an allowed increase beyond the shift lets it pass."""
    experiment, control = ([one[arm] / 1000 for one in WORSE] for arm in (1, 0))
    assert classify(experiment, control).label is Label.HIGH

    ratio = sum(experiment) / sum(control)
    for allowed, decision in ((ratio - 0.01, FAIL), (ratio + 0.01, PASS)):
        rule = replace(POLICY, mann_whitney=MannWhitney(interval_s=1.0, allowed_increase=allowed, fewest=7))
        assert last(*WORSE, rule=rule).decision is decision


def test_a_point_needs_requests_on_both_arms() -> None:
    """Silent intervals make none, and let nothing pass that would have passed before."""
    evidence, verdict = judged(POLICY, Evidence(), looks("....-.-"))
    assert (verdict.ground, len(evidence.series.points)) == (Ground.COLLECTING, 5)

    quiet = judged(POLICY, Evidence(), looks("-------"))[1]
    assert (quiet.decision, quiet.ground) == (HOLD, Ground.NO_TRAFFIC)


def test_a_dead_source_makes_no_point_and_loses_nothing() -> None:
    """What came meanwhile is in the next point."""
    evidence, verdict = judged(POLICY, Evidence(), looks("..!!"))
    assert (verdict.decision, verdict.ground) == (HOLD, Ground.SOURCE_DOWN)

    after, _ = judged(POLICY, evidence, looks("..!!.")[5:])

    assert [point[0] for point in after.series.points] == [100, 100, 300]


def test_points_are_the_releases_and_a_pass_is_the_steps() -> None:
    """The next step goes on with the series, and passes on a point of its own only."""
    evidence, verdict = judged(POLICY, Evidence(), course(*ALIKE)[:6])
    assert verdict.decision is PASS

    evidence, verdict = judged(POLICY, begin_step(evidence, STEP), course(*ALIKE)[5:6])
    assert (verdict.decision, verdict.ground) == (HOLD, Ground.NO_TRAFFIC)

    _, verdict = judged(POLICY, evidence, course(*ALIKE)[6:7])
    assert (verdict.decision, verdict.measurements) == (PASS, 6)


def test_the_warm_up_makes_no_point() -> None:
    """Its failures are forgotten."""
    _, verdict = judged(replace(POLICY, warmup_s=3.0), Evidence(), course(*WORSE[:3], *ALIKE[:5]))

    assert (verdict.decision, verdict.measurements) == (PASS, 5)


def test_the_oldest_points_go() -> None:
    """An hour of minutes is kept; what was before it does not count any more."""
    evidence, verdict = judged(POLICY, Evidence(), course(*ALIKE * 20))

    assert len(evidence.series.points) == verdict.measurements == MOST_POINTS
    assert verdict.canary_total == MOST_POINTS * 1000
    assert len(TypeAdapter(Series).dump_json(evidence.series)) < 2_500


def test_the_sentence_has_the_points() -> None:
    """All requests of the points, and how many there were."""
    said = sentence(last(*WORSE), target="catalog", canary="v2", stable="v1")

    assert said == (
        "catalog v2 failed 171 of 5000 requests (3.4 %) in 5 s, stable v1 52 of 5000 requests (1.0 %): "
        "failing more than stable in a rank-sum test of 5 measurements"
    )


@given(letters=st.text(alphabet=".xc?-!", max_size=25), at=st.integers(0, 26), interval_s=st.floats(1, 3))
def test_a_judge_can_be_replaced_after_any_look(letters: str, at: int, interval_s: float) -> None:
    """What travels as JSON decides the same, whoever goes on with it."""
    rule = replace(POLICY, mann_whitney=MannWhitney(interval_s=interval_s))
    all_looks = looks(letters)
    evidence, _ = judged(rule, Evidence(at_s=0.0), all_looks[: at + 1])
    again = ADAPTER.validate_json(ADAPTER.dump_json(evidence))

    for each in all_looks[at + 1 :]:
        evidence, first = judge(rule, evidence, each)
        again, second = judge(rule, again, each)
        assert first == second
    assert again == evidence


@given(
    counts=st.lists(
        st.tuples(*(st.integers(-(10**15), 10**15),) * 4, st.floats(allow_nan=False, allow_infinity=False)),
        max_size=12,
    )
)
def test_a_lying_source_never_breaks_the_judge(counts: list[tuple[int, int, int, int, float]]) -> None:
    """Counters that fall, are negative or huge, and clocks that jump give a verdict with sane numbers."""
    evidence = Evidence()
    for n, (a, b, c, d, at_s) in enumerate(counts, start=1):
        look = Look(n, at_s, SourceState.OK, f"g{n % 2}", Arm(a, b), Arm(c, d))
        evidence, verdict = judge(POLICY, evidence, look)
        assert 0 <= verdict.canary_failed <= verdict.canary_total
