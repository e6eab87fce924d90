"""The margin for unlike instances: how far a good version may seem worse because its few instances are unlucky ones.

Before it: the history of a target (`controller.model.look.History`) with what each instance served. After it: the
evidence judge multiplies the tolerated ratio of each step by `ratio`. An unlucky instance (a slow node, a cold zone)
really fails more often, so that no number of requests helps; only more instances or a wider margin do.

The log failing rates of instances are taken as normal with spread tau. A new group of kc instances then stands to
another of kb at most exp(t * tau * sqrt(1/kc + 1/kb)) apart, with t of Student's quantiles: the prediction interval of
a normal sample (Hahn and Meeker, Statistical Intervals, 1991, chapter 4). Proved for normal log rates seen without
noise; for counts it is measured. tau is what the sample variance has beyond the mean counting noise, as Hedges and
Olkin have it (Statistical Methods for Meta-Analysis, 1985), on log(x + 1/2), whose bias is small (Gart and Zweifel,
Biometrika 54, 1967).

What it cannot do: where an instance shows few failures, or there are few instances, noise hides the spread, tau is 0 and
the margin does not grow. Of good groups of two out of fleets with a spread of 0.3 (4 000 each, tail 1/800, ratio 1.1)
these were beyond the margin: 5 instances 16, 4.2 and 0.3 % at 5, 30 and 300 failures an instance; 10 instances 12, 1.0
and 0.0 %; 20 instances 8, 0.1 and 0.0 %. Remembering instances of earlier versions helps most.

Tested by tests/controller/analysis/test_luck.py: reference values, exact t quantiles, fleets without and with spread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import NormalDist

from controller.model.start import Luck
from controller.model.wealth import Tally

FEWEST_EXPECTED = 1.0
"""Failures that an instance of the common rate must be expected to show before its own rate says anything: below it
log(x + 1/2) measures how many requests it had."""
SURELY_FAILED = 5
"""So many failures say something even where fewer than one was expected (by chance in 0.4 % of instances at most)."""
FEWEST_EXPANDED = 7
"""Degrees of freedom from which the expansion of the t quantile is used: its error is 0.4 % there at a tail of 1/800,
1.6 % at 1/10 000, both on the low side."""
BLOCK = 10
"""Minutes over which the luck of an instance is taken to last, where it does not last for ever."""
LARGEST_LOG = 20.0
"""No margin is that wide; it keeps one degree of freedom (t = 255) from running over the floats."""
HALVINGS = 60


def luck_of(instances: Sequence[Tally], minutes: Sequence[Sequence[Tally]] = ()) -> Luck:
    """Measure how unlike instances are; fewer than two that say anything give no luck.

    Luck that changes averages out over an hour, and a step is shorter. So the spread is measured within blocks of ten
    minutes as well, and the larger one counts; that of blocks only where it is surely there, because few failures a
    block would make like instances seem unlike.

    Args:
        instances: Each with all that is remembered of it; those without requests are left out.
        minutes: The newest of them minute by minute, as in `History.minutes`.
    """
    told = _telling(instances)
    if len(told) < 2:
        return Luck()
    blocks = [_telling(block) for block in _blocks(minutes)]
    spread, _ = _spread([told])
    changing, is_sure = _spread([block for block in blocks if len(block) > 1])
    return Luck(tau=math.sqrt(max(spread, changing if is_sure else 0.0)), degrees=len(told) - 1)


def _blocks(minutes: Sequence[Sequence[Tally]]) -> Iterator[list[Tally]]:
    for first in range(0, len(minutes), BLOCK):
        columns = zip(*minutes[first : first + BLOCK], strict=True)
        yield [sum(column, Tally()) for column in columns]


def _spread(groups: Sequence[Sequence[Tally]]) -> tuple[float, bool]:
    """Return the variance of log failing rates within groups beyond counting noise, and whether it is surely there."""
    degrees = sum(len(group) - 1 for group in groups)
    if degrees < 1:
        return 0.0, False
    variance = noise = 0.0
    for group in groups:
        logs = [math.log((one.failed + 0.5) / (one.total + 0.5)) for one in group]
        middle = sum(logs) / len(logs)
        variance += sum((each - middle) ** 2 for each in logs) / degrees
        noise += (len(group) - 1) / degrees * sum(1 / (one.failed + 0.5) for one in group) / len(group)
    excess = max(variance - noise, 0.0)
    if excess <= 2 * noise * math.sqrt(2 / degrees):
        return excess, False
    return max(excess, variance / 4), True  # surely unlike: the noise must not take most of it away


@lru_cache(maxsize=4096)
def ratio(luck: Luck, *, canary: int, stable: int, tail: float) -> float:
    """Return the factor, at least 1, by which the tolerated ratio of failing rates grows.

    Args:
        luck: How unlike instances are.
        canary: Instances of the canary; fewer than 1 counts as 1.
        stable: Instances of stable, likewise.
        tail: Probability that luck alone exceeds the factor at this step, above 0 and below 0.5.
    """
    if luck.tau <= 0.0 or luck.degrees < 1:
        return 1.0
    spread = luck.tau * math.sqrt(1 / max(canary, 1) + 1 / max(stable, 1))
    return math.exp(min(max(t_quantile(luck.degrees, tail) * spread, 0.0), LARGEST_LOG))


def t_quantile(degrees: int, tail: float) -> float:
    """Return what Student's t exceeds with probability `tail`.

    Args:
        degrees: Of freedom, at least 1. Below 7 the closed form is solved, from 7 on the expansion around the normal
            quantile is used (Abramowitz and Stegun 1964, 26.7.3 to 26.7.5, without its last term).
        tail: Above 0 and below 0.5.
    """
    if degrees < FEWEST_EXPANDED:
        return _solved(degrees, tail)
    z, d = -NormalDist().inv_cdf(tail), degrees
    return (
        z
        + (z**3 + z) / (4 * d)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * d**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * d**3)
    )


def _telling(instances: Sequence[Tally]) -> list[Tally]:
    served = [one for one in instances if one.total > 0]
    total = sum(one.total for one in served)
    rate = sum(one.failed for one in served) / total if total else 0.0
    return [one for one in served if one.total * rate >= FEWEST_EXPECTED or one.failed >= SURELY_FAILED]


def _solved(degrees: int, tail: float) -> float:
    """Halve the angle atan(t / sqrt(degrees)) down to the quantile; never below it."""
    low, high = 0.0, math.pi / 2
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _beyond(degrees, middle) > tail else (low, middle)
    return math.sqrt(degrees) * math.tan(high)


def _beyond(degrees: int, angle: float) -> float:
    """Return P(T > sqrt(degrees) * tan(angle)): Abramowitz and Stegun 26.7.3 for odd degrees, 26.7.4 for even."""
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2 == 1
    term, inside = (cosine, 0.0) if is_odd else (1.0, 0.0)
    for k in range(1 + is_odd, degrees, 2):
        inside += term
        term *= cosine * cosine * k / (k + 1)
    within = 2 / math.pi * (angle + sine * inside) if is_odd else sine * inside
    return 0.5 * (1.0 - within)
