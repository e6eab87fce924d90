"""Whether the canary is dark: it was given a share, stable goes on serving, and no request reaches the canary.

Before it: the counts of each look (`controller.analysis.counting`). After it: the judge tells a quiet service, where
nobody has requests, from a canary that gets nothing of what there is; the first waits, the second is a fault of the
route or of the version. It is a test of the sample ratio (Lindon and Malek, NeurIPS 2022, arXiv 2011.03567)
against the one alternative that matters here.

The null: each request goes to the canary with a probability of at least half its share w, whatever happened before.
While the canary gets none, each stable request multiplies the odds against the null by 1 / (1 - w/2); a request of the
canary makes them 0. So a run, the looks from one with a canary request to the next, is a test martingale, and reaches
k (k + 1) / alpha with probability at most alpha / (k (k + 1)) (Ville's inequality). Run k, counted from 1, is held to
that; over any number of runs the bounds add up to alpha. The price of going on for ever is a longer first run: 210
stable requests at a share of 5 % and alpha = 1 %, where a test of one run only needs 182.

Where only some requests may meet the canary (`Evidence.has_audience`) nobody knows the part of the traffic that they
are. Then a canary that had requests in this step is measured by a quarter of the part that it had, since people come
and go; one that never had any by `LEAST_AUDIENCE`. What is said then is another thing (`Ground.AUDIENCE_AWAY`): nobody of
the audience comes, or the split does not work.

Tested by tests/controller/analysis/test_darkness.py: the bound by exact sums, and by simulated looks.
"""

from __future__ import annotations

import math
from dataclasses import replace

from controller.model.evidence import Darkness
from controller.model.share import EVERYTHING, BasisPoints

LEAST_PART = 0.5
"""Below this part of its share the canary's traffic is not what was asked for; above it, it may be chance or stickiness."""


LEAST_AUDIENCE = 0.001
"""Part of the traffic that an audience is taken to be at least, as long as none of it has come: at a share of 100 % and
alpha = 1 % a canary is looked for after 10 600 requests of the others."""
OF_FORMER = 0.25
"""Of the part of the traffic that the canary had so far in the step."""


def add_look(darkness: Darkness, *, stable: int, canary: int) -> Darkness:
    """Return the darkness after one look.

    Args:
        darkness: Before it.
        stable: Requests of stable since the look before.
        canary: Requests of the canary, likewise; one ends the run, and the look's stable requests with it.
    """
    if canary > 0:
        met = darkness.total + darkness.run + stable + canary
        return replace(begin_again(darkness), canary=darkness.canary + canary, total=met)
    return replace(darkness, run=darkness.run + stable)


def begin_again(darkness: Darkness) -> Darkness:
    """Begin a new run: after a canary request, and when the share changes, because a run is held to one share.

    What the canary had so far is forgotten as well.
    """
    return Darkness(run=0, restarts=darkness.restarts + 1)


def is_dark(darkness: Darkness, *, share: BasisPoints, alpha: float) -> bool:
    """Whether the canary gets less than half of its share, as far as a run without any can tell.

    Args:
        darkness: Of the canary, at one share since the run began.
        share: What the canary was given; with none it cannot be dark.
        alpha: Bound on the probability that this is ever said of a canary with at least half its share, 0 to 1.
    """
    longest = longest_run(darkness, share=share, alpha=alpha)
    return longest is not None and darkness.run >= longest


def longest_run(darkness: Darkness, *, share: BasisPoints, alpha: float) -> int | None:
    """Return at how many stable requests the present run becomes dark; None where no run ever does.

    Args:
        darkness: As for `is_dark`.
        share: Likewise.
        alpha: Likewise.
    """
    if share <= 0:
        return None
    return _longest(darkness, share / EVERYTHING, alpha)


def is_away(darkness: Darkness, *, share: BasisPoints, alpha: float) -> bool:
    """Whether a canary gets nothing although it has a share of an audience; arguments as of `is_dark`."""
    if share <= 0:
        return False
    part = audience_part(darkness)
    expected = LEAST_AUDIENCE * share / EVERYTHING if part is None else OF_FORMER * part
    return darkness.run >= _longest(darkness, expected, alpha)


def audience_part(darkness: Darkness, *, fewest: int = 1) -> float | None:
    """Return the part of all requests that the canary had so far in the step; None with fewer than `fewest` of its own."""
    return darkness.canary / darkness.total if darkness.canary >= fewest else None


def _longest(darkness: Darkness, part: float, alpha: float) -> int:
    """Return at how many stable requests a canary that should get `part` of all is dark."""
    k = darkness.restarts + 1
    nats = math.log(k) + math.log(k + 1) - math.log(alpha)
    return math.ceil(nats / -math.log1p(-LEAST_PART * part))
