"""The margin for unlike instances: reference values, exact quantiles, and sane answers to poor histories."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.luck import luck_of, ratio, t_quantile
from controller.model.start import Luck
from controller.model.wealth import Tally

UNLIKE = [Tally(3600, failed) for failed in (12, 30, 18, 22, 9, 41, 25, 17, 33, 20)]
RHO = 1.1


def drawn(rng: random.Random, *, spread: float, expected: float, total: int, instances: int) -> Luck:
    """Measure one fleet whose instances' failing rates are lognormal with `spread`."""
    rates = [expected / total * math.exp(rng.gauss(0, spread)) for _ in range(instances)]
    return luck_of([Tally(total, sum(rng.random() < rate for _ in range(total))) for rate in rates])


def test_reference_values_of_the_spread() -> None:
    """An independent implementation gave these, once for an unlike and once for a like fleet."""
    assert luck_of(UNLIKE).tau == pytest.approx(0.386735, abs=1e-6)
    assert luck_of(UNLIKE).degrees == 9

    like = luck_of([Tally(3600, failed) for failed in (20, 21, 19, 22, 18, 20)])
    assert like == Luck(tau=0.0, degrees=5)
    assert RHO * ratio(like, canary=1, stable=9, tail=0.00125) == RHO


@pytest.mark.parametrize(
    ("canary", "stable", "tail", "expected"),
    [
        (1, 9, 0.005 / 4, 5.94483),
        (3, 7, 0.005 / 4, 3.31962),
        (6, 4, 0.005 / 4, 3.09105),
        (2, 9, 0.025, 2.1796),
    ],
)
def test_reference_values_of_the_ratio(canary: int, stable: int, tail: float, expected: float) -> None:
    """An independent implementation gave these tolerated ratios for the unlike fleet, at a ratio of 1.1 without luck."""
    found = RHO * ratio(luck_of(UNLIKE), canary=canary, stable=stable, tail=tail)

    assert found == pytest.approx(expected, abs=5e-6)


def test_reference_values_of_the_expanded_quantile() -> None:
    """From 7 degrees on the expansion is within half a per cent of the exact quantile, on the low side."""
    assert t_quantile(19, 0.00125) == pytest.approx(3.4808, abs=5e-5)
    assert t_quantile(7, 0.00125) == pytest.approx(4.5750, abs=5e-5)
    assert 0.995 * 4.5946 < t_quantile(7, 0.00125) < 4.5946


@pytest.mark.parametrize(
    ("degrees", "tail", "expected"),
    [
        (1, 0.025, 12.706205),
        (2, 0.025, 4.302653),
        (3, 0.025, 3.182446),
        (4, 0.025, 2.776445),
        (5, 0.025, 2.570582),
        (6, 0.025, 2.446912),
        (1, 0.005, 63.656741),
        (6, 0.005, 3.707428),
    ],
)
def test_small_samples_get_the_exact_quantile(degrees: int, tail: float, expected: float) -> None:
    """The values of printed tables, for the degrees at which the expansion is too small."""
    assert t_quantile(degrees, tail) == pytest.approx(expected, abs=1e-6)


def test_the_quantile_falls_with_degrees_across_both_forms() -> None:
    """No step up where the closed form hands over to the expansion."""
    found = [t_quantile(degrees, 0.00125) for degrees in range(1, 40)]

    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    "instances",
    [
        [],
        [Tally(1000, 5)],
        [Tally(), Tally(), Tally(1000, 5)],
        [Tally(1000, 0)] * 8,
        [Tally(100, 0), Tally(10**6, 0), Tally(10, 0)],
        [Tally(10**6, 1), Tally(5, 0), Tally(3, 0)],
    ],
)
def test_a_history_without_failures_to_compare_gives_no_luck(instances: list[Tally]) -> None:
    """Unequal numbers of requests are not unlike rates."""
    assert luck_of(instances) == Luck()
    assert ratio(luck_of(instances), canary=1, stable=9, tail=0.001) == 1.0


