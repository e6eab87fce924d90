"""Instances that are not alike: each has a luck of its own, which it keeps for ever or for a while.

Before it: `worlds` has the rates of a service whose instances are alike. After it: `judge` draws counts. The luck is
lognormal and multiplies the failing rate of both versions alike.
"""

from __future__ import annotations

import math

import numpy as np

from tests.bench.analysis.shapes import Floats, Ladder
from tests.bench.analysis.worlds import Family, Rates

STABLE_INSTANCES = 12
SEGMENT_S = 100.0
"""Luck stays the same for so long at least."""


def luck(family: Family, rows: int, instances: int, seconds: float, rng: np.random.Generator) -> Floats:
    """Draw factors of the failing rate, (replications, instances, segments).

    Args:
        family: Its `spread` is the standard deviation of the log, `wander_s` how long luck is kept.
        rows: Replications.
        instances: How many.
        seconds: For how long.
        rng: Source of luck.
    """
    segments = max(math.ceil(seconds / SEGMENT_S), 1)
    if not family.spread:
        return np.ones((rows, instances, segments))
    kept = math.exp(-SEGMENT_S / family.wander_s) if family.wander_s else 1.0
    log = np.empty((rows, instances, segments))
    log[:, :, 0] = rng.normal(0.0, 1.0, (rows, instances))
    for segment in range(1, segments):
        fresh = rng.normal(0.0, 1.0, (rows, instances)) if kept < 1.0 else 0.0
        log[:, :, segment] = kept * log[:, :, segment - 1] + math.sqrt(1.0 - kept * kept) * fresh
    return np.exp(family.spread * log)


def with_luck(world: Rates, ladder: Ladder, canary: Floats, stable: Floats) -> Rates:
    """Return the world in which every instance has its own base rate.

    Args:
        world: Before.
        ladder: Gives the instances of each arm in each step.
        canary: Luck of the canary's instances, in the order in which they are started.
        stable: Luck of stable's, in the order in which they are kept.
    """
    if (canary == 1.0).all():
        return world
    step = ladder.step_of()
    segment = (np.arange(ladder.looks) * ladder.look_s // SEGMENT_S).astype(np.int64)
    means = np.stack([canary[:, : canary_instances(s)].mean(axis=1) for s in ladder.shares], axis=1)
    kept = np.stack([stable[:, : stable_instances(s)].mean(axis=1) for s in ladder.shares], axis=1)
    return Rates(
        world.load_b,
        world.load_c,
        np.minimum(world.pb * kept[:, step, segment], 1.0),
        np.minimum(world.pc * means[:, step, segment], 1.0),
    )


def canary_instances(share: float) -> int:
    """Return how many canary instances carry a share: at least two, on different nodes."""
    return max(2, round(share * STABLE_INSTANCES))


def stable_instances(share: float) -> int:
    """Return how many stable instances are left beside a share."""
    return max(2, STABLE_INSTANCES - canary_instances(share))
