"""How long requests take in the made-up world: lognormal, slower on a slow canary, and all at once in a pause.

Before it: `scene` names the numbers. After it: `serving` draws how many requests are above the bounds that the judge
counts at. Only the part above a bound is ever needed, which is exact whatever the shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controller.simulation.ranges import between

BOUNDS_S = tuple(0.001 * 1.2**k for k in range(61))
"""Upper bounds of the buckets of the simulated source, seconds: 1 ms to 56 s, each 1.2 times the one before."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Stops of one process, such as for collecting garbage: all its requests in that time take longer by its length.

    Args:
        every_s: Mean time between two of one process, seconds; they come independently.
        for_s: How long each is, seconds; all of it falls between two looks, so that a longer one is cut.
    """

    every_s: float = 20.0
    for_s: float = 0.2

    def __post_init__(self) -> None:
        between(self.every_s, 1, 86_400, "pauses")
        between(self.for_s, 0.001, 60, "pauses")


@dataclass(frozen=True, slots=True)
class Latency:
    """How long both versions take while nothing is wrong.

    Args:
        median_s: Seconds.
        sigma: Standard deviation of the logarithm, 0.01 to 3.
        pauses: Of each process of both versions; None for none.
    """

    median_s: float
    sigma: float = 0.5
    pauses: Pauses | None = None

    def __post_init__(self) -> None:
        between(1000 * self.median_s, 0.1, 60_000, "latency_ms")
        between(self.sigma, 0.01, 3, "latency_sigma")


@dataclass(frozen=True, slots=True)
class Slowness:
    """How a canary is slower, once its fault is there.

    Args:
        times: Every request takes so many times as long, 0.1 to 100.
        part: This part of its requests takes `by_s` longer, 0 to 1.
        by_s: Seconds.
        sigma: Its own standard deviation of the logarithm; None for the usual one.
    """

    times: float = 1.0
    part: float = 0.0
    by_s: float = 1.0
    sigma: float | None = None

    def __post_init__(self) -> None:
        between(self.times, 0.1, 100, "canary_slower")
        between(self.part, 0, 1, "canary_slow_part")
        between(1000 * self.by_s, 1, 600_000, "slow_ms")
        if self.sigma is not None:
            between(self.sigma, 0.01, 3, "canary_sigma")


def parts_above(
    latency: Latency, bounds_s: Sequence[float], slowness: Slowness, *, there: float, later_s: float = 0.0
) -> list[float]:
    """Return the part of requests that takes longer than each bound.

    Args:
        latency: The usual one.
        bounds_s: Seconds.
        slowness: Of the canary; the default for stable.
        there: How much of the slowness is there, 0 to 1.
        later_s: All take so much longer (a pause), seconds.
    """
    median_s = latency.median_s * (1.0 + there * (slowness.times - 1.0))
    own = latency.sigma if slowness.sigma is None else slowness.sigma
    sigma, part = latency.sigma + there * (own - latency.sigma), there * slowness.part
    found = []
    for bound_s in bounds_s:
        above = _above(bound_s - later_s, median_s, sigma)
        if part > 0.0:
            above += part * (_above(bound_s - later_s - slowness.by_s, median_s, sigma) - above)
        found.append(above)
    return found


def mean_s(latency: Latency, slowness: Slowness, *, there: float) -> float:
    """Return how long a request takes on average, seconds; arguments as of `parts_above`."""
    own = latency.sigma if slowness.sigma is None else slowness.sigma
    sigma = latency.sigma + there * (own - latency.sigma)
    usual_s = latency.median_s * (1.0 + there * (slowness.times - 1.0)) * math.exp(sigma**2 / 2)
    return usual_s + there * slowness.part * slowness.by_s


def _above(bound_s: float, median_s: float, sigma: float) -> float:
    if bound_s <= 0.0:
        return 1.0
    return 0.5 * math.erfc(math.log(bound_s / median_s) / (sigma * math.sqrt(2.0)))
