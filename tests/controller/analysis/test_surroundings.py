"""A dark canary, a burning service, and requests that hang."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.beginning import begin
from controller.analysis.split import wrong_side
from controller.analysis.surroundings import is_burning
from controller.model.evidence import Pace
from controller.model.look import Look
from controller.model.plan import JudgeKind, Policy
from controller.model.share import BasisPoints
from controller.model.start import Start
from controller.model.verdict import Decision, Ground, Verdict, sentence
from controller.model.wealth import Predictor
from tests.controller.analysis.looking import arm, judged, look

POLICY = Policy("p", warmup_s=0)
FRESH = begin(POLICY, Start(), BasisPoints(1000))
FOR_FEW = begin(POLICY, Start(), BasisPoints(10_000), has_audience=True)


def looks(
    seconds: int, *, canary: int = 10, stable: int = 90, waits: int = 0, stable_waits: int = 1
) -> list[Look]:
    return [
        look(
            t,
            arm(t, [(stable, 0)], in_flight=stable_waits),
            arm(t, [(canary, 0)], in_flight=min(t, 1) * waits),
        )
        for t in range(seconds + 1)
    ]


@pytest.mark.parametrize("judge", list(JudgeKind))
def test_a_canary_that_gets_nothing_is_dark(judge: JudgeKind) -> None:
    """Stable is served and the canary is not: held whoever judges, and said; a quiet service is only quiet."""
    policy = replace(POLICY, judge=judge)
    _, verdict = judged(policy, FRESH, looks(10, canary=0))
    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.CANARY_DARK)
    assert "gets no requests although it has a share" in sentence(
        verdict, target="t", canary="v2", stable="v1"
    )

    _, quiet = judged(policy, FRESH, looks(60, canary=0, stable=0))
    assert quiet.ground is Ground.NO_TRAFFIC


def test_a_share_that_has_just_been_given_is_not_dark() -> None:
    """The first seconds of a step may have no canary request in them yet."""
    _, verdict = judged(POLICY, FRESH, looks(3, canary=0, stable=5000))

    assert verdict.ground is Ground.NO_TRAFFIC


def test_a_canary_that_goes_dark_late_is_held() -> None:
    """Good requests first, then none: what was certified does not pass any more."""
    good = looks(30, canary=100, stable=900)
    evidence, verdict = judged(POLICY, FRESH, good)
    assert verdict.decision is Decision.PASS
    last = good[-1]
    silent = [
        look(30 + t, replace(last.stable, total=last.stable.total + 900 * t), last.canary)
        for t in range(1, 20)
    ]
    _, dark = judged(POLICY, evidence, silent)

    assert (dark.decision, dark.ground) == (Decision.HOLD, Ground.CANARY_DARK)


def test_requests_that_hang_take_the_canary_back() -> None:
    """Nothing completes, so nothing fails: what waits says it, at three looks in a row."""
    _, verdict = judged(POLICY, FRESH, looks(3, canary=0, stable=90, waits=40, stable_waits=3))
    assert (verdict.decision, verdict.ground) == (Decision.FAIL, Ground.CANDIDATE_HANGING)

    _, two = judged(POLICY, FRESH, looks(2, canary=0, stable=90, waits=40, stable_waits=3))
    assert two.decision is Decision.HOLD


@pytest.mark.parametrize(("waits", "stable_waits"), [(9, 0), (40, 90), (12, 40), (400, 3600)])
def test_waiting_like_stable_is_no_hang(waits: int, stable_waits: int) -> None:
    """Few, or as many for the share as in stable, or less than four times as many."""
    _, verdict = judged(POLICY, FRESH, looks(20, waits=waits, stable_waits=stable_waits))

    assert verdict.ground is not Ground.CANDIDATE_HANGING


@given(
    share=st.integers(1, 9500),
    waits=st.integers(0, 10**7),
    stable_waits=st.integers(0, 10**7),
)
def test_any_number_of_waiting_requests_is_judged(share: int, waits: int, stable_waits: int) -> None:
    """No share and no count breaks the rail."""
    evidence = replace(FRESH, share=BasisPoints(share))

    judged(POLICY, evidence, looks(4, waits=waits, stable_waits=stable_waits))


def test_a_burn_needs_both_arms_and_both_memories() -> None:
    """An arm that is well, or a minute that is well, is no burn of the service."""
    bad, good = Predictor(1000, 200), Predictor(1000, 10)

    assert is_burning(POLICY, Pace(bad, bad, bad, bad))
    for place in range(4):
        arms = [bad] * 4
        arms[place] = good
        assert not is_burning(POLICY, Pace(*arms))


def test_a_burn_ends_when_the_service_is_well_again() -> None:
    """The share stays while both arms fail a third, nobody is blamed, and two minutes later the release goes on."""
    burning = [look(t, arm(t, [(90, 30)]), arm(t, [(10, 3)])) for t in range(60)]
    evidence, verdict = judged(POLICY, FRESH, burning)
    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.SERVICE_BURNING)
    last = burning[-1]
    well = [
        look(
            59 + t,
            replace(last.stable, total=last.stable.total + 90 * t),
            replace(last.canary, total=last.canary.total + 10 * t),
        )
        for t in range(1, 400)
    ]
    _, after = judged(POLICY, evidence, well)

    assert after.ground is not Ground.SERVICE_BURNING


def test_a_failing_canary_is_taken_back_in_a_burn_as_well() -> None:
    """A service that fails a fifth of its requests does not hide a canary that fails nine tenths."""
    both = [look(t, arm(t, [(900, 180)]), arm(t, [(100, 90)])) for t in range(20)]
    _, verdict = judged(POLICY, FRESH, both)

    assert verdict.decision is Decision.FAIL


@pytest.mark.parametrize("judge", list(JudgeKind))
def test_a_small_audience_is_no_wrong_split_and_no_dark_canary(judge: JudgeKind) -> None:
    """Two requests a second of a hundred at a share of 100 %: far from the share, and nothing is wrong with that."""
    policy = replace(POLICY, judge=judge)

    _, few = judged(policy, FOR_FEW, looks(120, canary=2, stable=98))
    _, everybody = judged(policy, replace(FRESH, share=BasisPoints(9_000)), looks(120, canary=2, stable=98))

    assert few.ground not in (Ground.SPLIT_MISMATCH, Ground.CANARY_DARK, Ground.AUDIENCE_AWAY)
    assert everybody.ground is Ground.SPLIT_MISMATCH


def test_too_much_for_an_audience_is_still_said() -> None:
    """A tenth of them at most: a canary with most of all requests got what it was not given."""
    some = replace(FOR_FEW, share=BasisPoints(1_000))

    _, verdict = judged(POLICY, some, looks(60, canary=80, stable=20))

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.SPLIT_MISMATCH)


def test_an_audience_that_is_everybody_is_no_wrong_split() -> None:
    """All requests fit, and all of them meet the canary."""
    evidence, _ = judged(POLICY, FOR_FEW, looks(600, canary=1_000, stable=0))

    assert wrong_side(evidence.split, alpha=0.005) is None


def test_a_canary_that_nobody_of_its_audience_reaches_is_said() -> None:
    """First only quiet, since an audience may be small; then held and told, in words of its own."""
    _, soon = judged(POLICY, FOR_FEW, looks(60, canary=0, stable=100))
    _, later = judged(POLICY, FOR_FEW, looks(120, canary=0, stable=100))

    assert soon.ground is Ground.NO_TRAFFIC
    assert (later.decision, later.ground) == (Decision.HOLD, Ground.AUDIENCE_AWAY)
    assert "nobody of it comes, or the split does not work" in sentence(
        later, target="t", canary="v2", stable="v1"
    )


def test_an_audience_that_has_gone_is_held_unless_it_was_there_long_enough() -> None:
    """Twenty of a hundred requests until the split breaks: seen after seconds; what has passed stays passed."""

    def gone_after(seconds: int) -> Verdict:
        came = looks(seconds, canary=20, stable=80)
        evidence, _ = judged(POLICY, FOR_FEW, came)
        last = came[-1]
        silent = [
            look(seconds + t, replace(last.stable, total=last.stable.total + 100 * t), last.canary)
            for t in range(1, 30)
        ]
        return judged(POLICY, evidence, silent)[1]

    early, late = gone_after(30), gone_after(300)

    assert (early.decision, early.ground) == (Decision.HOLD, Ground.AUDIENCE_AWAY)
    assert late.decision is Decision.PASS


def test_requests_of_an_audience_that_hang_take_the_canary_back() -> None:
    """At 100 % of it the share says nothing of what should wait where; what came before says it."""
    came = looks(30, canary=20, stable=80)
    evidence, _ = judged(POLICY, FOR_FEW, came)
    stable, canary = came[-1].stable, replace(came[-1].canary, in_flight=60)
    hanging = [
        look(30 + t, replace(stable, total=stable.total + 80 * t, in_flight=3), canary) for t in range(1, 5)
    ]

    _, verdict = judged(POLICY, evidence, hanging)

    assert (verdict.decision, verdict.ground) == (Decision.FAIL, Ground.CANDIDATE_HANGING)
