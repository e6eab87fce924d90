"""The best anyone could do: two judges who know what nobody can know.

Before it: `worlds` gives the true rates. After it: `run` divides our delay by theirs.

The clairvoyant knows both rates and when the fault begins: Wald's sequential probability ratio test (Annals of
Mathematical Statistics 16, 1945) of the true canary rate against the border of "tolerable", on the canary alone. The
drift-proof one knows the same, and yet trusts no level of stable's rate: the growth-optimal bet of the engine, with
the true rates, from the true time on, without a mixture.
"""

from __future__ import annotations

import math

import numpy as np

from tests.bench.analysis.bets import log_e
from tests.bench.analysis.compiled import compiled
from tests.bench.analysis.shapes import Counts, Floats, Ints
from tests.bench.analysis.worlds import Rates

ALMOST_ONE = 1 - 1e-9


def clairvoyant(counts: Counts, world: Rates, first_look: int, *, rho: float, delta: float) -> Floats:
    """Return the log likelihood ratio after each look, (replications, looks); 0 before the fault."""
    border = np.clip(rho * world.pb + delta, 1e-12, ALMOST_ONE)
    true = np.clip(world.pc, 1e-12, ALMOST_ONE)
    gain = counts.xc * np.log(true / border) + (counts.nc - counts.xc) * np.log((1 - true) / (1 - border))
    gain = np.where(true > border, gain, 0.0)
    gain[:, :first_look] = 0.0
    return np.cumsum(gain, axis=1)


def drift_proof(counts: Counts, world: Rates, first_look: int, *, rho: float, delta: float) -> Floats:
    """Return the log of the best bet without trust in a level, (replications, looks); 0 before the fault."""
    out = np.zeros(counts.nb.shape)
    true = np.clip(world.pc, 1e-12, 0.999)
    stable = np.clip(world.pb, 1e-6, 0.99)
    _bet(counts.nb, counts.xb, counts.nc, counts.xc, stable, true, first_look, rho, delta, out)
    return out


@compiled
def _bet(
    nb: Ints,
    xb: Ints,
    nc: Ints,
    xc: Ints,
    tb: Floats,
    tc: Floats,
    first_look: int,
    rho: float,
    delta: float,
    out: Floats,
) -> None:
    for r in range(nb.shape[0]):
        total = 0.0
        carried = np.zeros(4)
        for t in range(first_look, nb.shape[1]):
            carried[0] += nb[r, t]
            carried[1] += xb[r, t]
            carried[2] += nc[r, t]
            carried[3] += xc[r, t]
            if carried[0] > 0.0 and carried[2] > 0.0:
                if tc[r, t] > rho * tb[r, t] + delta:
                    total += log_e(
                        carried[0],
                        carried[1],
                        carried[2],
                        carried[3],
                        tb[r, t],
                        tc[r, t],
                        rho,
                        delta,
                        True,
                    )
                carried[:] = 0.0
            out[r, t] = total


def wald_requests(pb: float, pc: float, *, rho: float, delta: float, alpha: float) -> float:
    """Return the canary requests that even the clairvoyant needs on average, log(1/alpha) / KL."""
    border = min(rho * pb + delta, ALMOST_ONE)
    true = min(pc, ALMOST_ONE)
    if true <= border:
        return math.inf
    kl = true * math.log(true / border) + (1 - true) * math.log((1 - true) / (1 - border))
    return math.log(1 / alpha) / kl
