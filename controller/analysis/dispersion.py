"""How much failures come together: the dispersion of the stable instances' failures, minute by minute.

Before it: the minutes of `controller.model.look.History`. After it: the evidence judge takes its bets to the power
1/phi (`controller.analysis.wealth.Bet.temper`). Retries of one failure, or one user's reloads, are counted as several
failures and carry the evidence of one. They meet one instance within a minute, so that instances differ more in a minute
than independent failures would: by the factor phi, Pearson's chi squared over its degrees of freedom (McCullagh and
Nelder, Generalized Linear Models, 1989, section 4.5.2). What all instances share, such as a common burst, does not
count, because each minute's expectations sum to its own failures.

Instances that are always unlike must not look like failures that come together: that is `controller.analysis.luck`. So
each is expected to fail at its own rate over the whole window, which costs degrees of freedom like the independence of
a two-way table. A minute must be longer than failures of one cause are apart. That tempering by 1/phi keeps false alarms
rare is measured, not proved; a known bound on the group size is both, and goes before this.

Tested by tests/controller/analysis/test_dispersion.py: reference values, and simulated fleets with and without groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from controller.model.wealth import Tally

SAFETY = 1.15
"""One window's dispersion is uncertain by itself; so much is added before it is trusted. Simulated with the plain form:
of good releases whose failures come in groups of 2 to 8 at most 0.1 % were then taken back (without tempering up to
97 %), with rare groups of 20 at little traffic up to 3.6 %: one window does not show those."""
GATE = 2.0
"""Standard deviations of chi squared over its degrees of freedom that phi must lie above 1 to be believed."""

NEIGHBOURS = 2 / 3
"""Independent differences that overlapping ones are worth, each."""

Minutes = Sequence[Sequence[Tally]]


def dispersion(minutes: Minutes) -> float:
    """Return phi, at least 1: how many counted failures carry the evidence of one; 1 where nothing shows it.

    Args:
        minutes: Rows by minute, columns by instance; an empty tally where an instance did not serve.
    """
    columns = [sum(column, Tally()) for column in zip(*minutes, strict=True)]
    rates = [one.failed / one.total if one.total else 0.0 for one in columns]
    chi2, cells, blocks, instances = _pearson(minutes, rates)
    return _believed(chi2, cells - blocks - (instances - 1))


def plain_dispersion(minutes: Minutes) -> float:
    """Return phi when all instances are expected to fail alike: the form to which the published values belong."""
    chi2, cells, blocks, _ = _pearson(minutes, [1.0] * (len(minutes[0]) if minutes else 0))
    return _believed(chi2, cells - blocks)


def _pearson(minutes: Minutes, rates: Sequence[float]) -> tuple[float, int, int, int]:
    """Return chi squared, and how many cells, minutes and instances it is made of.

    A minute without failures, or with fewer than two instances that served and ever fail, says nothing.
    """
    seen: set[int] = set()
    chi2, cells, blocks = 0.0, 0, 0
    for row in minutes:
        weights = {
            k: one.total * rate
            for k, (one, rate) in enumerate(zip(row, rates, strict=True))
            if one.total * rate > 0
        }
        failed, weight = sum(row[k].failed for k in weights), sum(weights.values())
        if failed == 0 or len(weights) < 2:
            continue
        for k, share in weights.items():
            expected = failed * share / weight
            chi2 += (row[k].failed - expected) ** 2 / expected
        cells, blocks, seen = cells + len(weights), blocks + 1, seen | weights.keys()
    return chi2, cells, blocks, len(seen)


def _believed(chi2: float, degrees: int) -> float:
    if degrees < 1 or chi2 <= degrees * (1 + GATE * math.sqrt(2 / degrees)):
        return 1.0
    return SAFETY * chi2 / degrees


def slow_dispersion(minutes: Sequence[tuple[int, int]]) -> float:
    """Return phi, at least 1, of slow requests: how many that come together carry the evidence of one.

    A pause makes all requests of its time slow. Latencies are not told apart by instance, so that minutes are compared
    with their neighbours: what changes slowly for everybody cancels (von Neumann, Annals of Mathematical Statistics 12,
    1941, on successive differences), and what comes and goes stays in.

    Args:
        minutes: (requests, those above the bound) of stable, minute by minute; a minute without requests is left out.
    """
    told = [(n, x) for n, x in minutes if n > 0]
    chi2, pairs = 0.0, 0
    for (n, x), (m, y) in pairwise(told):
        part = (x + y) / (n + m)
        if 0.0 < part < 1.0:
            chi2 += (x / n - y / m) ** 2 / (part * (1.0 - part) * (1.0 / n + 1.0 / m))
            pairs += 1
    # Differences that share a minute are not independent: 3/2 times the variance of as many that do not.
    return _believed(chi2 * NEIGHBOURS, math.floor(pairs * NEIGHBOURS))
