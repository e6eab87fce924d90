"""The ceiling: a failing rate that no canary may have, however badly stable does; odds against "it is at most that".

Before it: the counts of each look (`controller.analysis.counting`). After it: the judge rolls back at odds of 1/alpha,
as with `controller.analysis.wealth`, whose state, grid, masses, hedge and cap it shares. There is one arm: the rate of
stable is replaced by a constant, so that it also judges where there is nothing to compare with, such as the minutes
after a promotion.

Each part of the wealth bets on a rate t above the ceiling c. A failure multiplies it by t / c, a success by (1 - t) / (1
- c): the likelihood ratio of the sequential probability ratio test (Wald, Annals of Mathematical Statistics 16, 1945). At a rate p <= c one request is expected to multiply it by 1 + (t - c)(p - c) / (c (1 - c)) <= 1, so that
the total is a test supermartingale and reaches 1/alpha with probability at most alpha (Ville's inequality).

Tested by tests/controller/analysis/test_ceiling.py: exact expectation, reference values, and what a look can do.
"""

from __future__ import annotations

import math
from dataclasses import replace

from controller.analysis import wealth as comparing
from controller.analysis.wealth import CLAMP, HEDGE, HIGHEST_RATE, Bet
from controller.errors import InvalidInput
from controller.model.wealth import Predictor, Tally, Wealth


def add_look(wealth: Wealth, bet: Bet, ceiling: float, *, gap_s: float, canary: Tally) -> Wealth:
    """Return the wealth after one look; a look without canary requests only lets time pass.

    Args:
        wealth: Odds against "the canary fails at most at the ceiling" so far; `wealth.add_step` belongs to it too.
        bet: Planned time, cap and temper of the release; its margin and prior are not used here.
        ceiling: Highest failing rate, above 0 and below 1; from 0.999 on nothing is bet.
        gap_s: Since the look before, seconds.
        canary: Counted since the last look.

    Raises:
        InvalidInput: The ceiling is not a rate above 0 and below 1.
    """
    if not 0.0 < ceiling < 1.0:
        raise InvalidInput("expected a failing rate above 0 and below 1", field="ceiling")
    waited = comparing.add_look(wealth, bet, Predictor(), gap_s=gap_s, stable=Tally(), canary=Tally())
    if canary.total == 0 or ceiling >= HIGHEST_RATE:
        return waited
    parts = zip(waited.parts, bet.grid, strict=False)
    return replace(
        waited, parts=tuple(min(part * _growth(bet, ceiling, size, canary), CLAMP) for part, size in parts)
    )


def _growth(bet: Bet, ceiling: float, size: float, canary: Tally) -> float:
    """Return by how much one part grows: a hedged, capped, tempered bet on one rate above the ceiling."""
    rate = ceiling + (HIGHEST_RATE - ceiling) * size
    good = canary.total - canary.failed
    log_e = canary.failed * math.log(rate / ceiling) + good * math.log((1.0 - rate) / (1.0 - ceiling))
    return (1.0 - HEDGE) * math.exp(min(log_e / bet.temper, bet.cap)) + HEDGE
