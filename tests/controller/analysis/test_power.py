"""What a plan can see: more with more traffic, nothing without, and never less than the rail."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.power import PRICE_NATS, growth, least_traffic, sights
from controller.model.look import History
from controller.model.plan import JudgeKind, Limits, MannWhitney, Plan, Policy, Rail, Step, Tolerance
from controller.model.share import BasisPoints
from controller.model.traffic import Match
from controller.model.wealth import Margin

MARGIN = Margin()
NO_RAIL = Rail(min_requests=1_000_000)
POLICY = Policy("p", warmup_s=0, rail=NO_RAIL)


def one_step(share: int = 500, hold_s: float = 120, deadline_s: float = 900) -> Plan:
    return Plan("p", (Step(BasisPoints(share), hold_s=hold_s, deadline_s=deadline_s),))


def served(per_s: float, failing: float = 0.001) -> History:
    return History(3600, round(3600 * per_s), round(3600 * per_s * failing))


def test_a_step_sees_what_its_requests_can_earn() -> None:
    """At the named rate the expected growth of all requests is what alpha and the price ask for."""
    history = served(1_000)
    (found,) = sights(one_step(), POLICY, history)

    base = (history.failed + 0.5) / (history.total + 500)
    assert found.rate is not None
    earned = found.requests * growth(MARGIN, BasisPoints(500), base, found.rate)
    assert earned == pytest.approx(math.log(100) + PRICE_NATS, rel=1e-6)
    assert found.requests == pytest.approx(1_000 * 0.05 * 120)


def test_with_known_rates_the_price_is_all_that_is_paid() -> None:
    """Against a stable arm of any size, a bet earns nearly the divergence of the canary from the border."""
    border, rate = 1.1 * 0.01 + 0.0005, 0.05
    divergence = rate * math.log(rate / border) + (1 - rate) * math.log((1 - rate) / (1 - border))

    assert growth(MARGIN, BasisPoints(1), 0.01, rate) == pytest.approx(divergence, rel=0.25)
    assert growth(MARGIN, BasisPoints(1), 0.01, rate) < divergence


@given(
    base=st.floats(1e-5, 0.5), share=st.integers(1, 9_500), rates=st.tuples(st.floats(0, 1), st.floats(0, 1))
)
def test_a_worse_canary_earns_more(base: float, share: int, rates: tuple[float, float]) -> None:
    """Growth never falls with the rate, so that halving finds the smallest one; and a tolerable one earns nothing."""
    low, high = sorted(rates)

    assert (
        0 <= growth(MARGIN, BasisPoints(share), base, low) <= growth(MARGIN, BasisPoints(share), base, high)
    )
    assert growth(MARGIN, BasisPoints(share), base, min(base, 1.0)) == 0


@given(per_s=st.floats(0.01, 1e5), failing=st.floats(0, 0.3), share=st.integers(1, 9_500))
def test_more_traffic_never_sees_less(per_s: float, failing: float, share: int) -> None:
    """Ten times the traffic sees the same or a smaller rate, and every rate is one."""
    less = History(36_000, round(36_000 * per_s), round(36_000 * per_s * failing))
    more = replace(less, window_s=3_600)

    (few,), (many,) = (sights(one_step(share), POLICY, each) for each in (less, more))

    assert few.rate is None or (many.rate is not None and many.rate <= few.rate + 1e-9)
    assert many.rate is None or 0 < many.rate <= 1


def test_without_requests_there_is_nothing_to_see() -> None:
    """Four canary requests until the deadline do not reach 100 to 1, whatever they answer."""
    assert sights(one_step(2_500, 180), POLICY, served(0.01))[0].rate is None


@pytest.mark.parametrize("judge", [JudgeKind.EVIDENCE, JudgeKind.THRESHOLD])
def test_the_least_traffic_is_where_sight_begins(judge: JudgeKind) -> None:
    """A little more sees a canary that fails everything, a little less does not."""
    policy = replace(POLICY, judge=judge)
    least = least_traffic(one_step(10), policy, served(1))

    assert least is not None
    for factor, is_seen in ((1.001, True), (0.999, False)):
        thought = History(3_600 / (least * factor), 3_600, 4)
        assert (sights(one_step(10), policy, thought)[0].rate is not None) is is_seen


def test_nothing_is_seen_at_any_traffic_beside_a_stable_that_always_fails() -> None:
    """There is no traffic to name."""
    assert least_traffic(one_step(), POLICY, served(1_000, failing=1.0)) is None


@pytest.mark.parametrize(("per_s", "is_short"), [(30, True), (100, False), (10_000, False)])
def test_a_step_is_short_when_its_deadline_comes_first(per_s: float, is_short: bool) -> None:
    """At 5 % and 900 s: 1 350 of 2 790 canary requests are too few, 4 500 are not."""
    (found,) = sights(one_step(), POLICY, served(per_s))

    assert found.is_short is is_short


def test_of_an_audience_nothing_is_known() -> None:
    """Neither what the step sees nor that it sees too little; the steps for everybody are told as ever."""
    inside = Step(
        BasisPoints(10_000), hold_s=120, deadline_s=900, matches=(Match(headers={"x-internal": "1"}),)
    )
    mixed = Plan("p", (inside, *one_step().steps))

    few, all_ = sights(mixed, POLICY, served(100))
    (narrowed,) = sights(one_step(), POLICY, served(100), is_narrowed=True)

    for sight in (few, narrowed):
        assert (sight.has_audience, sight.rate, sight.is_short) == (True, None, False)
    assert (all_.has_audience, all_.rate) == (False, sights(one_step(), POLICY, served(100))[0].rate)


def test_the_rail_sees_what_the_odds_cannot_yet() -> None:
    """In a warm-up that fills the whole step only the rail acts, and it needs its requests within its window."""
    policy = Policy("p", warmup_s=1_000)

    (fast,) = sights(one_step(), policy, served(100))
    (slow,) = sights(one_step(), policy, served(10))

    assert (fast.requests, fast.rate) == (0, policy.rail.max_failed)
    assert slow.rate is None


def test_the_warm_up_is_over_before_the_second_step() -> None:
    """It is time of the release, not of each step."""
    plan = Plan("p", (Step(BasisPoints(5_000), hold_s=100), Step(BasisPoints(5_000), hold_s=100)))
    policy = replace(POLICY, warmup_s=60)

    first, second = sights(plan, policy, served(1_000))

    assert [first.requests, second.requests] == pytest.approx([20_000, 50_000])


def test_a_threshold_sees_its_limit() -> None:
    """With its least number of requests; without them it sees nothing."""
    policy = Policy(
        "t", judge=JudgeKind.THRESHOLD, max_error_rate=0.07, min_requests=50, warmup_s=0, rail=NO_RAIL
    )

    assert sights(one_step(), policy, served(100))[0].rate == 0.07
    assert sights(one_step(), policy, served(0.1))[0].rate is None


@pytest.mark.parametrize(
    ("limits", "per_s", "rate"),
    [
        (Limits(interval_s=10, failure_limit=3), 100, 0.07),
        (Limits(interval_s=10, failure_limit=3), 99, None),  # 49.5 canary requests an interval
        (Limits(interval_s=226, failure_limit=3), 100, None),  # the fourth failing one would come too late
    ],
)
def test_limits_see_the_limit_when_there_is_time_for_them(
    limits: Limits, per_s: float, rate: float | None
) -> None:
    """Enough requests in each measurement, and enough measurements to fail before the deadline of 900 s."""
    policy = Policy(
        "t",
        judge=JudgeKind.THRESHOLD,
        max_error_rate=0.07,
        min_requests=50,
        limits=limits,
        warmup_s=0,
        rail=NO_RAIL,
    )

    assert sights(one_step(), policy, served(per_s))[0].rate == rate


def test_ranks_see_less_with_fewer_points_and_nothing_without() -> None:
    """More traffic, longer steps and a looser test see smaller shifts; too few points, or empty ones, see nothing."""

    def seen(per_s: float = 100, **rule: float) -> float | None:
        ranks = MannWhitney(**{"interval_s": 10.0, **rule})  # type: ignore[arg-type]
        policy = Policy("r", judge=JudgeKind.MANN_WHITNEY, mann_whitney=ranks, warmup_s=0, rail=NO_RAIL)
        return sights(one_step(), policy, served(per_s))[0].rate

    rates = [seen(1_000, confidence=0.9), seen(1_000), seen(), seen(confidence=0.999), seen(interval_s=20.0)]
    assert None not in rates
    assert rates[:4] == sorted(rates[:4], key=lambda rate: rate or 0)
    assert (seen(interval_s=181.0), seen(0.1)) == (None, None)
    larger = seen(allowed_increase=50.0)
    assert larger is not None
    assert larger > 2 * (seen() or 1)


def test_a_smaller_alpha_sees_less() -> None:
    """Certainty has its price."""
    strict = replace(POLICY, tolerance=Tolerance(alpha=1e-6))

    rates = [sights(one_step(), each, served(1_000))[0].rate for each in (POLICY, strict)]

    assert None not in rates
    assert rates == sorted(rates, key=lambda rate: rate or 0)


def test_a_stable_that_always_fails_leaves_nothing_to_see() -> None:
    """Everything is tolerable beside it."""
    assert sights(one_step(), POLICY, served(1_000, failing=1.0))[0].rate is None
