"""The draws have the distributions they say, exactly."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.simulation.draws import binomial, multinomial, nested, poisson

DRAWS = 20_000


def chi_square(found: Counter[int], probability: list[float]) -> float:
    """Return (chi2 - bins) / sqrt(2 bins): about standard normal when the draws come from the distribution."""
    rare_expected = rare_found = chi2 = bins = 0.0
    for value, part in enumerate(probability):
        expected = DRAWS * part
        if expected < 10:
            rare_expected, rare_found = rare_expected + expected, rare_found + found[value]
            continue
        chi2, bins = chi2 + (found[value] - expected) ** 2 / expected, bins + 1
    chi2 += (rare_found - rare_expected) ** 2 / max(rare_expected, 1)
    return (chi2 - bins) / math.sqrt(2 * bins)


@pytest.mark.parametrize(
    ("n", "p"), [(5, 0.3), (40, 0.6), (300, 0.02), (300, 0.5), (2_000, 0.95), (100_000, 1e-4)]
)
def test_binomial_draws_fit_the_binomial(n: int, p: float) -> None:
    """20 000 draws against the exact probabilities, one by one and by halving."""
    random = Random(7)
    exact = [
        math.exp(
            math.lgamma(n + 1)
            - math.lgamma(k + 1)
            - math.lgamma(n - k + 1)
            + k * math.log(p)
            + (n - k) * math.log1p(-p)
        )
        for k in range(min(n, 3_000) + 1)
    ]

    found = Counter(binomial(random, n, p) for _ in range(DRAWS))

    assert abs(chi_square(found, exact)) < 4


@pytest.mark.parametrize("mean", [0.2, 5.0, 40.0, 700.0])
def test_poisson_draws_fit_the_poisson(mean: float) -> None:
    """20 000 draws against the exact probabilities."""
    random = Random(11)
    exact = [math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(1_500)]

    found = Counter(poisson(random, mean) for _ in range(DRAWS))

    assert abs(chi_square(found, exact)) < 4


def test_each_place_of_a_multinomial_draw_is_binomial() -> None:
    """Four places, one of them never reached: each one's count has its exact distribution, and together they are n."""
    random, n, parts = Random(13), 60, [3.0, 0.0, 1.0, 6.0]

    draws = [multinomial(random, n, parts) for _ in range(DRAWS)]

    assert all(sum(one) == n and one[1] == 0 for one in draws)
    for place, p in ((0, 0.3), (2, 0.1), (3, 0.6)):
        exact = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        assert abs(chi_square(Counter(one[place] for one in draws), exact)) < 4


def test_each_bound_of_a_nested_draw_is_binomial() -> None:
    """What is above a higher bound is above the lower ones as well; each count has its exact distribution."""
    random, n, parts = Random(17), 60, [0.5, 0.1, 0.1, 0.0]

    draws = [nested(random, n, parts) for _ in range(DRAWS)]

    assert all(one[1] == one[2] <= one[0] and one[3] == 0 for one in draws)
    for place, p in ((0, 0.5), (1, 0.1)):
        exact = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        assert abs(chi_square(Counter(one[place] for one in draws), exact)) < 4


@given(n=st.integers(0, 10**9), p=st.floats(0, 1), seed=st.integers(0, 100))
def test_a_binomial_draw_stays_in_its_range(n: int, p: float, seed: int) -> None:
    """Nothing below 0 and nothing above n, for any n and p."""
    assert 0 <= binomial(Random(seed), n, p) <= n


@pytest.mark.parametrize(("p", "drawn"), [(0.0, 0), (1.0, 1_000), (1e-320, 0)])
def test_certain_draws_are_certain(p: float, drawn: int) -> None:
    """Never is never and always is always."""
    assert binomial(Random(1), 1_000, p) == drawn


def test_no_traffic_brings_no_requests() -> None:
    """An expectation of nothing is nothing."""
    assert poisson(Random(1), 0.0) == 0
