"""Running odds against "the canary is tolerable": an e-process over all looks of a release.

Wealth starts at 1 and is spread over a grid of effect sizes and, through a reserve, over the times at which a fault may
begin. Each look multiplies every part of it by a fair bet (`projection`), so that the total is a test supermartingale
under the null, and P(it ever reaches 1/alpha) <= alpha at any number of looks (Ville's inequality; Ramdas, Grünwald,
Vovk and Shafer, Statistical Science 38, 2023, section 2.2). The sum over start times is the mixture of e-detectors (Shin,
Ramdas and Rinaldo, arXiv 2203.03532) with a total mass of at most 1, which bounds the probability of a false alarm ever.

Tested by tests/controller/analysis/test_wealth.py: reference values, exact expectation, split and resume.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf

from controller.analysis.projection import log_e
from controller.model.wealth import GRID_POINTS, Margin, Predictor, Tally, Wealth

GRID = tuple(0.4 / 3.3**j for j in range(GRID_POINTS))
"""Effect sizes: how far from the margin towards a rate of 0.999 the canary is predicted to be, 0.4 to 0.0003. A larger
one earns no more than `Bet.cap` lets it; without the smallest a fault just beyond the margin took 3 times as long."""
HIGHEST_RATE = 0.999
HEDGE = 0.02
"""Part of the wealth that is not bet at a look: one freak block costs at most ln 50 = 3.9 nats."""
STEP_MASS = 0.03
"""Wealth that comes in at a weight step, for faults that begin with load."""
SPREAD_MASS = 0.28
"""Wealth that comes in evenly over the planned duration, for faults that begin at any time."""
LARGEST_STEP = 0.75
"""A step never takes more than this part of the reserve, so that many steps cannot exhaust it."""
DEFAULT_MARGIN = Margin()
LARGEST_GAIN = 50.0
"""Nats that a look can win before any cap: more than it takes to lift any part that is still alive."""
CLAMP = 1e280
"""Wealth beyond this says nothing more; it matters up to 1/alpha only."""


@dataclass(frozen=True, slots=True)
class Bet:
    """How the looks of a release are bet on.

    Args:
        margin: What is tolerable.
        prior: Stable's failing rate before the release; above 0.
        plan_s: Planned judged time of the release, seconds; the spread mass comes in over it.
        half_life_s: Memory of the predictor of the stable rate, seconds.
        cap: Most nats that one look may add to a part: bounds what a skewed scrape or a cluster of errors can do. At
            3.5 two looks suffice on two metrics of equal weight; a stable arm that is read two looks late can decide.
        temper: Each bet is taken to the power 1/temper; at least 1. The bound on dependent requests, or a dispersion.
        restored: The odds up to which one look may lift a part that has become poor, whatever `cap` says: after a long
            good time a fault would else first climb back for several looks. At 1 such a look still says nothing.
            0: the cap alone.
        grid: The effect sizes, one a part.
        longest_s: After the planned time mass comes in as if the release took as long again as it has taken, and this
            long at most, seconds. With the planned time here, a release that had waited for a person for 8 hours
            needed 826 s for 5x errors at 10 canary requests/s, without an end 172 s.
    """

    margin: Margin = DEFAULT_MARGIN
    prior: float = 0.001
    plan_s: float = 2400.0
    half_life_s: float = 60.0
    cap: float = 3.5
    temper: float = 1.0
    restored: float = 1.0
    grid: tuple[float, ...] = GRID
    longest_s: float = inf


def expected_rate(predictor: Predictor, prior: float) -> float:
    """Return the predicted stable rate: what was seen, with half a failure of prior knowledge; never 0 or 1."""
    return min((predictor.failed + 0.5) / (predictor.seen + 0.5 / prior), 0.99)


def remember(predictor: Predictor, stable: Tally, *, gap_s: float, half_life_s: float) -> Predictor:
    """Return the predictor after a block; the block's own bet was placed before."""
    kept = 0.5 ** (gap_s / half_life_s)
    return Predictor(predictor.seen * kept + stable.total, predictor.failed * kept + stable.failed)


def add_step(wealth: Wealth) -> Wealth:
    """Bring in the mass of a weight step."""
    mass = min(STEP_MASS, LARGEST_STEP * wealth.reserve)
    return Wealth(_with_mass(wealth.parts, mass), max(wealth.reserve - mass, 0.0), wealth.elapsed_s)


def add_look(
    wealth: Wealth, bet: Bet, predictor: Predictor, *, gap_s: float, stable: Tally, canary: Tally
) -> Wealth:
    """Return the wealth after one look.

    A look without requests on both arms only lets time pass; the caller carries its requests over to the next.
    """
    mass = _spread(wealth, bet, gap_s)
    parts = _with_mass(wealth.parts, mass)
    if stable.total > 0 and canary.total > 0:
        parts = _grown(parts, bet, expected_rate(predictor, bet.prior), stable, canary)
    return Wealth(parts, max(wealth.reserve - mass, 0.0), wealth.elapsed_s + gap_s)


def _with_mass(parts: tuple[float, ...], mass: float) -> tuple[float, ...]:
    each = mass / len(parts)
    return tuple([part + each for part in parts])


def _spread(wealth: Wealth, bet: Bet, gap_s: float) -> float:
    """Return the mass of this look: even over the planned time, then a shrinking part of what is left."""
    if wealth.elapsed_s < bet.plan_s:
        mass = SPREAD_MASS * gap_s / bet.plan_s
    else:
        mass = wealth.reserve * gap_s / min(wealth.elapsed_s, bet.longest_s)
    return min(mass, LARGEST_STEP * wealth.reserve)


def _grown(parts: tuple[float, ...], bet: Bet, tb: float, stable: Tally, canary: Tally) -> tuple[float, ...]:
    """Return the parts after a hedged, capped, tempered bet on each effect size.

    The most that a part may grow is known before the look, and a bet that is cut is worth less: it stays fair.
    """
    rho, delta = bet.margin.rho, bet.margin.delta
    border = rho * tb + delta
    room = HIGHEST_RATE - border
    if room <= 0.0:
        return parts  # everything is tolerable here: nothing to bet on
    nb, xb, nc, xc = stable.total, stable.failed, canary.total, canary.failed
    capped, restored = exp(min(bet.cap, LARGEST_GAIN)), bet.restored / len(parts)
    grown = []
    # Evidence of another version may have fewer parts: any bet is fair, so a release that runs goes on with those.
    for part, size in zip(parts, bet.grid, strict=False):
        gain = log_e(nb, xb, nc, xc, tb, border + room * size, rho, delta) / bet.temper
        most = max(part * capped, restored)
        won = min(part * exp(min(gain, LARGEST_GAIN)), most)
        grown.append(min((1.0 - HEDGE) * won + HEDGE * part, CLAMP))
    return tuple(grown)
