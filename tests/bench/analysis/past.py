"""The hour before a release: base rate, clustering and unlikeness of the stable instances.

Before it: `worlds` gives the family. After it: `entrants` turns it into the rule our engine bets with. Mirrors
analysis.md 12.1 (luck margin) and 12.3 (block dispersion); reference values in test_bench_worlds.py.
"""

from __future__ import annotations

import math

import numpy as np

from tests.bench.analysis.fleets import SEGMENT_S, STABLE_INSTANCES
from tests.bench.analysis.shapes import Floats, Ints, Past
from tests.bench.analysis.worlds import Family

BLOCKS, BLOCK_S = 60, 60.0
HOUR_S = BLOCKS * BLOCK_S
LUCK_BLOCK = 10
"""Minutes of one block in which instances are compared; also over the whole hour."""
GENERATIONS = 5
"""Earlier versions whose instances are remembered for the luck margin."""
SAFETY = 1.15
"""The measured dispersion is one hour's; this much is added before it is trusted."""
RHO = 1.1
Z = {0.00125: 3.0233, 0.005: 2.5758, 0.025: 1.9600}
"""Normal quantiles of the upper tails in use."""


def look_back(
    family: Family, rps: float, base: float, stable: Floats, earlier: Floats, rng: np.random.Generator
) -> Past:
    """Draw the hour before and return what a controller learns from it.

    Args:
        family: Gives group sizes.
        rps: Requests a second of the whole target.
        base: Failing part.
        stable: Luck of the stable instances in that hour, (replications, instances, segments).
        earlier: Mean luck of instances of earlier generations, (replications, more instances).
        rng: Source of luck.
    """
    load = rps * BLOCK_S / STABLE_INSTANCES
    segment = (np.arange(BLOCKS) * BLOCK_S // SEGMENT_S).astype(np.int64)
    failed = _grouped(family, load * base * stable[:, :, segment].transpose(0, 2, 1), rng)
    total = failed + rng.poisson(load * (1 - base), failed.shape)
    n, x = total.sum(axis=(1, 2)), failed.sum(axis=(1, 2))
    hour = load * BLOCKS
    before = _grouped(family, hour * base * earlier, rng)
    everyone = np.concatenate([failed.sum(axis=1), before], axis=1)
    return Past(
        prior=np.clip((x + 0.5) / (n + 1.0), 1e-6, 0.5),
        phi=gated_dispersion(total, failed),
        tau=luck_spread(everyone, hour, failed, load),
        instances=everyone.shape[1],
    )


def _grouped(family: Family, expected: Floats, rng: np.random.Generator) -> Ints:
    mean_size = sum(family.sizes) / len(family.sizes)
    drawn = [rng.poisson(expected / (mean_size * len(family.sizes))) * size for size in family.sizes]
    total: Ints = np.sum(drawn, axis=0)
    return total


def dispersion(total: Ints, failed: Ints) -> tuple[Floats, Floats]:
    """Return phi and its degrees of freedom from (replications, blocks, instances); blocks without errors are skipped."""
    n, x = total.sum(axis=2, keepdims=True), failed.sum(axis=2, keepdims=True)
    expected = total * x / np.maximum(n, 1)
    chi2 = ((failed - expected) ** 2 / np.maximum(expected, 1e-12)).sum(axis=2) * (x[:, :, 0] > 0)
    df = ((x[:, :, 0] > 0) * (total.shape[2] - 1)).sum(axis=1)
    return chi2.sum(axis=1) / np.maximum(df, 1), df.astype(np.float64)


def gated_dispersion(total: Ints, failed: Ints) -> Floats:
    """Return the dispersion where it is significant, with the safety factor; 1 elsewhere."""
    phi, df = dispersion(total, failed)
    gate = 1 + 2 * np.sqrt(2 / np.maximum(df, 1))
    return np.where((df > 0) & (phi > gate), SAFETY * phi, 1.0)


def luck_spread(everyone: Ints, hour: float, failed: Ints, load: float) -> Floats:
    """Return tau over the hour, or within blocks of ten minutes where that is larger and surely there.

    Args:
        everyone: Failures of each remembered instance, (replications, instances).
        hour: Requests of one in the hour.
        failed: Failures of today's, (replications, minutes, instances).
        load: Requests of one in a minute.
    """
    tau, _ = spread(everyone[:, None, :], max(hour, 1.0))
    blocks = failed.reshape(len(failed), -1, LUCK_BLOCK, failed.shape[2]).sum(axis=2)
    changing, is_sure = spread(blocks, max(load * LUCK_BLOCK, 1.0))
    return np.where(is_sure, np.maximum(tau, changing), tau)


def spread(failed: Ints, n: float) -> tuple[Floats, Floats]:
    """Return tau, how much the log rates of instances differ beyond counting noise, and whether it surely does.

    As `controller.analysis.luck` has it: an instance that could be expected to show less than one failure in a block
    says nothing there, unless it failed five times.

    Args:
        failed: (replications, blocks, instances); instances are compared within a block.
        n: Requests of one instance in one block.
    """
    told = (failed.sum(axis=2, keepdims=True) / failed.shape[2] >= 1.0) | (failed >= 5)
    each = told.sum(axis=2)
    told &= (each > 1)[:, :, None]
    each = np.where(each > 1, each, 1)
    degrees = (each - 1).sum(axis=1)
    y = np.log((failed + 0.5) / (n + 0.5))
    middle = (y * told).sum(axis=2) / each
    squares = ((y - middle[:, :, None]) ** 2 * told).sum(axis=2)
    noises = (told / (failed + 0.5)).sum(axis=2) / each * (each - 1)
    variance = squares.sum(axis=1) / np.maximum(degrees, 1)
    noise = noises.sum(axis=1) / np.maximum(degrees, 1)
    surely = variance - noise > 2 * noise * np.sqrt(2 / np.maximum(degrees, 1))
    excess = np.maximum(variance - noise, 0.0)
    tau: Floats = np.sqrt(np.where(surely, np.maximum(excess, variance / 4), excess)) * (degrees > 0)
    return tau, surely & (degrees > 0)


def t_quantile(z: float, d: int) -> float:
    """Return Student's quantile from the normal one, by the expansion of analysis.md 12.1."""
    return (
        z
        + (z**3 + z) / (4 * d)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * d**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * d**3)
    )


def luck_margin(tau: Floats, instances: int, canary: int, stable: int, tail: float) -> Floats:
    """Return rho for one step; at most 10, the largest ratio a margin may hold."""
    t = t_quantile(Z[tail], instances - 1)
    return np.minimum(RHO * np.exp(t * tau * math.sqrt(1 / canary + 1 / stable)), 10.0)
