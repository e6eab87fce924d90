"""The latency ladder: a few bounds, frozen before a release, at which slow requests are counted like failed ones.

Before it: the histogram of the stable version (`controller.model.look.History`). After it: each look counts the
requests above each bound (`controller.model.look.Exceedance`), and the evidence judge bets on these counts with the
margins of the policy (`controller.model.metric.LADDER`). Counts above a bound are binomial whatever the shape of the latencies is, so that the same exact test
serves. Bands around the whole distribution (Howard and Ramdas, Bernoulli 28, 2022, arXiv 1906.09712) are as wide at p99
as at the median, where counts vary 25 times as much, and see a slower tail late.

Bounds are those of the source's buckets, because between them nobody counts. With coarse buckets (growth above 1.2) a
rung may be far from the quantile it is named after: its `prior` says what share of stable's requests was above it.

Tested by tests/controller/analysis/test_ladder.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.errors import InvalidInput
from controller.model.look import Exceedance
from controller.model.start import Rung

FEWEST_REQUESTS = 100
"""With fewer, no request need be above p99."""
MOST_ABOVE = 0.9
"""A bound that more requests exceed can hardly be exceeded by more."""


def choose_rungs(
    bounds_s: Sequence[float],
    buckets: Sequence[int],
    quantiles: Sequence[float],
    *,
    objective_s: float | None = None,
) -> tuple[Rung, ...]:
    """Choose the rungs nearest to stable's quantiles, and to the objective; growing, each bound once.

    Args:
        bounds_s: Upper bounds of the buckets, seconds, growing.
        buckets: Stable's requests in each, and one entry more for those above the last.
        quantiles: Those that the policy names, each with its margins; a rung has the one to which its bound is nearest.
        objective_s: What the service promises, seconds; None for no promise.

    Returns:
        No rung for fewer than 100 requests, or when nearly all are above every bound.

    Raises:
        InvalidInput: Bounds and buckets do not belong together.
    """
    _check(bounds_s, buckets)
    total = sum(buckets)
    if total < FEWEST_REQUESTS:
        return ()
    above = {bound: sum(buckets[place + 1 :]) / total for place, bound in enumerate(bounds_s)}
    usable = {bound: share for bound, share in above.items() if share <= MOST_ABOVE}
    if not usable:
        return ()
    chosen = {min(usable, key=lambda bound: _apart(usable[bound], 1 - q, total)) for q in quantiles}
    if objective_s is not None and objective_s > 0:
        nearest = min(bounds_s, key=lambda bound: _times(bound, objective_s))
        chosen |= {nearest} & usable.keys()
    return tuple(
        Rung(
            _named(usable[bound], total, quantiles), bound, prior=(usable[bound] * total + 0.5) / (total + 1)
        )
        for bound in sorted(chosen)
    )


def exceedances(bounds_s: Sequence[float], buckets: Sequence[int], rungs: Sequence[Rung]) -> Exceedance:
    """Return how many requests there are, and how many of them are above each rung's bound.

    Args:
        bounds_s: Upper bounds of the buckets, seconds, growing.
        buckets: Requests in each, and one entry more; both empty when nobody measures, which is no request.
        rungs: Chosen from the same bounds.

    Raises:
        InvalidInput: Bounds and buckets do not belong together, or a rung's bound is none of them.
    """
    _check(bounds_s, buckets)
    if not buckets:
        return Exceedance(0, (0,) * len(rungs))
    places = {bound: place for place, bound in enumerate(bounds_s)}
    if not all(rung.bound_s in places for rung in rungs):
        raise InvalidInput(
            "expected the buckets the ladder was chosen from; the source has others", field="bounds_s"
        )
    return Exceedance(sum(buckets), tuple(sum(buckets[places[rung.bound_s] + 1 :]) for rung in rungs))


def _check(bounds_s: Sequence[float], buckets: Sequence[int]) -> None:
    if len(buckets) != (len(bounds_s) + 1 if bounds_s else 0):
        raise InvalidInput("expected one bucket for each bound and one above them", field="buckets")


def _named(share: float, total: int, quantiles: Sequence[float]) -> float:
    return min(quantiles, key=lambda q: _apart(share, 1 - q, total))


def _apart(share: float, other: float, total: int) -> float:
    """Return how far apart two shares are as log odds: 4 % is as far from 1 % as 0.25 % is."""
    seen = (share * total + 0.5) / (total + 1)  # half a request keeps 0 and 1 finite
    return abs(math.log(seen / (1 - seen)) - math.log(other / (1 - other)))


def _times(bound_s: float, objective_s: float) -> float:
    """Return by what factor a bound misses the objective, either way."""
    return max(bound_s / objective_s, objective_s / bound_s) if bound_s > 0 else math.inf
