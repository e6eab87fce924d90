"""The e-process: reference values, fairness by exact enumeration, and nothing that a look can break."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.projection import factors
from controller.analysis.wealth import Bet, add_look, add_step, expected_rate, remember
from controller.model.wealth import GRID_POINTS, START_MASS, Margin, Predictor, Tally, Wealth

Block = tuple[int, int, int, int]
REFERENCE = Bet(cap=3.0, restored=0.0, grid=tuple(0.98 / 4**j for j in range(6)), longest_s=2400.0)
"""What the independent implementation bets with."""
POOR = Wealth(parts=(1e-6,) * GRID_POINTS, reserve=0.01)


def run(*blocks: Block, bet: Bet | None = None, wealth: Wealth | None = None) -> tuple[list[float], Wealth]:
    """Bet on (stable, failed, canary, failed) once a second; returns log odds after each look."""
    bet, predictor, logs = bet or REFERENCE, Predictor(), []
    points = len(bet.grid)
    wealth = wealth or Wealth(parts=(START_MASS / points,) * points)
    for nb, xb, nc, xc in blocks:
        stable = Tally(nb, xb)
        wealth = add_look(wealth, bet, predictor, gap_s=1, stable=stable, canary=Tally(nc, xc))
        predictor = remember(predictor, stable, gap_s=1, half_life_s=bet.half_life_s)
        logs.append(math.log(wealth.total))
    return logs, wealth


@pytest.mark.parametrize(
    ("blocks", "bet", "expected"),
    [
        (
            [(95, 0, 5, 0), (95, 0, 5, 1), (95, 0, 5, 2), (95, 1, 5, 2), (95, 0, 5, 3)],
            REFERENCE,
            [-0.131125, 1.497777, 4.324621, 7.27266, 10.242978],
        ),
        ([(19, 0, 1, 1)] * 3, REFERENCE, [1.939324, 4.65293, 7.530513]),
        ([(95, 0, 5, 2)] * 4, replace(REFERENCE, temper=3), [0.913472, 2.420619, 4.201833, 6.078714]),
        (
            [(95, 0, 5, 2)] * 4,
            replace(REFERENCE, margin=Margin(rho=2)),
            [1.946984, 4.788666, 7.747373, 10.722567],
        ),
    ],
)
def test_reference_values_of_the_odds(blocks: list[Block], bet: Bet, expected: list[float]) -> None:
    """An independent implementation gave these log odds."""
    assert run(*blocks, bet=bet)[0] == pytest.approx(expected, abs=1e-6)


def test_a_long_clean_time_costs_little_and_a_fault_after_it_is_seen() -> None:
    """600 clean looks leave log odds of -1.06 and a reserve of 0.33; two bad looks then give 1.88."""
    logs, wealth = run(*[(95, 0, 5, 0)] * 600)
    assert logs[-1] == pytest.approx(-1.061354, abs=1e-6)
    assert wealth.reserve == pytest.approx(0.33)

    late, _ = run(*[(95, 0, 5, 0)] * 600, *[(95, 0, 5, 5)] * 2)
    assert late[-2:] == pytest.approx([-0.435123, 1.884662], abs=1e-6)


def test_no_traffic_moves_nothing() -> None:
    """4 000 looks without a request leave the odds at 1 and a rest of the reserve."""
    logs, wealth = run(*[(0, 0, 0, 0)] * 4000)

    assert logs[-1] == pytest.approx(0.0, abs=1e-9)
    assert wealth.reserve == pytest.approx(0.061601, abs=1e-6)


def test_a_release_that_waits_for_long_keeps_wealth_for_later_faults() -> None:
    """Ten times the planned time leaves a tenth of the reserve, and the total stays 1."""
    logs, wealth = run(*[(0, 0, 0, 0)] * 6000, bet=Bet(plan_s=600.0))

    assert wealth.reserve == pytest.approx(0.012, rel=0.01)
    assert logs[-1] == pytest.approx(0.0, abs=1e-9)


def test_three_steps_before_any_look_leave_a_reserve() -> None:
    """Each weight step brings in 0.03."""
    assert add_step(add_step(add_step(Wealth()))).reserve == pytest.approx(0.31)


@pytest.mark.parametrize(
    ("nb", "nc", "tb", "rho", "delta", "size", "expected"),
    [
        (95, 5, 0.001, 1.0, 0.0, 0.98, (2.97651142, -3.81394928, -3.91006108, 0.05018964)),
        (95, 5, 0.001, 1.0, 0.0, 0.245, (2.9211909, -0.26839952, -2.58214678, 0.01231324)),
        (950, 50, 0.001, 1.1, 0.0005, 0.98, (2.88071894, -3.80922709, -3.9028017, 0.0497387)),
        (950, 50, 0.001, 1.1, 0.0005, 0.245, (2.82688552, -0.26764654, -2.54807471, 0.01186398)),
        (50, 950, 0.005, 1.1, 0.0005, 0.98, (0.013, -0.47390411, -5.16840908, 2.10016508)),
        (50, 950, 0.005, 1.1, 0.0005, 0.245, (0.04442071, -0.01432459, -3.76839373, 0.23874955)),
    ],
)
def test_reference_values_of_the_factors(
    nb: int, nc: int, tb: float, rho: float, delta: float, size: float, expected: tuple[float, ...]
) -> None:
    """The worth of one request of each kind; the fifth needs the exact solver."""
    border = rho * tb + delta
    worth = factors(nb=nb, nc=nc, tb=tb, tc=border + (0.999 - border) * size, rho=rho, delta=delta)

    found = (worth.canary_failed, worth.canary_good, worth.stable_failed, worth.stable_good)
    assert found == pytest.approx(expected, abs=5e-8)


def expectation(
    bet: Bet, nb: int, nc: int, pb: float, pc: float, predictor: Predictor, before: Wealth | None = None
) -> float:
    """Enumerate every outcome of one block and return the expected total wealth."""
    total = 0.0
    for xb in range(nb + 1):
        for xc in range(nc + 1):
            chance = _binomial(nb, xb, pb) * _binomial(nc, xc, pc)
            if chance > 0:
                after = add_look(
                    before or Wealth(), bet, predictor, gap_s=1, stable=Tally(nb, xb), canary=Tally(nc, xc)
                )
                total += chance * after.total
    return total


def _binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize("margin", [Margin(1, 0), Margin(1.1, 0.0005), Margin(1.5, 0.01), Margin(2, 0.05)])
@pytest.mark.parametrize(("nb", "nc"), [(19, 1), (10, 10), (3, 17)])
@pytest.mark.parametrize("seen", [Predictor(), Predictor(1000, 5), Predictor(50, 30)])
def test_no_block_is_expected_to_gain_under_the_null(
    margin: Margin, nb: int, nc: int, seen: Predictor
) -> None:
    """E[e] <= 1 on the border and inside it, whatever was predicted: exact enumeration over a grid of rates."""
    bet = Bet(margin=margin, cap=1e9)
    worst = 0.0
    for pb in (0.0, 0.001, 0.01, 0.1, 0.3, 0.6):
        border = margin.rho * pb + margin.delta
        for pc in (border, border / 2):
            if pc <= 1:
                worst = max(worst, expectation(bet, nb, nc, pb, pc, seen))

    assert worst <= 1 + 1e-9


@pytest.mark.parametrize("seen", [Predictor(), Predictor(50, 30)])
def test_a_look_that_restores_poor_parts_is_fair_as_well(seen: Predictor) -> None:
    """The limit of a part is known before the look, so that the expected total never grows."""
    for pb in (0.0, 0.001, 0.01, 0.1, 0.3):
        after = expectation(Bet(), 15, 5, pb, 1.1 * pb + 0.0005, seen, POOR)
        assert after <= POOR.total * (1 + 1e-9)


def test_one_look_restores_poor_parts_to_even_odds_at_most() -> None:
    """However bad the look, all parts together are worth 1 after it, and the cap's 3.5 nats more after the next."""
    logs, _ = run(*[(5000, 0, 5000, 5000)] * 2, bet=Bet(), wealth=POOR)

    assert -0.05 < logs[0] <= math.log(1 + POOR.reserve)
    assert 3.4 < logs[1] - logs[0] <= 3.5


