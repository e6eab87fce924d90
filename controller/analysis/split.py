"""Whether the canary gets about the share it was given: not below a third of it and not above three times.

Before it: the counts of each look. After it: `surroundings` holds a release whose split does not do what it was told.
A sample-ratio test that goes on for ever (Lindon and Malek, NeurIPS 2022, arXiv 2011.03567) against two borders. Users
are sticky: all requests of one go to one arm, so that requests do not fall independently. If at most `SESSION` of them
belong together, the likelihood ratio to the power 1/SESSION is an e-value (analysis of groups in `wealth`: weighted
arithmetic and geometric means).

A run bets from odds of 1; when both bets have become poor the run is over and the next begins, so that a split that
breaks after a good hour is seen as soon as one that never worked. Run k (from 1) fires at k (k + 1) / alpha a side, so
that over any number of runs a split within the borders is called wrong with probability at most 2 alpha (Ville's
inequality a run, and the sum of 1/(k (k + 1)) is 1). Tested by tests/controller/analysis/test_split.py.
"""

from __future__ import annotations

import math
from enum import StrEnum

from controller.model.evidence import Split
from controller.model.share import EVERYTHING, BasisPoints

SESSION = 20
"""Requests of one user that may follow each other to the same arm within what the test looks at."""
LEAST_TIMES, MOST_TIMES = 1 / 3, 3.0
"""The borders, in times of the share that was asked for."""
BEYOND = 3.0
"""The bet is on a share so many times beyond the border."""
POOR_NATS = -2.0
"""Both bets at or below it end a run."""
HIGHEST = 0.995


class Side(StrEnum):
    """On which side of what was asked for the split is."""

    TOO_LITTLE = "too_little"
    TOO_MUCH = "too_much"


def add_look(
    split: Split, *, share: BasisPoints, stable: int, canary: int, has_audience: bool = False
) -> Split:
    """Return the two bets after a look.

    Args:
        split: Before it.
        share: What the canary was given; 0 bets nothing.
        stable: Requests of stable since the look before.
        canary: Likewise of the canary.
        has_audience: The share is of an unknown part of the traffic: too little cannot be told, too much still can.
    """
    if share <= 0:
        return split
    low, high = _borders(share)
    more = min(high * BEYOND, (1.0 + high) / 2)
    after = Split(
        low=0.0 if has_audience else split.low + _gain(low, low / BEYOND, stable, canary),
        high=split.high + _gain(high, more, stable, canary) if share < HIGHEST * EVERYTHING else 0.0,
        runs=split.runs,
    )
    is_over = (after.high if has_audience else max(after.low, after.high)) <= POOR_NATS
    return begin_again(after) if is_over else after


def begin_again(split: Split) -> Split:
    """Begin a new run: the old one has ended, or the share has changed."""
    return Split(runs=split.runs + 1)


def wrong_side(split: Split, *, alpha: float) -> Side | None:
    """Return on which side the split is surely wrong, None while it may be right.

    Args:
        split: The bets.
        alpha: Bound on the probability that a split at a border is ever called wrong on that side, 0 to 1.
    """
    bar = math.log(split.runs) + math.log(split.runs + 1) - math.log(alpha)
    if split.low >= bar:
        return Side.TOO_LITTLE
    return Side.TOO_MUCH if split.high >= bar else None


def _borders(share: BasisPoints) -> tuple[float, float]:
    asked = share / EVERYTHING
    return asked * LEAST_TIMES, min(asked * MOST_TIMES, HIGHEST)


def _gain(border: float, beyond: float, stable: int, canary: int) -> float:
    """Return the nats that a look adds to the bet on a share beyond the border, tempered for sticky users."""
    nats = canary * math.log(beyond / border) + stable * math.log((1.0 - beyond) / (1.0 - border))
    return nats / SESSION
