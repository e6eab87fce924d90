"""The rank-sum test of two samples: how sure one tends to be larger, by how much, and the order statistics around it.

Before it: values a minute of one metric, of both arms. After it: `controller.analysis.mann_whitney` turns the interval
of the shift into a classification. Definitions are those of Mann and Whitney (Annals of Mathematical Statistics 18,
1947) and Hodges and Lehmann (same journal 34, 1963); where others differ we follow R's wilcox.test, whose asymptotic
interval the judge of Kayenta uses. All of it treats a minute with five requests like one with five million.

Tested by tests/controller/analysis/test_rank_sum.py: published pairs, and exact enumeration.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

from controller.errors import InvalidInput

MOST_EXACT = 20
"""Values a side up to which p is exact, ties or not: 0.1 s of counting. Above it p is the normal approximation, which
is too large far out (0.0023 for 0.0018 at 20 values a side)."""
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class RankSum:
    """What the test says about two samples.

    Args:
        u: Pairs in which the first sample's value is the larger one; a tie is half a pair.
        less: Probability of so small a `u`, or a smaller one, for samples of one kind.
        greater: Of so large a `u`, or a larger one.
    """

    u: float
    less: float
    greater: float

    @property
    def differs(self) -> float:
        """Probability of a `u` as far out, on either side."""
        return min(1.0, 2 * min(self.less, self.greater))


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much the first sample is shifted against the second.

    Args:
        lower: Least shift that the confidence leaves room for, in the metric's unit.
        estimate: Median of all pairwise differences (Hodges and Lehmann).
        upper: Largest shift.
    """

    lower: float
    estimate: float
    upper: float


def rank_sum(first: Sequence[float], second: Sequence[float]) -> RankSum:
    """Compare two samples.

    Raises:
        InvalidInput: A sample is empty or has a value that is not finite, or all values are equal.
    """
    _check(first, second)
    ties = sorted(Counter([*first, *second]).items())
    if len(ties) == 1:
        raise InvalidInput("expected values that differ; equal ones have no order", field="values")
    u = _pairs(first, second)
    if max(len(first), len(second)) <= MOST_EXACT:
        return _exact(u, len(first), [size for _, size in ties])
    middle = len(first) * len(second) / 2
    deviation = _deviation(len(first), len(second), (size for _, size in ties))
    return RankSum(u, NORMAL.cdf((u - middle + 0.5) / deviation), NORMAL.cdf(-(u - middle - 0.5) / deviation))


def shift(first: Sequence[float], second: Sequence[float], *, confidence: float) -> Shift:
    """Return the interval of the shift: the test, inverted with the normal approximation and its continuity correction.

    Args:
        first: At least one value.
        second: Likewise. The work grows with the product of both sizes: meant for hours of minutes.
        confidence: Two-sided, above 0 and below 1.

    Raises:
        InvalidInput: A sample is empty or has a value that is not finite.
    """
    _check(first, second)
    apart = sorted(x - y for x in first for y in second)
    ties = [*Counter(first).values(), *Counter(second).values()]  # at a shift without ties across the samples
    z = NORMAL.inv_cdf(0.5 + confidence / 2)
    inside = math.floor(len(apart) / 2 + 0.5 + z * _deviation(len(first), len(second), ties)) + 1
    bound = min(inside, len(apart))  # too few values for the confidence: the whole range
    return Shift(lower=apart[-bound], estimate=median(apart), upper=apart[bound - 1])


def superiority(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the part of pairs in which the first sample's value is the larger one, 0 to 1; a tie is half a pair.

    The common language effect size (Vargha and Delaney, J. Educational and Behavioral Statistics 25, 2000).

    Raises:
        InvalidInput: A sample is empty or has a value that is not finite.
    """
    _check(first, second)
    return _pairs(first, second) / (len(first) * len(second))


def percentile(values: Sequence[float], q: float) -> float:
    """Return a percentile, with straight lines between values: R's type 7 (Hyndman and Fan, American Statistician 50, 1996).

    Args:
        values: At least one, in any order.
        q: Per cent, 0 to 100.

    Raises:
        InvalidInput: There is no value, or `q` is out of range.
    """
    if not values or not 0 <= q <= 100:
        raise InvalidInput("expected at least one value and a percentile from 0 to 100", field="values")
    ordered, place = sorted(values), (len(values) - 1) * q / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    between = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    return min(between, ordered[high])  # rounding must not lift it above a value that is there


def _check(first: Sequence[float], second: Sequence[float]) -> None:
    if not first or not second or not all(map(math.isfinite, (*first, *second))):
        raise InvalidInput("expected two samples of finite values", field="values")


def _pairs(first: Sequence[float], second: Sequence[float]) -> float:
    ordered = sorted(second)
    return sum(bisect_left(ordered, x) + bisect_right(ordered, x) for x in first) / 2


def _deviation(m: int, n: int, ties: Iterable[int]) -> float:
    """Return the standard deviation of u for samples of one kind, with groups of equal values."""
    tied = sum(size**3 - size for size in ties)
    total = m + n
    return math.sqrt(m * n / 12 * (total + 1 - tied / (total * (total - 1))))


def _exact(u: float, m: int, ties: Sequence[int]) -> RankSum:
    """Count in how many ways m of all values, which stand in groups of equal ones, have so small or large a rank sum."""
    ways, below = Counter({(0, 0): 1}), 0
    for size in ties:
        twice_rank, grown = 2 * below + size + 1, Counter[tuple[int, int]]()
        for (taken, ranks), count in ways.items():
            for more in range(min(size, m - taken) + 1):
                grown[taken + more, ranks + more * twice_rank] += count * math.comb(size, more)
        ways, below = grown, below + size
    all_ways, seen = math.comb(below, m), 2 * u + m * (m + 1)
    less = sum(count for (taken, ranks), count in ways.items() if taken == m and ranks <= seen)
    greater = sum(count for (taken, ranks), count in ways.items() if taken == m and ranks >= seen)
    return RankSum(u, less / all_ways, greater / all_ways)
