"""How sure a counted probability is: the exact interval of Clopper and Pearson (Biometrika 26, 1934, p. 404).

Before it: `study` counts. After it: a table with "4 of 1000: 0.1 to 1.0 %". Tested by
tests/controller/simulation/test_interval.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

ROUNDS = 60
"""Halvings of [0, 1]: below the resolution of a float."""
NEGLIGIBLE = 1e-18


def exact_interval(count: int, runs: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the lower and upper bound of the probability behind `count` of `runs`.

    Args:
        count: 0 to `runs`.
        runs: At least 1.
        level: At least this part of such intervals holds the truth, 0 to 1.
    """
    tail = (1.0 - level) / 2.0
    low = 0.0 if count == 0 else _root(lambda p: 1.0 - at_most(count - 1, runs, p) < tail)
    high = 1.0 if count == runs else _root(lambda p: at_most(count, runs, p) > tail)
    return low, high


def at_most(count: int, runs: int, p: float) -> float:
    """Return the probability of at most `count` of `runs` successes."""
    if count >= runs * p:  # sum the smaller side: the other one's terms begin below what a float holds
        return 1.0 - _sum(runs - count - 1, runs, 1.0 - p)
    return _sum(count, runs, p)


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
        if term < NEGLIGIBLE * total:
            break
    return min(total, 1.0)


def _root(is_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(ROUNDS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return 0.5 * (low + high)
