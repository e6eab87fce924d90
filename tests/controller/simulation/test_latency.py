"""How long requests take: closed forms, and what a fault and a pause do to them."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from controller.simulation.latency import BOUNDS_S, Latency, Slowness, mean_s, parts_above

USUAL = Slowness()
SCENE = Latency(median_s=0.05, sigma=0.5)


def test_bounds_grow_by_a_fifth() -> None:
    """From a millisecond to most of a minute."""
    assert BOUNDS_S[0] == 0.001
    assert 50 < BOUNDS_S[-1] < 60
    assert BOUNDS_S[7] / BOUNDS_S[6] == pytest.approx(1.2)


@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.9, 0.99])
def test_the_part_above_a_quantile_is_the_rest(quantile: float) -> None:
    """Lognormal: the logarithm is normal around the median's."""
    bound_s = 0.05 * math.exp(0.5 * NormalDist().inv_cdf(quantile))

    assert parts_above(SCENE, [bound_s], USUAL, there=0) == pytest.approx([1 - quantile])


def test_slower_by_a_factor_is_the_same_latency_at_other_bounds() -> None:
    """Half of a factor of 2 is a factor of 1.5; nothing of it is nothing."""
    slow, bounds_s = Slowness(times=2), [0.02, 0.06, 0.3]
    usual = parts_above(SCENE, [bound / 1.5 for bound in bounds_s], USUAL, there=0)

    assert parts_above(SCENE, bounds_s, slow, there=0.5) == pytest.approx(usual)
    assert parts_above(SCENE, bounds_s, slow, there=0) == parts_above(SCENE, bounds_s, USUAL, there=0)


def test_a_slow_part_is_above_every_bound_below_it() -> None:
    """2 % take a second longer: that part is above 900 ms, and the rest is as usual below."""
    slow = Slowness(part=0.02, by_s=1.0)

    (high,) = parts_above(SCENE, [0.9], slow, there=1)
    (low,) = parts_above(SCENE, [0.05], slow, there=1)

    assert high == pytest.approx(0.02, abs=1e-6)
    assert low == pytest.approx(0.98 * 0.5 + 0.02)


def test_a_pause_lifts_all_of_its_requests() -> None:
    """All are above its length, and half of them above its length and the median."""
    found = parts_above(SCENE, [0.2, 0.25], USUAL, there=0, later_s=0.2)

    assert found == pytest.approx([1.0, 0.5])


def test_the_mean_is_that_of_the_lognormal() -> None:
    """It is median * exp(sigma^2 / 2), more for a slow canary."""
    usual = 0.05 * math.exp(0.125)

    assert mean_s(SCENE, USUAL, there=0) == pytest.approx(usual)
    assert mean_s(SCENE, Slowness(times=3, part=0.1, by_s=1), there=1) == pytest.approx(3 * usual + 0.1)
    assert mean_s(SCENE, Slowness(sigma=1), there=1) == pytest.approx(0.05 * math.exp(0.5))
