"""Thresholds with limits: what Argo Rollouts and Flagger count, and where silence is not a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from controller.analysis.engine import begin_step, judge
from controller.model.evidence import Evidence, Series
from controller.model.look import Arm, Look, SourceState
from controller.model.plan import JudgeKind, Limits, Policy, Rail, Step
from controller.model.share import BasisPoints
from controller.model.verdict import Decision, Ground, Verdict, sentence
from tests.controller.analysis.looking import judged
from tests.controller.analysis.measuring import looks

PASS, FAIL, HOLD = Decision.PASS, Decision.FAIL, Decision.HOLD
NEVER = Rail(min_requests=1_000_000)
STEP = Step(BasisPoints(2000))
ADAPTER = TypeAdapter(Evidence)


def policy(**limits: object) -> Policy:
    """One measurement a second, of at least 50 requests, at most 5 % of them failing."""
    rule = Limits(**{"interval_s": 1.0, **limits})  # type: ignore[arg-type]
    return Policy("p", judge=JudgeKind.THRESHOLD, limits=rule, warmup_s=0, rail=NEVER)


def last(letters: str, **limits: object) -> Verdict:
    return judged(policy(**limits), Evidence(), looks(letters))[1]


@pytest.mark.parametrize(
    ("letters", "limits", "decision", "ground"),
    [
        # Argo: failed > failureLimit fails; unset is 0; the count is of the whole run, with anything in between
        ("x", {}, FAIL, Ground.FAILURE_LIMIT),
        ("xxx", {"failure_limit": 3}, HOLD, Ground.ERROR_RATE),
        ("xxxx", {"failure_limit": 3}, FAIL, Ground.FAILURE_LIMIT),
        ("x.x?x!x", {"failure_limit": 3}, FAIL, Ground.FAILURE_LIMIT),
        ("xxx.", {"failure_limit": 3}, PASS, Ground.WITHIN_LIMIT),
        # Flagger: the threshold-th failed check, never forgotten; a failed check halts the weight
        ("....x", {"failure_limit": 4}, HOLD, Ground.ERROR_RATE),
        ("x.x.x.x", {"failure_limit": 4}, HOLD, Ground.ERROR_RATE),
        ("x.x.x.x.x", {"failure_limit": 4}, FAIL, Ground.FAILURE_LIMIT),
        # In a row: a good one forgives, silence does not
        ("xx.xx", {"failure_limit": 2, "consecutive": True}, HOLD, Ground.ERROR_RATE),
        ("xx.xxx", {"failure_limit": 2, "consecutive": True}, FAIL, Ground.FAILURE_LIMIT),
        ("xx-x", {"failure_limit": 2, "consecutive": True}, FAIL, Ground.FAILURE_LIMIT),
        # Argo: inconclusive > inconclusiveLimit ends the run undecided; ours is of the step, and may be left to its deadline
        ("?", {"inconclusive_limit": 0}, HOLD, Ground.INCONCLUSIVE_LIMIT),
        ("?.?.", {"inconclusive_limit": 2}, PASS, Ground.WITHIN_LIMIT),
        ("?.?.?", {"inconclusive_limit": 2}, HOLD, Ground.INCONCLUSIVE_LIMIT),
        ("?" * 50, {}, HOLD, Ground.COLLECTING),
        # Argo: consecutiveErrors > consecutiveErrorLimit (4); anything measured in between begins anew
        ("!!!!!", {}, HOLD, Ground.SOURCE_DOWN),
        # What differs: no traffic is neither a failure nor an error, and stable's trouble counts as nothing
        ("-" * 50, {}, HOLD, Ground.NO_TRAFFIC),
        ("---", {"inconclusive_limit": 2}, HOLD, Ground.NO_TRAFFIC),
        ("c" * 50, {}, HOLD, Ground.STABLE_FAILING_TOO),
        ("ccc.", {"inconclusive_limit": 0}, PASS, Ground.WITHIN_LIMIT),
    ],
)
def test_measurements_are_counted_as_the_peers_count_them(
    letters: str, limits: dict[str, object], decision: Decision, ground: Ground
) -> None:
    """One letter is one measurement: good, x failing, c common, ? few, - none, ! source down."""
    verdict = last(letters, **limits)

    assert (verdict.decision, verdict.ground) == (decision, ground)


@pytest.mark.parametrize(
    ("letters", "limits", "is_exhausted"),
    [
        ("!!!!", {}, False),
        ("!!!!!", {}, True),
        ("!!!!.!!!!", {}, False),
        ("!", {"consecutive_error_limit": 0}, True),
        ("!!!!!.", {}, False),
        ("??", {"inconclusive_limit": 2}, False),
        ("???", {"inconclusive_limit": 2}, True),
        ("---", {"inconclusive_limit": 2}, True),
        ("-" * 20, {"inconclusive_limit": 2}, True),
        ("???.", {"inconclusive_limit": 2}, True),
        ("-" * 100, {}, False),
        ("xxxx", {"failure_limit": 9}, False),
        ("x???", {"inconclusive_limit": 2}, False),
    ],
)
def test_a_judge_gives_up_where_waiting_changes_nothing(
    letters: str, limits: dict[str, object], is_exhausted: bool
) -> None:
    """Past the inconclusive limit or the error limit the deadline need not be waited for; a canary gone dark included."""
    fresh = Evidence(share=BasisPoints(1000))

    verdict = judged(policy(**limits), fresh, looks(letters))[1]

    assert verdict.is_exhausted is is_exhausted
    assert not is_exhausted or verdict.decision is HOLD


def test_nothing_that_happened_while_the_source_was_down_is_lost() -> None:
    """The measurement after it counts what came meanwhile: 300 requests of which 41 failed."""
    verdict = last("!!.")

    assert (verdict.ground, verdict.canary_total, verdict.canary_failed) == (Ground.FAILURE_LIMIT, 300, 41)
    assert verdict.window_s == 1.0


def test_an_interval_is_judged_time_and_ends_at_a_look() -> None:
    """With 2.5 s the first measurement comes at the third look, the second at the sixth."""
    grounds = [last("x" * n, interval_s=2.5, failure_limit=1).ground for n in range(1, 7)]

    waits = [Ground.COLLECTING] * 2 + [Ground.ERROR_RATE] * 3
    assert grounds == [*waits, Ground.FAILURE_LIMIT]


def test_the_warm_up_is_not_measured() -> None:
    """What failed in it is forgotten, and the first interval begins after it."""
    rule = replace(policy(), warmup_s=2.0)

    verdicts = [judged(rule, Evidence(), looks("xx....."[:n]))[1] for n in range(1, 6)]

    assert [one.ground for one in verdicts[:2]] == [Ground.WARMING_UP] * 2
    assert [one.decision for one in verdicts[2:]] == [PASS] * 3


def test_failures_are_the_releases_and_the_rest_is_the_steps() -> None:
    """A step passes on a measurement of its own; inconclusive ones and errors begin anew, failing ones do not."""
    rule = policy(failure_limit=1, inconclusive_limit=1)
    course = looks("x?.?.x")
    evidence, before = judged(rule, Evidence(), course[:4])
    assert before.decision is PASS

    evidence = begin_step(evidence, STEP)
    evidence, verdict = judged(rule, evidence, course[4:5])
    assert (verdict.ground, verdict.is_exhausted) == (Ground.COLLECTING, False)

    assert judged(rule, evidence, course[5:6])[1].decision is PASS
    assert judged(rule, evidence, course[5:])[1].ground is Ground.FAILURE_LIMIT


def test_an_interval_never_mixes_two_shares() -> None:
    """What an unfinished interval has counted when a step ends is not the next step's."""
    rule = policy(interval_s=2)
    course = looks("x...")
    evidence, _ = judged(rule, Evidence(), course[:2])

    _, verdict = judged(rule, begin_step(evidence, STEP), course[2:4])

    assert (verdict.decision, verdict.canary_total, verdict.canary_failed) == (PASS, 200, 2)