def test_a_fault_after_a_long_good_time_is_seen_as_fast_as_an_early_one() -> None:
    """600 clean looks, then 60 of 100 canary requests fail: 100 to 1 at the third look; without restoring at the fifth."""
    blocks = [(900, 0, 100, 0)] * 600 + [(900, 0, 100, 60)] * 6

    def looks(bet: Bet) -> int:
        logs, _ = run(*blocks, bet=bet)
        return next(look for look, log in enumerate(logs[600:], 1) if log >= math.log(100))

    assert looks(Bet()) == 3
    assert looks(Bet(restored=0.0)) == 4
    assert looks(REFERENCE) == 5


@pytest.mark.parametrize("m", [2, 3, 5])
def test_tempering_keeps_groups_that_fail_together_fair(m: int) -> None:
    """With at most m dependent requests a group, e^(1/m) is fair: whole groups fail together."""
    groups_b, groups_c = 6, 2
    bet = Bet(margin=Margin(1, 0), cap=1e9, temper=m)
    for p in (0.01, 0.1, 0.4):
        total = 0.0
        for gb in range(groups_b + 1):
            for gc in range(groups_c + 1):
                after = add_look(
                    Wealth(),
                    bet,
                    Predictor(),
                    gap_s=1,
                    stable=Tally(groups_b * m, gb * m),
                    canary=Tally(groups_c * m, gc * m),
                )
                total += _binomial(groups_b, gb, p) * _binomial(groups_c, gc, p) * after.total
        assert total <= 1 + 1e-9


