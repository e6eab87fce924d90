"""The bet on one block, compiled: the same formulas as `controller.analysis.projection`, in the same order.

Before it: nothing. After it: `vectorised` places these bets for many replications. Formulas, papers and reasons stand
in the scalar engine; here every line mirrors one of its lines, and test_bench_vectorised.py holds both to 1e-9.
"""

from __future__ import annotations

import math

from controller.analysis.projection import CLOSE, NEWTON_ABOVE, OUTSIDE, ROUNDS
from tests.bench.analysis.compiled import compiled


@compiled
def closed_form(nb: float, nc: float, tb: float, tc: float, rho: float, delta: float) -> float:
    """Return the Poisson form of the projection."""
    a = nb + rho * nc
    half = rho * (nb * tb + nc * tc) - a * delta
    known = nb * tb * delta
    root = math.sqrt(half * half + 4.0 * a * rho * known)
    return (root + half) / (2.0 * a * rho) if half > 0.0 else 2.0 * known / (root - half)


@compiled
def exact(nb: float, nc: float, tb: float, tc: float, rho: float, delta: float) -> float:
    """Return the projection by a Newton step at a time, guarded by its bracket."""
    meeting = (tc - delta) / rho
    low, high = max(min(tb, meeting), 0.0), min(max(tb, meeting), (1.0 - delta) / rho)
    b = closed_form(nb, nc, tb, tc, rho, delta)
    if not low < b < high:
        b = 0.5 * (low + high)
    for _ in range(ROUNDS):
        c = rho * b + delta
        room_b, room_c, off_b, off_c = b * (1.0 - b), c * (1.0 - c), b - tb, rho * nc * (c - tc)
        value = nb * off_b * room_c + off_c * room_b
        slope = (
            nb * (room_c + rho * off_b * (1.0 - 2.0 * c)) + rho * rho * nc * room_b + off_c * (1.0 - 2.0 * b)
        )
        if value > 0.0:
            high = b
        else:
            low = b
        better = b - value / slope if slope > 0.0 else OUTSIDE
        if not low <= better <= high:
            better = 0.5 * (low + high)
        if abs(better - b) <= CLOSE * better:
            return better
        b = better
    return b


@compiled
def one_newton_step(b: float, nb: float, nc: float, tb: float, tc: float, rho: float, delta: float) -> float:
    """Return the closed form, improved where the rate asks for it."""
    c = rho * b + delta
    if c >= 1.0:
        return b
    room_b, room_c = b * (1.0 - b), c * (1.0 - c)
    off_b, off_c = (b - tb) / room_b, (c - tc) / room_c
    curve = nb * (1.0 - off_b * (1.0 - 2.0 * b)) / room_b
    curve += rho * rho * nc * (1.0 - off_c * (1.0 - 2.0 * c)) / room_c
    if curve <= 0.0:
        return b
    better = b - (nb * off_b + rho * nc * off_c) / curve
    return better if tb < better < (tc - delta) / rho else b


@compiled
def added_up(
    b: float, nb: float, xb: float, nc: float, xc: float, tc: float, rho: float, delta: float
) -> float:
    """Return log e of a block at a pivot, not a number where a multiplier is not above 0."""
    c = rho * b + delta
    if not (0.0 < b < 1.0 and 0.0 < c < 1.0):
        return math.nan
    failed, good = tc / c, (1.0 - tc) / (1.0 - c)
    against = rho * nc / nb * (failed - good)
    stable_failed, stable_good = 1.0 - against * (1.0 - b), 1.0 + against * b
    if stable_failed <= 0.0 or stable_good <= 0.0:
        return math.nan
    total = (nc - xc) * math.log(good) + (nb - xb) * math.log(stable_good)
    if xc > 0.0:
        total += xc * math.log(failed)
    if xb > 0.0:
        total += xb * math.log(stable_failed)
    return total


@compiled
def log_e(
    nb: float, xb: float, nc: float, xc: float, tb: float, tc: float, rho: float, delta: float, short: bool
) -> float:
    """Return log e of a block; `short` tries the closed form first, as the engine does above the border."""
    total = math.nan
    if short:
        b = closed_form(nb, nc, tb, tc, rho, delta)
        if tc > NEWTON_ABOVE:
            b = one_newton_step(b, nb, nc, tb, tc, rho, delta)
        if rho * b + delta < tc:
            total = added_up(b, nb, xb, nc, xc, tc, rho, delta)
    if math.isnan(total):
        total = added_up(exact(nb, nc, tb, tc, rho, delta), nb, xb, nc, xc, tc, rho, delta)
    return 0.0 if math.isnan(total) else total
