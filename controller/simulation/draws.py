"""Exact random counts from the standard library's generator: how many of n, and how many in a while.

Python 3.11 has no binomial draw. Two functions halve the problem with an order statistic (a beta or gamma draw) until
a few successes are left to be counted one by one: exact in distribution, a few microseconds for any n (Ahrens and
Dieter, Computing 12, 1974, sections 5 and 4). The other two draw many counts as binomials one after the other. Before
it: a seed. After it: `controller.simulation.serving`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

FEW = 12.0
"""Expected successes up to which counting one by one is cheaper than another halving."""


def binomial(random: Random, n: int, p: float) -> int:
    """Draw how many of n independent requests succeed, each with probability p (0 to 1)."""
    if p > 0.5:
        return n - binomial(random, n, 1.0 - p)
    found = 0
    while n * p > FEW:
        middle = n // 2 + 1
        cut = random.betavariate(middle, n + 1 - middle)  # where the middle one of n uniform points lies
        if cut <= p:
            found, n, p = found + middle, n - middle, (p - cut) / (1.0 - cut)
        else:
            n, p = middle - 1, p / cut
    return found + _one_by_one(random, n, p)


def poisson(random: Random, mean: float) -> int:
    """Draw how many requests come in a while in which `mean` are expected."""
    found = 0
    while mean > FEW:
        ahead = int(mean * 7 / 8)
        until = random.gammavariate(ahead, 1.0)  # when the request number `ahead` comes
        if until > mean:
            return found + binomial(random, ahead - 1, mean / until)
        found, mean = found + ahead, mean - until
    at = random.expovariate(1.0)
    while at <= mean:
        found, at = found + 1, at + random.expovariate(1.0)
    return found


def multinomial(random: Random, n: int, parts: Sequence[float]) -> list[int]:
    """Draw how n requests fall into places that are reached with these parts; halves with nothing in them cost nothing.

    Args:
        random: Where chance comes from.
        n: Requests.
        parts: At least one, none below 0, together above 0; only their proportions matter.
    """
    if len(parts) == 1 or n == 0:
        return [n, *[0] * (len(parts) - 1)]
    middle = len(parts) // 2
    left, right = sum(parts[:middle]), sum(parts[middle:])
    ahead = binomial(random, n, left / (left + right)) if left + right > 0.0 else 0
    return [*multinomial(random, ahead, parts[:middle]), *multinomial(random, n - ahead, parts[middle:])]


def nested(random: Random, n: int, parts: Sequence[float]) -> list[int]:
    """Draw how many of n requests are above each of growing bounds.

    Args:
        random: Where chance comes from.
        n: Requests.
        parts: That are above each bound, 0 to 1, never growing.
    """
    found, before = [], 1.0
    for part in parts:
        n = binomial(random, n, min(part / before, 1.0)) if before > 0.0 else 0
        found.append(n)
        before = part
    return found


def _one_by_one(random: Random, n: int, p: float) -> int:
    """Count successes by the gaps between them, which are geometric."""
    if p <= 0.0:
        return 0
    if p >= 1.0:
        return n
    found, place, log_miss = 0, 0, math.log1p(-p)
    while True:
        gap = math.log1p(-random.random()) / log_miss
        if gap >= n - place:
            return found
        found, place = found + 1, place + int(gap) + 1
