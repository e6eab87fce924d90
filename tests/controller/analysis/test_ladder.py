"""The latency ladder: which bounds are chosen, what is counted above them, and that the margins make sense."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.ladder import choose_rungs, exceedances
from controller.errors import InvalidInput
from controller.model.look import Exceedance
from controller.model.metric import LADDER, RungMargin
from controller.model.start import Rung

QUANTILES = tuple(one.quantile for one in LADDER)
FINE = tuple(0.001 * 1.2**k for k in range(60))
COARSE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def lognormal(
    bounds_s: tuple[float, ...], *, requests: int = 100_000, slower: float = 1.0
) -> tuple[int, ...]:
    """Expected buckets of latencies with a median of 50 ms and sigma 0.8: p90 139 ms, p99 321 ms."""
    normal = NormalDist(math.log(0.05 * slower), 0.8)
    below = [0.0, *(normal.cdf(math.log(bound)) for bound in bounds_s), 1.0]
    return tuple(round(requests * (high - low)) for low, high in pairwise(below))


def test_fine_buckets_have_a_rung_near_each_quantile() -> None:
    """With a growth of 1.2 each rung is within 10 % of the latency it is named after."""
    rungs = choose_rungs(FINE, lognormal(FINE), QUANTILES)

    assert [rung.quantile for rung in rungs] == [0.5, 0.9, 0.99]
    for rung, latency_s in zip(rungs, (0.05, 0.139, 0.321), strict=True):
        assert latency_s / 1.1 < rung.bound_s < latency_s * 1.1
        assert rung.prior == pytest.approx(1 - rung.quantile, rel=0.25)


def test_coarse_buckets_say_how_far_a_rung_is_from_its_quantile() -> None:
    """The bounds many services have: p99 is 321 ms, the rung nearest to it stands at 250 ms and 2.2 % are above it."""
    rungs = choose_rungs(COARSE, lognormal(COARSE), QUANTILES)

    assert [(rung.quantile, rung.bound_s) for rung in rungs] == [(0.5, 0.05), (0.9, 0.1), (0.99, 0.25)]
    assert [round(rung.prior, 3) for rung in rungs] == [0.5, 0.193, 0.022]


def test_an_objective_is_a_rung_of_its_own() -> None:
    """The bound nearest to it by ratio, with the margins of the quantile it is nearest to; once, if it is one already."""
    rungs = choose_rungs(COARSE, lognormal(COARSE), QUANTILES, objective_s=0.45)

    assert [(rung.quantile, rung.bound_s) for rung in rungs][-2:] == [(0.99, 0.25), (0.99, 0.5)]
    assert choose_rungs(COARSE, lognormal(COARSE), QUANTILES, objective_s=0.24) == rungs[:3]


def test_one_bucket_for_everything_has_one_rung() -> None:
    """All requests below the first bound: one rung, that none of stable's exceeded."""
    buckets = (1000,) + (0,) * len(COARSE)

    assert choose_rungs(COARSE, buckets, QUANTILES) == (Rung(0.99, 0.005, prior=0.5 / 1001),)


def test_a_version_above_every_bound_has_no_rung() -> None:
    """Requests that are all in the last bucket cannot become slower as far as anybody sees."""
    assert choose_rungs(COARSE, (0,) * len(COARSE) + (1000,), QUANTILES, objective_s=20) == ()


@pytest.mark.parametrize("buckets", [(), (0,) * 12, (50, 49) + (0,) * 10])
def test_little_history_freezes_nothing(buckets: tuple[int, ...]) -> None:
    """Fewer than a hundred requests say nothing about p99."""
    assert choose_rungs(COARSE if buckets else (), buckets, QUANTILES, objective_s=0.5) == ()


def test_exceedances_are_counted_above_the_bound() -> None:
    """A bucket holds what is at or below its bound; what is in it does not exceed it."""
    bounds = (0.1, 0.2, 0.4)
    rungs = (Rung(0.5, 0.1, 0.5), Rung(0.99, 0.4, 0.01))

    assert exceedances(bounds, (10, 20, 30, 40), rungs) == Exceedance(100, (90, 40))
    assert exceedances((), (), rungs) == Exceedance(0, (0, 0))


def test_buckets_that_do_not_fit_are_refused() -> None:
    """A source that changed its buckets is said aloud and never counted as fast."""
    with pytest.raises(InvalidInput):
        exceedances((0.1, 0.3), (1, 2, 3), (Rung(0.5, 0.2, 0.5),))
    with pytest.raises(InvalidInput):
        exceedances((0.1, 0.2), (1, 2), ())
    with pytest.raises(InvalidInput):
        choose_rungs((0.1, 0.2), (1, 200), QUANTILES)


@pytest.mark.parametrize("rung", LADDER)
def test_the_margins_leave_room_between_them(rung: RungMargin) -> None:
    """A few hundred requests prove a canary like stable acceptable."""
    rate = 1 - rung.quantile
    worst = rung.acceptable.rho * rate + rung.acceptable.delta
    divergence = rate * math.log(rate / worst) + (1 - rate) * math.log((1 - rate) / (1 - worst))

    assert math.log(20) / divergence < 474


@pytest.mark.parametrize(("slower", "over"), [(1.05, False), (1.6, True)])
def test_a_slower_version_is_over_the_margin_and_a_little_slower_one_is_not(
    slower: float, over: bool
) -> None:
    """Every request 5 % slower is tolerable at each rung, 60 % slower is not even acceptable."""
    rungs = choose_rungs(FINE, lognormal(FINE), QUANTILES)
    found = exceedances(FINE, lognormal(FINE, slower=slower), rungs)

    for rung, count, margins in zip(rungs, found.counts, LADDER, strict=True):
        margin = margins.acceptable if over else margins.tolerable
        assert (count / found.n > margin.rho * rung.prior + margin.delta) is over


@given(
    widths=st.lists(st.floats(1e-6, 10), min_size=1, max_size=30),
    counts=st.lists(st.integers(0, 10**9), min_size=31, max_size=31),
    objective_s=st.none() | st.floats(1e-9, 1e6),
)
def test_rungs_are_distinct_growing_bounds_of_the_source(
    widths: list[float], counts: list[int], objective_s: float | None
) -> None:
    """Any histogram: at most four rungs, and what they count of it is the share they name."""
    bounds = tuple(sum(widths[: k + 1]) for k in range(len(widths)))
    buckets = counts[: len(bounds) + 1]
    rungs = choose_rungs(bounds, buckets, QUANTILES, objective_s=objective_s)
    over = exceedances(bounds, buckets, rungs)

    assert len(rungs) <= 4
    assert all(low.bound_s < high.bound_s for low, high in pairwise(rungs))
    assert all(rung.bound_s in bounds for rung in rungs)
    assert [(count + 0.5) / (over.n + 1) for count in over.counts] == pytest.approx(
        [rung.prior for rung in rungs]
    )
