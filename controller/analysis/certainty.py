"""Proof that the canary is no worse than a margin, so that a step may end early.

The same bet as in `projection` with the sides swapped: the null is now "the canary is worse than the margin"
(p_canary >= rho * p_stable + delta), the predicted alternative is equality with stable. One bet, no mixture, restarted
at each step: a version that is exactly at the margin passes a step with probability at most beta (Ville's inequality),
and each step must be certified on its own, so that steps need no correction.

Tested by tests/controller/analysis/test_certainty.py.
"""

from __future__ import annotations

from math import exp

from controller.analysis.projection import exact_log_e
from controller.analysis.wealth import CLAMP, Bet, expected_rate
from controller.model.wealth import Margin, Predictor, Tally

LARGEST_GAIN = 1.5
"""Most nats that one look may prove: one look alone must not certify (ln 20 = 3.0), because requests that belong
together and stand in different looks would then certify by chance (18 % at the margin, measured; 1 % with this)."""
START = 1.0
"""The proof of a step begins here; at 1/beta the step is certified."""


def add_look(
    proof: float, margin: Margin, bet: Bet, predictor: Predictor, *, stable: Tally, canary: Tally
) -> float:
    """Return the proof after one look; a look without requests on both arms changes nothing.

    Args:
        proof: Odds against "worse than the margin" so far.
        margin: What would be too much.
        bet: Prior, cap and temper of the release; its own margin is not used here.
        predictor: Of the stable rate, before this look.
        stable: Counted since the last look.
        canary: Likewise.
    """
    if stable.total == 0 or canary.total == 0:
        return proof
    tb = expected_rate(predictor, bet.prior)
    gain = exact_log_e(
        stable.total, stable.failed, canary.total, canary.failed, tb, tb, margin.rho, margin.delta
    )
    return min(proof * exp(min(gain / bet.temper, bet.cap, LARGEST_GAIN)), CLAMP)
