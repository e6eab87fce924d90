"""The exact interval agrees with closed forms, and holds what it promises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.tails import at_most
from controller.simulation.interval import exact_interval


@pytest.mark.parametrize("runs", [1, 20, 200, 20_000])
def test_none_of_many_has_a_closed_form(runs: int) -> None:
    """0 of n: the upper bound is 1 - (tail)^(1/n); n of n is its mirror."""
    upper = 1 - 0.025 ** (1 / runs)

    assert exact_interval(0, runs) == pytest.approx((0.0, upper), rel=1e-9)
    assert exact_interval(runs, runs) == pytest.approx((1 - upper, 1.0), rel=1e-9)


@pytest.mark.parametrize(("count", "runs", "p"), [(3, 10, 0.2), (8, 10, 0.2), (50, 100, 0.5), (1, 100, 0.9)])
def test_the_distribution_is_summed_from_either_side(count: int, runs: int, p: float) -> None:
    """At most k of n, against the sum of all terms."""
    terms = (math.comb(runs, k) * p**k * (1 - p) ** (runs - k) for k in range(count + 1))

    assert at_most(count, runs, p) == pytest.approx(sum(terms), rel=1e-9)


@given(data=st.data(), runs=st.integers(1, 3_000), level=st.sampled_from([0.5, 0.95, 0.999]))
def test_the_bounds_are_where_the_tails_are(data: st.DataObject, runs: int, level: float) -> None:
    """At each bound the count is exactly as unlikely as the level says, and the estimate lies between them."""
    count = data.draw(st.integers(0, runs))

    low, high = exact_interval(count, runs, level=level)

    tail = (1 - level) / 2
    assert 0 <= low <= count / runs <= high <= 1
    assert count == 0 or 1 - at_most(count - 1, runs, low) == pytest.approx(tail, rel=1e-6)
    assert count == runs or at_most(count, runs, high) == pytest.approx(tail, rel=1e-6)