def test_an_instance_that_failed_and_was_replaced_counts_though_it_served_little() -> None:
    """A bad node shows in its failures, not in how long it lived."""
    fleet = [Tally(100_000, failed) for failed in (100, 95, 110, 99)]

    assert luck_of(fleet).tau < 0.05
    assert luck_of([*fleet, Tally(50, 40)]).tau > 2


@pytest.mark.parametrize("expected", [0.5, 2.0, 20.0])
def test_a_fleet_of_like_instances_seems_alike_at_any_rate(expected: float) -> None:
    """200 fleets of ten without spread: the median of tau is 0, and seldom is it more than 0.4."""
    rng = random.Random(3)
    found = sorted(drawn(rng, spread=0, expected=expected, total=400, instances=10).tau for _ in range(200))

    assert found[100] == 0
    assert found[190] <= 0.4


def test_a_spread_is_measured_through_counting_noise() -> None:
    """100 fleets of ten with a spread of 0.5 and 60 failures each: the median of tau is near it."""
    rng = random.Random(4)
    found = sorted(drawn(rng, spread=0.5, expected=60, total=600, instances=10).tau for _ in range(100))

    assert 0.4 < found[50] < 0.55


def test_luck_that_changes_within_the_hour_is_seen() -> None:
    """Thirty fleets of ten with a spread of 0.4, drawn anew every ten minutes: the hour shows half of it, blocks show it."""
    rng, found = random.Random(6), []
    for _ in range(30):
        minutes: list[list[Tally]] = []
        for _ in range(6):
            lots = [math.exp(rng.gauss(0, 0.4)) for _ in range(10)]
            minutes += [
                [Tally(1000, max(round(rng.gauss(20 * one, math.sqrt(20 * one))), 0)) for one in lots]
                for _ in range(10)
            ]
        hour = [sum(column, Tally()) for column in zip(*minutes, strict=True)]
        found.append((luck_of(hour).tau, luck_of(hour, minutes).tau))

    assert sum(hour for hour, _ in found) / 30 < 0.25
    assert 0.35 < sum(blocks for _, blocks in found) / 30 < 0.45


def test_blocks_of_a_fleet_of_like_instances_add_no_luck() -> None:
    """100 times twenty minutes of six without spread, ten failures a block: blocks seldom say more than the whole."""
    rng, more = random.Random(8), 0
    for _ in range(100):
        minutes = [
            [Tally(100, sum(rng.random() < 0.01 for _ in range(100))) for _ in range(6)] for _ in range(20)
        ]
        whole = [sum(column, Tally()) for column in zip(*minutes, strict=True)]
        more += luck_of(whole, minutes).tau > luck_of(whole).tau

    assert more <= 5


def test_good_groups_are_seldom_beyond_the_margin_where_failures_are_many() -> None:
    """400 fleets of ten with a spread of 0.3 and 300 failures each: at a tail of 5 % at most 5 % of new pairs are beyond."""
    rng, beyond = random.Random(5), 0
    for _ in range(400):
        unlike = [math.exp(rng.gauss(0, 0.3)) for _ in range(20)]
        seen = [max(round(rng.gauss(300 * one, math.sqrt(300 * one))), 0) for one in unlike[:10]]
        widest = RHO * ratio(luck_of([Tally(10**6, x) for x in seen]), canary=2, stable=8, tail=0.05)
        beyond += sum(unlike[10:12]) / 2 > widest * sum(unlike[12:]) / 8

    assert beyond <= 20


@given(
    counts=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=40),
    canary=st.integers(0, 50),
    stable=st.integers(0, 50),
    tail=st.floats(1e-6, 0.4),
)
def test_the_ratio_is_finite_and_never_narrows_the_margin(
    counts: list[tuple[int, int]], canary: int, stable: int, tail: float
) -> None:
    """Any history, any number of instances; more instances never widen it."""
    luck = luck_of([Tally(n, min(n, x)) for n, x in counts])
    found = ratio(luck, canary=canary, stable=stable, tail=tail)

    assert math.isfinite(luck.tau)
    assert 0 <= luck.degrees <= max(len(counts) - 1, 0)
    assert 1.0 <= found < 1e9
    assert ratio(luck, canary=canary + 1, stable=stable, tail=tail) <= found
