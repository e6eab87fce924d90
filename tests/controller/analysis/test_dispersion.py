"""Dispersion: reference values, and simulated fleets with groups of failures, unlike instances, and both."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.dispersion import dispersion, plain_dispersion
from controller.model.wealth import Tally

Minutes = list[tuple[Tally, ...]]
MINUTES, INSTANCES, REQUESTS = 60, 6, 1000
FLEETS = 40


def minutes(*rows: tuple[int, ...]) -> Minutes:
    """A hundred requests a cell."""
    return [tuple(Tally(100, failed) for failed in row) for row in rows]


def hour(rng: random.Random, *, failures: float, group: int, spread: float) -> Minutes:
    """One hour of a fleet: lognormal rates with `spread`, failures in groups of `group` in one minute."""
    unlike = [math.exp(rng.gauss(0, spread)) for _ in range(INSTANCES)]
    mean = failures / group / MINUTES / INSTANCES
    return [
        tuple(Tally(REQUESTS, group * _poisson(rng, mean * factor)) for factor in unlike)
        for _ in range(MINUTES)
    ]


def _poisson(rng: random.Random, mean: float) -> int:
    left, drawn = math.exp(-mean), 0
    while (left := left / max(rng.random(), 1e-12)) < 1:
        drawn += 1
    return drawn


def found(*, failures: float, group: int, spread: float) -> list[float]:
    """Dispersions of the same forty fleets each time, sorted."""
    rng = random.Random(11)
    return sorted(dispersion(hour(rng, failures=failures, group=group, spread=spread)) for _ in range(FLEETS))


def test_reference_values_of_the_plain_form() -> None:
    """An independent implementation gave these."""
    assert plain_dispersion(minutes((4, 0, 0, 0), (0, 4, 0, 4), (0, 0, 0, 0))) == pytest.approx(
        3.833333, abs=1e-6
    )
    assert plain_dispersion(minutes(*[(1, 1, 0, 1)] * 10)) == 1.0


def test_own_rates_cost_degrees_of_freedom() -> None:
    """Two minutes and three failing instances leave two: chi squared is 12 of 12 failures, and 1.15 is added."""
    assert dispersion(minutes((4, 0, 0, 0), (0, 4, 0, 4), (0, 0, 0, 0))) == pytest.approx(1.15 * 12 / 2)


@pytest.mark.parametrize("failures", [10, 100, 1000])
def test_independent_failures_seldom_seem_to_come_in_groups(failures: float) -> None:
    """Like instances: at most one fleet in ten is tempered, and then by little."""
    phis = found(failures=failures, group=1, spread=0)

    assert phis[FLEETS * 9 // 10] == 1.0
    assert phis[-1] < 2


@pytest.mark.parametrize("failures", [100, 1000, 6000])
def test_unlike_instances_are_not_groups(failures: float) -> None:
    """With a spread of 0.3 and independent failures phi stays 1, where the plain form sees a dispersion."""
    phis = found(failures=failures, group=1, spread=0.3)

    assert phis[FLEETS * 9 // 10] == 1.0
    assert phis[-1] < 2


@pytest.mark.parametrize("spread", [0.0, 0.3])
@pytest.mark.parametrize("failures", [100, 1000])
def test_groups_of_three_are_seen_whether_instances_are_alike_or_not(failures: float, spread: float) -> None:
    """Phi is 3 with its safety, in every fleet, and a spread of 0.3 adds nothing to it."""
    phis = found(failures=failures, group=3, spread=spread)

    assert phis[0] > 2.7
    assert 3.2 < phis[FLEETS // 2] < 3.7
    assert phis[-1] < 4.6


def test_the_plain_form_takes_unlike_instances_for_groups() -> None:
    """Why each instance is expected to fail at its own rate: the same hour with a spread of 0.3 and no groups."""
    one = hour(random.Random(5), failures=6000, group=1, spread=0.3)

    assert plain_dispersion(one) > 1.5
    assert dispersion(one) == 1.0


def test_a_burst_that_all_instances_share_is_not_a_group() -> None:
    """One minute in which a third of everything fails, everywhere."""
    calm = hour(random.Random(6), failures=600, group=1, spread=0)
    burst = tuple(Tally(REQUESTS, 330 + k) for k in range(INSTANCES))

    assert dispersion([*calm, burst]) == 1.0


def test_an_instance_that_did_not_serve_is_left_out() -> None:
    """A replaced instance has empty minutes; they are neither failures nor successes."""
    served = minutes(*[(1, 2, 1), (2, 1, 1)] * 10)
    replaced = [(*row, Tally()) if n < 10 else (*row[:2], Tally(), row[2]) for n, row in enumerate(served)]

    assert dispersion(replaced) == 1.0
    assert dispersion([(*row, Tally()) for row in served]) == dispersion(served)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [()],
        [(Tally(5, 5),)],
        [(Tally(), Tally())],
        minutes((0, 0, 0)),
        minutes((9, 0, 0)),
        minutes((1, 1)),
    ],
)
def test_a_history_that_cannot_show_groups_gives_one(history: Minutes) -> None:
    """Nothing known is no reason to temper."""
    assert dispersion(history) == 1.0


@given(rows=st.lists(st.tuples(*[st.tuples(st.integers(0, 10**9), st.integers(0, 10**9))] * 3), max_size=12))
def test_phi_is_finite_and_at_least_one(rows: list[tuple[tuple[int, int], ...]]) -> None:
    """Any counts; the order of instances does not matter."""
    table = [tuple(Tally(n, min(x, n)) for n, x in row) for row in rows]

    assert 1.0 <= dispersion(table) < math.inf
    assert dispersion([row[::-1] for row in table]) == pytest.approx(dispersion(table))
