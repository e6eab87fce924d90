"""The bet on one block: the exact solver against plain halving, and both ways of adding up a block."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.projection import exact_log_e, exact_multipliers, factors, log_e

rates = st.floats(1e-9, 0.98)
margins = st.tuples(st.floats(1, 10), st.one_of(st.just(0.0), st.floats(1e-6, 0.5)))
totals = st.integers(1, 10**7)


def pivot(nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Solve the projection by 200 halvings of the derivative of the divergence."""
    meeting = (tc - delta) / rho
    low, high = max(min(tb, meeting), 0.0), min(max(tb, meeting), (1 - delta) / rho)
    for _ in range(200):
        b = 0.5 * (low + high)
        c = rho * b + delta
        slope = nb * (b - tb) / (b * (1 - b)) + nc * rho * (c - tc) / (c * (1 - c)) if b > 0 else -1.0
        low, high = (low, b) if slope > 0 else (b, high)
    return 0.5 * (low + high)


@given(nb=totals, nc=totals, tb=rates, tc=rates, margin=margins)
def test_the_exact_solver_finds_what_halving_finds(
    nb: int, nc: int, tb: float, tc: float, margin: tuple[float, float]
) -> None:
    """At the projection each request is worth its likelihood ratio, on either side of the border."""
    rho, delta = margin
    c = rho * pivot(nb, nc, tb, tc, rho, delta) + delta

    canary_failed, canary_good, _, _ = exact_multipliers(nb, nc, tb, tc, rho, delta)

    if 0 < c < 1 - 1e-6:
        assert canary_failed == pytest.approx(tc / c, rel=1e-7)
        assert canary_good == pytest.approx((1 - tc) / (1 - c), rel=1e-7)


@given(nb=totals, nc=totals, tb=rates, size=st.floats(0.001, 0.98), margin=margins, part=st.floats(0, 1))
def test_a_block_is_worth_the_sum_of_its_requests(
    nb: int, nc: int, tb: float, size: float, margin: tuple[float, float], part: float
) -> None:
    """`log_e` is `factors` times counts."""
    rho, delta = margin
    border = rho * tb + delta
    if border >= 0.99:
        return
    tc = border + (0.999 - border) * size
    xb, xc = int(part * nb), int(part * nc)
    worth = factors(nb=nb, nc=nc, tb=tb, tc=tc, rho=rho, delta=delta)

    found = log_e(nb, xb, nc, xc, tb, tc, rho, delta)

    parts = (
        xc * worth.canary_failed,
        (nc - xc) * worth.canary_good,
        xb * worth.stable_failed,
        (nb - xb) * worth.stable_good,
    )
    assert found == pytest.approx(sum(parts), rel=1e-9, abs=1e-9 * sum(map(abs, parts)) + 1e-12)


@pytest.mark.parametrize(("nb", "nc"), [(19, 1), (10, 10), (3, 17)])
@pytest.mark.parametrize(("tb", "tc"), [(0.001, 0.02), (0.01, 0.25), (0.2, 0.9), (0.3, 0.31)])
@pytest.mark.parametrize(("rho", "delta"), [(1.0, 0.0), (1.1, 0.0005), (1.5, 0.01), (2.0, 0.05)])
def test_no_bet_is_expected_to_gain_on_the_border(
    nb: int, nc: int, tb: float, tc: float, rho: float, delta: float
) -> None:
    """E[e] <= 1 by exact enumeration, for the closed form above the border and the exact one on both sides."""
    is_above = tc > rho * tb + delta
    for pb in (0.0, 0.001, 0.01, 0.1, 0.3, 0.45):
        pc = rho * pb + delta
        if pc > 1:
            continue
        chances = [
            (xb, xc, _binomial(nb, xb, pb) * _binomial(nc, xc, pc))
            for xb in range(nb + 1)
            for xc in range(nc + 1)
        ]
        for bet in (log_e, exact_log_e) if is_above else (exact_log_e,):
            expected = sum(
                chance * math.exp(bet(nb, xb, nc, xc, tb, tc, rho, delta)) for xb, xc, chance in chances
            )
            assert expected <= 1 + 1e-9


def _binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)
