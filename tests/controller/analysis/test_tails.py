"""Tails and crossings against what can be enumerated or is known in closed form."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.tails import above, at_least, at_most, enough, newly


def poisson(n: int, mean: float) -> float:
    return math.exp(n * math.log(mean) - mean - math.lgamma(n + 1))


def binomial(x: int, n: int, p: float) -> float:
    return math.comb(n, x) * p**x * (1 - p) ** (n - x)


@given(runs=st.integers(1, 60), count=st.integers(-1, 61), p=st.floats(0.001, 0.999))
def test_the_upper_tail_is_the_rest(runs: int, count: int, p: float) -> None:
    """Exactly what enumeration says, also where it is small."""
    terms = math.fsum(binomial(x, runs, p) for x in range(max(count, 0), runs + 1))

    assert at_least(count, runs, p) == pytest.approx(terms, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(
    ("count", "runs", "p"), [(2_500, 5_000, 0.01), (1, 10**9, 1e-300), (10**8, 10**9, 0.2)]
)
def test_what_is_below_every_float_is_found_at_once(count: int, runs: int, p: float) -> None:
    """Terms that are nothing end the sum, however many there are."""
    assert at_most(count, runs, p) + at_least(count + 1, runs, p) == pytest.approx(1)


@pytest.mark.parametrize("is_reaching", [False, True])
@pytest.mark.parametrize(
    ("limit", "rate", "mean", "least"), [(0.05, 0.02, 30.0, 10), (0.5, 0.1, 8.0, 3), (0.0, 0.01, 20.0, 1)]
)
def test_breaking_a_limit_is_summed_over_the_requests_that_may_come(
    limit: float, rate: float, mean: float, least: int, is_reaching: bool
) -> None:
    """Every number of requests and every number of failures, enumerated."""
    expected = math.fsum(
        poisson(n, mean) * binomial(x, n, rate)
        for n in range(least, 120)
        for x in range(n + 1)
        if (x >= limit * n if is_reaching else x > limit * n)
    )

    found = above(limit, rate, mean, least=least, is_reaching=is_reaching)

    assert found == pytest.approx(expected, rel=1e-6)
    assert enough(mean, least=least) == pytest.approx(math.fsum(poisson(n, mean) for n in range(least, 120)))


def test_many_requests_are_taken_at_a_few_places() -> None:
    """Sixteen places instead of thousands: within 5 % of the whole sum."""
    limit, rate, mean = 0.02, 0.01, 400.0

    whole = math.fsum(
        poisson(n, mean) * at_least(math.floor(limit * n) + 1, n, rate) for n in range(200, 700)
    )

    assert above(limit, rate, mean, least=1) == pytest.approx(whole, rel=0.05)


@pytest.mark.parametrize(("mean", "least"), [(0.0, 1), (5.0, 10**9), (1e9, 10**12)])
def test_no_requests_break_nothing(mean: float, least: int) -> None:
    """Without traffic, or with less than is asked for."""
    assert above(0.01, 0.5, mean, least=least) == enough(mean, least=least) == 0.0


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7, 0.95, 0.99])
def test_crossing_a_middle_bound_is_known_in_closed_form(correlation: float) -> None:
    """Sheppard: both above their medians with 1/4 + asin(correlation) / 2 pi."""
    together = 0.25 + math.asin(correlation) / (2 * math.pi)

    assert newly(0.5, 0.5, correlation) == pytest.approx(0.5 - together, rel=1e-4)


@given(
    before=st.floats(0, 1, allow_subnormal=False),
    now=st.floats(0, 1, allow_subnormal=False),
    correlation=st.floats(0, 1, allow_subnormal=False),
)
def test_a_crossing_is_a_probability(before: float, now: float, correlation: float) -> None:
    """Never below 0, never above being there, and at most what independent looks would make."""
    found = newly(before, now, correlation)

    assert 0.0 <= found <= now + 1e-12
    assert found <= max(now * (1.0 - before), now - before) + 1e-9
