"""Slower versions: exceedance counts at three frozen bounds, averaged into one e-process.

Before it: nothing; latency has its own cells. After it: `run` and `page`. The world is lognormal (sigma 0.8) as in
analysis.md 6; the reported shifts and the mixture are other ones than those it was tuned on.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from tests.bench.analysis.cells import REPORTED_LADDER
from tests.bench.analysis.judge import SEED
from tests.bench.analysis.shapes import Counts, Floats, Ints, Rule
from tests.bench.analysis.vectorised import first_at_least, log_odds

SIGMA = 0.8
EXCEEDED = (0.5, 0.1, 0.01)
"""Stable's part above each bound: the bounds are its p50, p90 and p99."""
MARGINS = ((1.05, 0.02), (1.1, 0.01), (1.25, 0.0025))
WEIGHT = 0.4
"""Of the wealth, beside errors (0.5) and others (0.1)."""
THRESHOLD = math.log(100 / WEIGHT)
BATCH = 100


@dataclass(frozen=True, slots=True)
class Slower:
    """One version: every request `factor` times slower, and `slow` of them above every bound."""

    name: str
    rps: float
    factor: float = 1.0
    slow: float = 0.0

    def exceeded(self) -> tuple[float, ...]:
        """Return the canary's part above each bound."""
        normal = NormalDist()
        shift = math.log(self.factor) / SIGMA
        parts = [1 - normal.cdf(normal.inv_cdf(1 - e) - shift) for e in EXCEEDED]
        return tuple(self.slow + (1 - self.slow) * part for part in parts)


def cells() -> tuple[Slower, ...]:
    """Return every version at every rate."""
    shapes = (
        ("alike", 1.0, 0.0),
        ("x1.1", 1.1, 0.0),
        ("x1.3", 1.3, 0.0),
        ("x2", 2.0, 0.0),
        ("+2 % slow", 1.0, 0.02),
    )
    return tuple(Slower(f"latency/{n}/{rps:g} rps", rps, f, s) for n, f, s in shapes for rps in (6, 80, 1500))


def judge_latency(cell: Slower, replications: int) -> dict[str, Any]:
    """Return how often and how fast the ladder sees the version."""
    found = [_first(cell, min(BATCH, replications - begin), begin) for begin in range(0, replications, BATCH)]
    at = np.concatenate(found)
    seen = at[at >= 0] + 1.0
    outcome: dict[str, Any] = {
        "cell": cell.name,
        "kind": "latency",
        "replications": replications,
        "seen": int(seen.size),
    }
    if seen.size:
        outcome |= {"median_s": float(np.median(seen)), "p95_s": float(np.quantile(seen, 0.95))}
    return outcome


def _first(cell: Slower, rows: int, begin: int) -> Ints:
    rng = np.random.default_rng([SEED, zlib.crc32(cell.name.encode()), begin])
    ladder = REPORTED_LADDER
    share = np.broadcast_to(ladder.share_of(), (rows, ladder.looks))
    nb, nc = rng.poisson(cell.rps * (1 - share)), rng.poisson(cell.rps * share)
    stable, canary = _nested(nb, EXCEEDED, rng), _nested(nc, cell.exceeded(), rng)
    odds: list[Floats] = []
    for (rho, delta), prior, xb, xc in zip(MARGINS, EXCEEDED, stable, canary, strict=True):
        rule = Rule(
            rho=np.full((rows, len(ladder.shares)), rho),
            delta=delta,
            prior=np.full(rows, prior),
            temper=np.ones(rows),
            plan_s=ladder.total_s,
        )
        odds.append(log_odds(Counts(nb=nb, xb=xb, nc=nc, xc=xc), ladder, rule))
    return first_at_least(np.logaddexp.reduce(odds, axis=0) - math.log(len(odds)), THRESHOLD)


def _nested(total: Ints, parts: tuple[float, ...], rng: np.random.Generator) -> list[Ints]:
    """Return how many exceed each bound; who exceeds a higher one exceeds the lower ones."""
    found, above, before = [], total, 1.0
    for part in parts:
        above = rng.binomial(above, part / before)
        before = part
        found.append(above)
    return found
