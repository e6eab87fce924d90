"""How probable a failing part is by chance alone: binomial tails, and how often a sequence of looks crosses a bound.

Before it: a rate and a number of requests. After it: `soundness` predicts what a rule without a guarantee of its own
does to a version that is like stable, and `controller.simulation.interval` says how sure a counted frequency is.
Tested by tests/controller/analysis/test_tails.py against exact enumeration.
"""

from __future__ import annotations

import math
from statistics import NormalDist

NORMAL = NormalDist()
NEGLIGIBLE = 1e-18
LEAST, MOST = 1e-15, 1.0 - 1e-15
"""Probabilities are kept inside these where their quantile is asked for."""
NODES = 24
"""Half-steps of Simpson's rule: five digits for every correlation below 0.999."""
SPREAD = 5.0
PARTS = 16
"""A large Poisson number is taken at so many places within so many standard deviations on either side."""
MANY = 2_500.0
"""A variance with which a binomial tail of one in a thousand is a Gaussian one within a tenth."""
FEW = 60.0
"""A smaller mean is summed over every number."""


def at_most(count: int, runs: int, p: float) -> float:
    """Return the probability of at most `count` of `runs` successes."""
    if count >= runs * p:  # sum the smaller side: the other one's terms begin below what a float holds
        return 1.0 - _sum(runs - count - 1, runs, 1.0 - p)
    return _sum(count, runs, p)


def at_least(count: int, runs: int, p: float) -> float:
    """Return the probability of at least `count` of `runs` successes; from `MANY` on as a Gaussian has it."""
    variance = runs * p * (1.0 - p)
    if variance > MANY:
        return NORMAL.cdf((runs * p - count + 0.5) / math.sqrt(variance))
    return at_most(runs - count, runs, 1.0 - p)


def above(limit: float, rate: float, mean: float, *, least: int, is_reaching: bool = False) -> float:
    """Return the probability that a count of requests breaks a limit.

    Args:
        limit: The failing part that may not be passed, 0 to 1.
        rate: The failing part that is, 0 to 1.
        mean: Expected requests; their number is Poisson.
        least: Fewer requests break nothing.
        is_reaching: The limit itself breaks it already.
    """
    found = 0.0
    for runs, weight in _numbers(mean):
        if runs >= least:
            most = math.ceil(limit * runs) if is_reaching else math.floor(limit * runs) + 1
            found += weight * at_least(most, runs, rate)
    return min(found, 1.0)


def enough(mean: float, *, least: int) -> float:
    """Return the probability of at least `least` requests where `mean` are expected."""
    return min(sum(weight for runs, weight in _numbers(mean) if runs >= least), 1.0)


def newly(before: float, now: float, correlation: float) -> float:
    """Return the probability that a Gaussian sequence is above its bound now and was not at the last look.

    Args:
        before: Probability of being above at the last look.
        now: At this one.
        correlation: Of both, 0 to 1.
    """
    if not 0.0 < now < 1.0 or correlation >= 1.0:
        return max(now - before, 0.0)
    first, second = (-NORMAL.inv_cdf(min(max(one, LEAST), MOST)) for one in (before, now))
    return max(now - before * now - _together(first, second, correlation), 0.0)


def _together(first: float, second: float, correlation: float) -> float:
    """Return by how much two Gaussians are above both bounds more often than if they were independent.

    Plackett's identity (Biometrika 41, 1954, p. 351), the correlation written as a sine.
    """
    until = math.asin(correlation)
    total = 0.0
    for node in range(NODES + 1):
        angle = until * node / NODES
        sine = math.sin(angle)
        exponent = (first * first + second * second - 2.0 * first * second * sine) / (
            2.0 * (1.0 - sine * sine)
        )
        weight = 1.0 if node in (0, NODES) else 4.0 if node % 2 else 2.0
        total += weight * math.exp(-exponent)
    return total * until / (3.0 * NODES) / (2.0 * math.pi)


def _numbers(mean: float) -> list[tuple[int, float]]:
    """Return the numbers of requests that may come, each with its probability."""
    deviation = math.sqrt(mean)
    if mean <= FEW:
        most = math.ceil(mean + 8.0 * deviation + 8.0)
        return (
            [(n, math.exp(n * math.log(mean) - mean - math.lgamma(n + 1))) for n in range(most)]
            if mean > 0
            else [(0, 1.0)]
        )
    places = [SPREAD * (2 * part + 1 - PARTS) / PARTS for part in range(PARTS)]
    weights = [math.exp(-0.5 * place * place) for place in places]
    whole = sum(weights)
    return [
        (round(mean + place * deviation), weight / whole)
        for place, weight in zip(places, weights, strict=True)
    ]


def _sum(count: int, runs: int, p: float) -> float:
    """Add the terms from `count` down; count is below the mean, so that they fall from there."""
    if count < 0 or p >= 1.0:
        return 0.0
    if p <= 0.0:
        return 1.0
    log_term = (
        math.lgamma(runs + 1)
        - math.lgamma(count + 1)
        - math.lgamma(runs - count + 1)
        + count * math.log(p)
        + (runs - count) * math.log1p(-p)
    )
    term = total = math.exp(log_term)
    for place in range(count, 0, -1):
        term *= place / (runs - place + 1) * (1.0 - p) / p
        total += term
        if term <= NEGLIGIBLE * total:  # also where both are nothing
            break
    return min(total, 1.0)
