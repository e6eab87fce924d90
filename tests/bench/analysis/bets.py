"""The bet on one block, compiled: the same formulas as `controller.analysis.projection`, in the same order.

Before it: nothing. After it: `vectorised` places these bets for many replications. Formulas, papers and reasons stand
in the scalar engine; here every line mirrors one of its lines, and test_bench_vectorised.py holds both to 1e-9.
"""

from __future__ import annotations

import math

import numpy as np

from controller.analysis.projection import NEWTON_ABOVE, TINY
from tests.bench.analysis.compiled import compiled
from tests.bench.analysis.shapes import Floats

BISECTIONS = 60


@compiled
def slope(b: float, nb: float, nc: float, tb: float, tc: float, rho: float, delta: float) -> float:
    """Return the derivative of the divergence: 0 at the projection."""
    c = rho * b + delta
    return nb * (b - tb) / (b * (1.0 - b)) + nc * rho * (c - tc) / (c * (1.0 - c))


@compiled
def exact(nb: float, nc: float, tb: float, tc: float, rho: float, delta: float) -> float:
    """Return the projection by bisection."""
    meeting = (tc - delta) / rho
    low = max(min(tb, meeting), TINY)
    high = min(max(tb, meeting), (1.0 - delta) / rho)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if slope(middle, nb, nc, tb, tc, rho, delta) > 0.0:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


@compiled
def bend(x: float, t: float) -> float:
    """Return the curvature of one arm's divergence."""
    v = x * (1.0 - x)
    return (v - (x - t) * (1.0 - 2.0 * x)) / (v * v)


@compiled
def quick(nb: float, nc: float, tb: float, tc: float, rho: float, delta: float) -> float:
    """Return the closed form of the projection, with one Newton step where the rate asks for it."""
    a = nb + rho * nc
    half = a * delta - rho * (nb * tb + nc * tc)
    b = (math.sqrt(half * half + 4.0 * a * rho * nb * tb * delta) - half) / (2.0 * a * rho)
    c = rho * b + delta
    if tc <= NEWTON_ABOVE or not (0.0 < b < 1.0 and 0.0 < c < 1.0):
        return b
    curve = nb * bend(b, tb) + nc * rho * rho * bend(c, tc)
    if curve <= 0.0:
        return b
    better = b - slope(b, nb, nc, tb, tc, rho, delta) / curve
    return better if tb < better < (tc - delta) / rho else b


@compiled
def worth(b0: float, nb: float, nc: float, tc: float, rho: float, delta: float, out: Floats) -> bool:
    """Write the four log factors at a pivot; returns whether all of them exist."""
    c0 = rho * b0 + delta
    if not (0.0 < b0 < 1.0 and 0.0 < c0 < 1.0):
        return False
    a_c = (tc - c0) / (c0 * (1.0 - c0))
    a_b = -rho * a_c * nc / nb
    out[0] = 1.0 + a_c * (1.0 - c0)
    out[1] = 1.0 - a_c * c0
    out[2] = 1.0 + a_b * (1.0 - b0)
    out[3] = 1.0 - a_b * b0
    if min(out[0], out[1], out[2], out[3]) <= 0.0:
        return False
    for kind in range(4):
        out[kind] = math.log(out[kind])
    return True


@compiled
def log_e(
    nb: float, xb: float, nc: float, xc: float, tb: float, tc: float, rho: float, delta: float, short: bool
) -> float:
    """Return log e of a block; `short` tries the closed form first, as the engine does above the border."""
    out = np.empty(4)
    found = False
    if short:
        b0 = quick(nb, nc, tb, tc, rho, delta)
        found = rho * b0 + delta < tc and worth(b0, nb, nc, tc, rho, delta, out)
    if not found:
        found = worth(exact(nb, nc, tb, tc, rho, delta), nb, nc, tc, rho, delta, out)
    if not found:
        return 0.0
    total: float = xc * out[0] + (nc - xc) * out[1] + xb * out[2] + (nb - xb) * out[3]
    return total
