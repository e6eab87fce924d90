"""Our engine in the forms that are reported, judged on the counts of one cell.

Before it: `worlds` and `past` draw counts and history. After it: `run` collects the looks of the rollbacks.

"one metric" is the errors alone at odds of 100 to 1, margin 1.1 x + 0.05 points. "two metrics" needs 200 to 1: half of
the wealth is on another metric, which sees nothing. "fleet" is what a release with remembered instances gets: the
margin of instance luck, and 200 to 1 (alpha 0.5 % beside 2 % luck) where false rollbacks are counted, 400 to 1 (two
metrics as well) where delays are: the harder of the two for us each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from controller.analysis.wealth import DEFAULT_MARGIN
from tests.bench.analysis.cells import Cell, warm_up_looks
from tests.bench.analysis.fleets import canary_instances, stable_instances
from tests.bench.analysis.past import luck_margin
from tests.bench.analysis.shapes import NEVER, Bools, Counts, Floats, Ints, Past, Rule
from tests.bench.analysis.vectorised import log_odds

ALPHA = 0.01
MARGIN_RHO, MARGIN_DELTA = DEFAULT_MARGIN.rho, DEFAULT_MARGIN.delta
ONE_METRIC = math.log(1 / ALPHA)
TWO_METRICS = math.log(2 / ALPHA)
FLEET_FALSE = math.log(2 / ALPHA)
FLEET_DELAY = math.log(4 / ALPHA)
LUCK_TAIL = 0.005
"""2 % of luck over four steps."""
RAIL_REQUESTS, RAIL_PART, RAIL_LOOKS = 10, 0.5, 10


@dataclass(frozen=True, slots=True)
class Odds:
    """Log odds after each look, in both forms."""

    plain: Floats
    lucky: Floats


def odds(counts: Counts, past: Past, cell: Cell) -> Odds:
    """Judge the cell with and without the margin of instance luck."""
    ladder, rows = cell.ladder, len(past.prior)
    temper = past.phi if cell.family.bound is None else np.full(rows, float(cell.family.bound))

    def under(rho: Floats, which: Bools) -> Floats:
        rule = Rule(
            rho=rho,
            delta=MARGIN_DELTA,
            prior=past.prior[which],
            temper=temper[which],
            plan_s=ladder.total_s,
            warm_looks=warm_up_looks(ladder),
        )
        part = Counts(counts.nb[which], counts.xb[which], counts.nc[which], counts.xc[which])
        return log_odds(part, ladder, rule)

    plain = under(np.full((rows, len(ladder.shares)), MARGIN_RHO), np.ones(rows, np.bool_))
    unlike = past.tau > 0
    if not unlike.any():
        return Odds(plain=plain, lucky=plain)
    steps = [(canary_instances(s), stable_instances(s)) for s in ladder.shares]
    margins = [luck_margin(past.tau[unlike], past.instances, kc, kb, LUCK_TAIL) for kc, kb in steps]
    lucky = plain.copy()
    lucky[unlike] = under(np.stack(margins, axis=1), unlike)
    return Odds(plain=plain, lucky=lucky)


def rail(counts: Counts, *, until: int | None = None) -> Ints:
    """Return the look at which the hard rail acts: at least half of at least ten requests failing within ten looks.

    Args:
        counts: Of both arms; the rail looks at the canary alone.
        until: It sleeps from this look on; None for never.
    """

    def window(array: Ints) -> Ints:
        sums = np.cumsum(array, axis=1)
        sums[:, RAIL_LOOKS:] -= sums[:, :-RAIL_LOOKS].copy()
        return sums

    n, x = window(counts.nc), window(counts.xc)
    acts = (n >= RAIL_REQUESTS) & (x >= RAIL_PART * n)
    if until is not None:
        acts[:, until:] = False
    return np.where(acts.any(axis=1), acts.argmax(axis=1), NEVER)