counts = st.tuples(
    st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000)
).map(lambda c: (c[0], min(c[1], c[0]), c[2], min(c[3], c[2])))


@given(
    blocks=st.lists(counts, max_size=20),
    rho=st.floats(1, 10),
    delta=st.floats(0, 0.5),
    temper=st.floats(1, 20),
)
def test_the_odds_are_always_finite(blocks: list[Block], rho: float, delta: float, temper: float) -> None:
    """Zero, huge and lopsided counts give a finite positive number."""
    logs, wealth = run(*blocks, bet=Bet(margin=Margin(rho, delta), temper=temper))

    assert all(math.isfinite(each) for each in logs)
    assert 0 < wealth.total < 1e282


@given(
    nb=st.integers(1, 10**12), nc=st.integers(1, 10**12), xb=st.integers(0, 10**12), xc=st.integers(0, 10**12)
)
def test_huge_counts_never_break_a_bet(nb: int, nc: int, xb: int, xc: int) -> None:
    """A look after a day of millions a second is one block like any other."""
    logs, _ = run((nb, min(xb, nb), nc, min(xc, nc)), bet=Bet())

    assert math.isfinite(logs[0])
    assert logs[0] <= 3.5


@given(blocks=st.lists(counts, min_size=2, max_size=12))
def test_one_look_adds_at_most_the_cap(blocks: list[Block]) -> None:
    """No single look, scrape or cluster can decide: from even odds or better the cap is all that it adds."""
    logs, _ = run(*blocks, bet=Bet())

    assert all(after <= max(before, 0.0) + 3.5 + 1e-9 for before, after in pairwise(logs))


def test_a_release_that_began_with_fewer_parts_goes_on_with_them() -> None:
    """Evidence of an earlier version had six parts; its odds go on."""
    logs, wealth = run(*[(95, 0, 5, 3)] * 2, bet=Bet(), wealth=Wealth(parts=(0.1,) * 6))

    assert logs[-1] > 4
    assert len(wealth.parts) == 6


def test_the_predictor_forgets() -> None:
    """After one half-life half of what was seen counts."""
    after = remember(Predictor(1000, 100), Tally(), gap_s=60, half_life_s=60)

    assert (after.seen, after.failed) == (500, 50)
    assert expected_rate(Predictor(), 0.002) == pytest.approx(0.002)
