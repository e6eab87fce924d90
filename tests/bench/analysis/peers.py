"""How others decide, from their documented rules, on the same counts as our engine.

Before it: `worlds` draws counts. After it: `run` sets their false rollbacks and delays beside ours. Re-implemented from
the rules as read in their sources, not run: Argo Rollouts 9f8d111 (docs/features/analysis.md, analysis/analysis.go),
Flagger 15bd6ad (pkg/apis, pkg/controller/scheduler.go), Kayenta a69573b (NetflixACAJudge, MannWhitneyClassifier), the
multiwindow burn rate of the SRE workbook, and a two-proportion z test repeated at every look. Their readings come from
a 15 s scrape, as their own guides have it. Actuation time is excluded for everybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from tests.bench.analysis.shapes import NEVER, Bools, Counts, Floats, Ints, Ladder

SCRAPE_S = 15
MINUTE = 60
NAMES = (
    "Argo 95 %, limit 3",
    "Argo 99 %, limit 3",
    "Flagger 99 %, 5 checks",
    "Kayenta",
    "SRE burn 14.4x",
    "naive z, 1 %",
)


class Scraped:
    """Cumulative counts as a 15 s scrape saw them."""

    def __init__(self, counts: Counts, ladder: Ladder):
        self._sums = {
            name: np.concatenate([np.zeros((len(array), 1), np.int64), np.cumsum(array, axis=1)], axis=1)
            for name, array in (("nb", counts.nb), ("xb", counts.xb), ("nc", counts.nc), ("xc", counts.xc))
        }
        self._look_s = ladder.look_s
        self.until_s = int(ladder.total_s)

    def at(self, name: str, when_s: float) -> Ints:
        """Return a cumulative count as known at a time."""
        seen_s = max(when_s, 0) // SCRAPE_S * SCRAPE_S
        found: Ints = self._sums[name][:, int(seen_s / self._look_s)]
        return found

    def between(self, name: str, from_s: float, until_s: float) -> Ints:
        """Return how much a count grew."""
        return self.at(name, until_s) - self.at(name, from_s)

    def failing(self, window_s: float, when_s: float) -> Floats:
        """Return the canary's failing part in a window; not a number where there was no request."""
        n = self.between("nc", when_s - window_s, when_s)
        x = self.between("xc", when_s - window_s, when_s)
        return np.where(n > 0, x / np.maximum(n, 1), np.nan)


def _decide(view: Scraped, every_s: int, rule: Callable[[int], Bools]) -> Ints:
    """Return the second of the first look at which the rule says so."""
    rows = len(view.at("nc", 0))
    decided = np.full(rows, NEVER)
    for when_s in range(every_s, view.until_s + 1, every_s):
        fresh = rule(when_s) & (decided == NEVER)
        decided[fresh] = when_s
    return decided


def argo(view: Scraped, *, least: float, failure_limit: int) -> Ints:
    """Each minute over five: success rate below the condition; 0/0 fails it too; more than the limit aborts."""
    failures = np.zeros(len(view.at("nc", 0)), np.int64)

    def rule(when_s: int) -> Bools:
        nonlocal failures
        failures = failures + ~(1 - view.failing(5 * MINUTE, when_s) >= least)
        return failures > failure_limit

    return _decide(view, MINUTE, rule)


def flagger(view: Scraped, *, least: float, threshold: int) -> Ints:
    """Each minute over one: no value is a failed check; checks add up and are acted on at the next tick."""
    failed = np.zeros(len(view.at("nc", 0)), np.int64)

    def rule(when_s: int) -> Bools:
        nonlocal failed
        acts = failed >= threshold
        failed = failed + ~(1 - view.failing(MINUTE, when_s) >= least)
        return acts

    return _decide(view, MINUTE, rule)


def kayenta(view: Scraped) -> Ints:
    """Each five minutes: Mann-Whitney over the minutes so far, 98 %, against a quarter of the estimated shift."""

    def minutes(x: str, n: str, until_s: int) -> Floats:
        starts = range(0, until_s, MINUTE)
        failed = np.stack([view.between(x, s, s + MINUTE) for s in starts], axis=1)
        total = np.stack([view.between(n, s, s + MINUTE) for s in starts], axis=1)
        return failed / np.maximum(total, 1)

    def rule(when_s: int) -> Bools:
        a, b = minutes("xc", "nc", when_s), minutes("xb", "nb", when_s)
        m = a.shape[1]
        shifts = np.sort((a[:, :, None] - b[:, None, :]).reshape(len(a), -1), axis=1)
        below = round(m * m / 2 - 2.326 * math.sqrt(m * m * (2 * m + 1) / 12))
        if below < 1:
            return np.zeros(len(a), np.bool_)
        estimate = np.median(shifts, axis=1)
        high: Bools = shifts[:, below - 1] > 0.25 * np.abs(estimate)
        return high

    return _decide(view, 5 * MINUTE, rule)


def burn(view: Scraped, *, budget: float = 0.001) -> Ints:
    """Each minute: 14.4 times the budget of a 99.9 % objective in one hour and in five minutes."""

    def rule(when_s: int) -> Bools:
        fast, slow = view.failing(5 * MINUTE, when_s), view.failing(60 * MINUTE, when_s)
        return (fast >= 14.4 * budget) & (slow >= 14.4 * budget)

    return _decide(view, MINUTE, rule)


def naive(counts: Counts, ladder: Ladder) -> Ints:
    """Every five seconds without scrape delay: one-sided z of all counts so far above the 1 % point."""
    step = max(round(5 / ladder.look_s), 1)
    nb, xb, nc, xc = (
        np.cumsum(a, axis=1)[:, step - 1 :: step] for a in (counts.nb, counts.xb, counts.nc, counts.xc)
    )
    pooled = (xb + xc) / np.maximum(nb + nc, 1)
    error = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(nb, 1) + 1 / np.maximum(nc, 1)))
    apart = xc / np.maximum(nc, 1) - xb / np.maximum(nb, 1)
    above = (apart > 2.326 * error) & (error > 0) & (nb > 0) & (nc > 0)
    first = (above.argmax(axis=1) + 1) * step * ladder.look_s
    return np.where(above.any(axis=1), first, NEVER).astype(np.int64)


def judge_all(counts: Counts, ladder: Ladder) -> Mapping[str, Ints]:
    """Return for each peer the second of its rollback, `NEVER` where it lets the release through."""
    view = Scraped(counts, ladder)
    found = (
        argo(view, least=0.95, failure_limit=3),
        argo(view, least=0.99, failure_limit=3),
        flagger(view, least=0.99, threshold=5),
        kayenta(view),
        burn(view),
        naive(counts, ladder),
    )
    return dict(zip(NAMES, found, strict=True))