def test_the_sentence_has_the_measurements() -> None:
    """The numbers of the newest interval, and how many measurements counted."""
    said = sentence(last("xx", failure_limit=1), target="catalog", canary="v2", stable="v1")

    assert said == (
        "catalog v2 failed 20 of 100 requests (20.0 %) in 1 s, stable v1 9 of 900 requests (1.0 %): "
        "above the limit of 5 % in 2 measurements"
    )
    few = sentence(last("?", inconclusive_limit=0), target="catalog", canary="v2", stable="v1")
    assert few.endswith("too few requests in 1 measurement")


letters = st.text(alphabet=".xc?-!", max_size=30)


@given(letters=letters, at=st.integers(0, 31), failure_limit=st.integers(0, 5), interval_s=st.floats(1, 4))
def test_a_judge_can_be_replaced_after_any_look(
    letters: str, at: int, failure_limit: int, interval_s: float
) -> None:
    """What travels as JSON decides the same, whoever goes on with it, and stays small."""
    rule = policy(failure_limit=failure_limit, interval_s=interval_s, consecutive=True, inconclusive_limit=3)
    course = looks(letters)
    evidence, _ = judged(rule, Evidence(), course[: at + 1])
    again = ADAPTER.validate_json(ADAPTER.dump_json(evidence))

    assert again == evidence
    assert len(TypeAdapter(Series).dump_json(evidence.series)) < 500
    for each in course[at + 1 :]:
        evidence, first = judge(rule, evidence, each)
        again, second = judge(rule, again, each)
        assert first == second


@given(letters=st.text(alphabet=".-?!c", max_size=40), limit=st.one_of(st.none(), st.integers(0, 3)))
def test_without_a_failing_measurement_nothing_is_taken_back(letters: str, limit: int | None) -> None:
    """Silence, a dead source and a failing service are no failures of the canary, whatever the limits.

    What comes while the source is down has good counts here.
    """
    evidence, rule = Evidence(), policy(inconclusive_limit=limit)
    for each in looks(letters):
        good = replace(each, canary=replace(each.canary, failed=each.canary.total // 100))
        evidence, verdict = judge(rule, evidence, good)
        assert verdict.decision is not FAIL


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
        evidence, verdict = judge(policy(), evidence, look)
        assert 0 <= verdict.canary_failed <= verdict.canary_total
        assert verdict.window_s >= 0
