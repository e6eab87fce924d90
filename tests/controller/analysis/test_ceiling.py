"""The ceiling: reference values, fairness by exact enumeration, and what a look can and cannot do."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.ceiling import add_look
from controller.analysis.wealth import Bet, add_step
from controller.errors import InvalidInput
from controller.model.wealth import START_MASS, Tally, Wealth

CEILING = 0.05


def run(*looks: tuple[int, int], bet: Bet | None = None, ceiling: float = CEILING) -> list[float]:
    """Bet on (canary, failed) once a second; returns log odds after each look."""
    bet = bet or Bet(cap=3.0)
    wealth, logs = Wealth(parts=(START_MASS / len(bet.grid),) * len(bet.grid)), []
    for total, failed in looks:
        wealth = add_look(wealth, bet, ceiling, gap_s=1, canary=Tally(total, failed))
        logs.append(math.log(wealth.total))
    return logs


def test_reference_values_of_the_odds() -> None:
    """The same sums written out by hand once: five requests a look, 0, 1, 2, 2 and 3 of them failed."""
    six_sizes = Bet(cap=3.0, grid=tuple(0.98 / 4**j for j in range(6)))

    found = run((5, 0), (5, 1), (5, 2), (5, 2), (5, 3), bet=six_sizes)

    assert found == pytest.approx([-0.2333, -0.120382, 0.645967, 2.430904, 5.234537], abs=1e-6)


@pytest.mark.parametrize("ceiling", [0.001, 0.02, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("temper", [1.0, 3.0])
def test_no_look_is_expected_to_gain_up_to_the_ceiling(ceiling: float, temper: float) -> None:
    """E[e] <= 1 at the ceiling and below it: every outcome of looks of 1 to 40 requests."""
    worst, bet = 0.0, Bet(cap=1e9, temper=temper)
    for n in (1, 5, 40):
        for p in (0.0, ceiling / 10, ceiling / 2, ceiling):
            worst = max(
                worst,
                sum(
                    math.comb(n, x)
                    * p**x
                    * (1 - p) ** (n - x)
                    * add_look(Wealth(), bet, ceiling, gap_s=1, canary=Tally(n, x)).total
                    for x in range(n + 1)
                ),
            )

    assert worst <= 1 + 1e-9


def test_a_canary_four_times_over_the_ceiling_is_found_within_a_few_looks() -> None:
    """20 % at a ceiling of 5 %, five requests a look: 60 requests on average, 1.8 times Wald's bound of 33."""
    rng, needed = random.Random(1), []
    for _ in range(200):
        wealth, looks = Wealth(), 0
        while wealth.total < 100:
            failed = sum(rng.random() < 0.2 for _ in range(5))
            wealth, looks = (
                add_look(wealth, Bet(cap=3.0), CEILING, gap_s=1, canary=Tally(5, failed)),
                looks + 1,
            )
        needed.append(5 * looks)

    assert 45 < sum(needed) / len(needed) < 75


def test_a_dead_canary_is_found_at_the_second_look() -> None:
    """Every request fails: the cap keeps one look from deciding, two are enough."""
    first, second = run((25, 25), (25, 25))

    assert first < math.log(100) < second


def test_canaries_at_the_ceiling_are_seldom_taken_back() -> None:
    """100 releases of 2 000 requests exactly at it, at odds of 10: fewer than the 10 % that the bound allows."""
    rng, taken = random.Random(2), 0
    for _ in range(100):
        wealth = Wealth()
        for _ in range(100):
            failed = sum(rng.random() < CEILING for _ in range(20))
            wealth = add_look(wealth, Bet(cap=3.0), CEILING, gap_s=1, canary=Tally(20, failed))
            if wealth.total >= 10:
                taken += 1
                break

    assert taken <= 10


def test_steps_and_time_bring_in_wealth_as_in_the_comparison() -> None:
    """The state is the comparison's, so that a step's mass comes in the same way; no traffic moves nothing."""
    assert add_step(Wealth()).reserve == pytest.approx(0.37)

    idle = add_look(Wealth(), Bet(cap=3.0), CEILING, gap_s=240, canary=Tally())
    assert idle.total == pytest.approx(1.0)
    assert idle.reserve == pytest.approx(0.4 - 0.028)
    assert idle.elapsed_s == 240


def test_a_ceiling_near_one_bets_on_nothing() -> None:
    """Everything is allowed there."""
    assert run((100, 100), ceiling=0.9995) == pytest.approx([0.0], abs=1e-9)


@pytest.mark.parametrize("ceiling", [0.0, 1.0, -0.1, math.nan])
def test_a_ceiling_that_is_no_rate_is_refused(ceiling: float) -> None:
    """It must not silently never act."""
    with pytest.raises(InvalidInput):
        run((1, 0), ceiling=ceiling)


@given(
    looks=st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)).map(lambda n: (n[0], min(n))), max_size=20
    ),
    ceiling=st.floats(1e-6, 0.999),
    temper=st.floats(1, 20),
)
def test_the_odds_stay_finite_and_no_look_adds_more_than_the_cap(
    looks: list[tuple[int, int]], ceiling: float, temper: float
) -> None:
    """Zero, huge and lopsided counts."""
    logs = [0.0, *run(*looks, bet=Bet(cap=3.0, temper=temper), ceiling=ceiling)]

    assert all(math.isfinite(each) for each in logs)
    assert all(after - before <= 3 + 1e-9 for before, after in pairwise(logs))
