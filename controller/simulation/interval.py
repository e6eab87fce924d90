"""How sure a counted probability is: the exact interval of Clopper and Pearson (Biometrika 26, 1934, p. 404).

Before it: `study` counts. After it: a table with "4 of 1000: 0.1 to 1.0 %". Tested by
tests/controller/simulation/test_interval.py.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.analysis.tails import at_most

ROUNDS = 60
"""Halvings of [0, 1]: below the resolution of a float."""


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


def _root(is_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(ROUNDS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return 0.5 * (low + high)
