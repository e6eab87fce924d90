"""The engine over many replications at once: wealth and certification, compiled.

Before it: `worlds` draws counts. After it: `run` looks for the first look above a threshold. It is not a second
engine: test_bench_vectorised.py holds it to `controller.analysis` within 1e-9 on 10 000 seeded paths.

A look at which one arm had no request carries its counts over to the next one, as the judge does.
"""

from __future__ import annotations

import math

import numpy as np

from controller.analysis.certainty import LARGEST_GAIN as LARGEST_PROOF
from controller.analysis.wealth import (
    CLAMP,
    GRID,
    HEDGE,
    HIGHEST_RATE,
    LARGEST_GAIN,
    LARGEST_STEP,
    SPREAD_MASS,
    STEP_MASS,
)
from controller.model.wealth import START_MASS
from tests.bench.analysis.bets import log_e
from tests.bench.analysis.compiled import compiled
from tests.bench.analysis.shapes import NEVER, Counts, Floats, Ints, Ladder, Rule

POINTS = len(GRID)
SIZES = np.asarray(GRID)


def log_odds(counts: Counts, ladder: Ladder, rule: Rule) -> Floats:
    """Return the log odds against "tolerable" after each look, (replications, looks)."""
    out = np.empty(counts.nb.shape)
    _bet_all(
        counts.nb,
        counts.xb,
        counts.nc,
        counts.xc,
        ladder.step_of(),
        ladder.look_s,
        rule.rho,
        rule.delta,
        rule.prior,
        rule.temper,
        rule.plan_s,
        0.5 ** (ladder.look_s / rule.half_life_s),
        rule.cap,
        rule.restored,
        rule.warm_looks,
        SIZES,
        out,
    )
    return out


def log_proofs(counts: Counts, ladder: Ladder, rule: Rule) -> Floats:
    """Return log of the proof that the canary is within `rule`'s margin, begun anew at each step."""
    out = np.empty(counts.nb.shape)
    _prove_all(
        counts.nb,
        counts.xb,
        counts.nc,
        counts.xc,
        ladder.step_of(),
        rule.rho,
        rule.delta,
        rule.prior,
        rule.temper,
        0.5 ** (ladder.look_s / rule.half_life_s),
        rule.cap,
        rule.warm_looks,
        out,
    )
    return out


def first_at_least(paths: Floats, threshold: float) -> Ints:
    """Return the first look of each replication at or above the threshold, `NEVER` where there is none."""
    above = paths >= threshold
    return np.where(above.any(axis=1), above.argmax(axis=1), NEVER)


@compiled
def _bet_all(
    nb: Ints,
    xb: Ints,
    nc: Ints,
    xc: Ints,
    step_of: Ints,
    gap_s: float,
    rho: Floats,
    delta: float,
    prior: Floats,
    temper: Floats,
    plan_s: float,
    kept: float,
    cap: float,
    restored: float,
    warm_looks: int,
    sizes: Floats,
    out: Floats,
) -> None:
    parts = np.empty(POINTS)
    for r in range(nb.shape[0]):
        parts[:] = START_MASS / POINTS
        reserve, elapsed, seen, failed = 1.0 - START_MASS, 0.0, 0.0, 0.0
        carried = np.zeros(4)
        for t in range(nb.shape[1]):
            if t > 0 and step_of[t] != step_of[t - 1]:
                mass = min(STEP_MASS, LARGEST_STEP * reserve)
                parts += mass / POINTS
                reserve = max(reserve - mass, 0.0)
            if t < warm_looks:
                seen = seen * kept + nb[r, t]
                failed = failed * kept + xb[r, t]
                out[r, t] = 0.0
                continue
            mass = SPREAD_MASS * gap_s / plan_s if elapsed < plan_s else reserve * gap_s / elapsed
            mass = min(mass, LARGEST_STEP * reserve)
            parts += mass / POINTS
            reserve = max(reserve - mass, 0.0)
            elapsed += gap_s
            carried[0] += nb[r, t]
            carried[1] += xb[r, t]
            carried[2] += nc[r, t]
            carried[3] += xc[r, t]
            tb = min((failed + 0.5) / (seen + 0.5 / prior[r]), 0.99)
            seen *= kept
            failed *= kept
            if carried[0] > 0.0 and carried[2] > 0.0:
                _grow(parts, sizes, carried, tb, rho[r, step_of[t]], delta, temper[r], cap, restored)
                seen += carried[0]
                failed += carried[1]
                carried[:] = 0.0
            out[r, t] = math.log(parts.sum() + reserve)


@compiled
def _grow(
    parts: Floats,
    sizes: Floats,
    block: Floats,
    tb: float,
    rho: float,
    delta: float,
    temper: float,
    cap: float,
    restored: float,
) -> None:
    border = rho * tb + delta
    if border >= HIGHEST_RATE:
        return
    capped = math.exp(min(cap, LARGEST_GAIN))
    for j in range(POINTS):
        tc = border + (HIGHEST_RATE - border) * sizes[j]
        gain = log_e(block[0], block[1], block[2], block[3], tb, tc, rho, delta, True) / temper
        most = max(parts[j] * capped, restored / POINTS)
        won = min(parts[j] * math.exp(min(gain, LARGEST_GAIN)), most)
        parts[j] = min((1.0 - HEDGE) * won + HEDGE * parts[j], CLAMP)


@compiled
def _prove_all(
    nb: Ints,
    xb: Ints,
    nc: Ints,
    xc: Ints,
    step_of: Ints,
    rho: Floats,
    delta: float,
    prior: Floats,
    temper: Floats,
    kept: float,
    cap: float,
    warm_looks: int,
    out: Floats,
) -> None:
    for r in range(nb.shape[0]):
        proof, seen, failed = 1.0, 0.0, 0.0
        carried = np.zeros(4)
        for t in range(nb.shape[1]):
            if t > 0 and step_of[t] != step_of[t - 1]:
                proof = 1.0
            if t < warm_looks:
                seen = seen * kept + nb[r, t]
                failed = failed * kept + xb[r, t]
                out[r, t] = 0.0
                continue
            carried[0] += nb[r, t]
            carried[1] += xb[r, t]
            carried[2] += nc[r, t]
            carried[3] += xc[r, t]
            tb = min((failed + 0.5) / (seen + 0.5 / prior[r]), 0.99)
            seen *= kept
            failed *= kept
            if carried[0] > 0.0 and carried[2] > 0.0:
                gain = log_e(
                    carried[0],
                    carried[1],
                    carried[2],
                    carried[3],
                    tb,
                    tb,
                    rho[r, step_of[t]],
                    delta,
                    False,
                )
                proof = min(proof * math.exp(min(gain / temper[r], cap, LARGEST_PROOF)), CLAMP)
                seen += carried[0]
                failed += carried[1]
                carried[:] = 0.0
            out[r, t] = math.log(proof) if proof > 0.0 else -math.inf
