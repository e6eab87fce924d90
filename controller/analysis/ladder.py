"""The latency ladder: a few bounds, frozen before a release, at which slow requests are counted like failed ones.

Before it: the histogram of the stable version (`controller.model.look.History`). After it: each look counts the
requests above each bound (`controller.model.look.Exceedance`), and the evidence judge bets on these counts with the
margins here. Counts above a bound are binomial whatever the shape of the latencies is, so that the same exact test
serves. Bands around the whole distribution (Howard and Ramdas, Bernoulli 28, 2022, arXiv 1906.09712) are as wide at p99
as at the median, where counts vary 25 times as much, and see a slower tail late.

Bounds are those of the source's buckets, because between them nobody counts. With coarse buckets (growth above 1.2) a
rung may be far from the quantile it is named after: each says what share of stable's requests was above it.

Tested by tests/controller/analysis/test_ladder.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import InvalidInput
from controller.model.wealth import Margin

QUANTILES = (0.5, 0.9, 0.99)
FEWEST_REQUESTS = 100
"""With fewer, no request need be above p99."""
MOST_ABOVE = 0.9
"""A bound that more requests exceed can hardly be exceeded by more."""
TOLERABLE = {0.5: Margin(1.05, 0.02), 0.9: Margin(1.1, 0.01), 0.99: Margin(1.25, 0.0025)}
"""By quantile. For lognormal latencies with sigma 0.8, every request 9 to 13 % slower."""
ACCEPTABLE = {0.5: Margin(1.2, 0.05), 0.9: Margin(1.5, 0.03), 0.99: Margin(2.0, 0.01)}
"""By quantile; what a step must prove the canary to be better than. For the same latencies every request 34 to 43 %
slower. So wide that latency never holds a step longer than failures do: a canary like stable is told from it by 64, 120
and 325 requests (log 20 / KL, as in `odds.needed`), one at the tolerable border by 128, 222 and 635; failures need 474
at a rate of 0.5 % and a margin of 1.5 x + 1 point."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One bound of the ladder.

    Args:
        quantile: Of `QUANTILES` the one to which the bound is nearest; chooses the margins.
        bound_s: Requests that took longer are counted, seconds.
        above: Share of stable's requests that were above it when it was chosen, 0 to 1: compare with 1 - quantile.
    """

    quantile: float
    bound_s: float
    above: float

    @property
    def tolerable(self) -> Margin:
        """How many more of the canary's requests may be above the bound."""
        return TOLERABLE[self.quantile]

    @property
    def acceptable(self) -> Margin:
        """At so many more a step is not certified."""
        return ACCEPTABLE[self.quantile]


def choose_bounds(
    bounds_s: Sequence[float], buckets: Sequence[int], *, objective_s: float | None
) -> tuple[Rung, ...]:
    """Choose the rungs nearest to stable's p50, p90 and p99, and to the objective; growing, each bound once.

    Args:
        bounds_s: Upper bounds of the buckets, seconds, growing.
        buckets: Stable's requests in each, and one entry more for those above the last.
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
    chosen = {min(usable, key=lambda bound: _apart(usable[bound], 1 - q, total)) for q in QUANTILES}
    if objective_s is not None and objective_s > 0:
        nearest = min(bounds_s, key=lambda bound: _times(bound, objective_s))
        chosen |= {nearest} & usable.keys()
    return tuple(Rung(_named(usable[bound], total), bound, usable[bound]) for bound in sorted(chosen))


def exceedances(
    bounds_s: Sequence[float], buckets: Sequence[int], rungs: Sequence[Rung]
) -> tuple[int, tuple[int, ...]]:
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
        return 0, (0,) * len(rungs)
    places = {bound: place for place, bound in enumerate(bounds_s)}
    if not all(rung.bound_s in places for rung in rungs):
        raise InvalidInput(
            "expected the buckets the ladder was chosen from; the source has others", field="bounds_s"
        )
    return sum(buckets), tuple(sum(buckets[places[rung.bound_s] + 1 :]) for rung in rungs)


def _check(bounds_s: Sequence[float], buckets: Sequence[int]) -> None:
    if len(buckets) != (len(bounds_s) + 1 if bounds_s else 0):
        raise InvalidInput("expected one bucket for each bound and one above them", field="buckets")


def _named(share: float, total: int) -> float:
    return min(QUANTILES, key=lambda q: _apart(share, 1 - q, total))


def _apart(share: float, other: float, total: int) -> float:
    """Return how far apart two shares are as log odds: 4 % is as far from 1 % as 0.25 % is."""
    seen = (share * total + 0.5) / (total + 1)  # half a request keeps 0 and 1 finite
    return abs(math.log(seen / (1 - seen)) - math.log(other / (1 - other)))


def _times(bound_s: float, objective_s: float) -> float:
    """Return by what factor a bound misses the objective, either way."""
    return max(bound_s / objective_s, objective_s / bound_s) if bound_s > 0 else math.inf
