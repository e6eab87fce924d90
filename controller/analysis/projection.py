"""The best bet on one block: how much each success and each failure of either arm is worth against "tolerable".

The null is the half-plane p_canary <= rho * p_stable + delta. For a predicted alternative (stable rate tb, canary rate
tc) the bet is the ratio of the alternative to its projection onto the border of the null: the point (b0, c0 = rho * b0
+ delta) that is closest in nb * KL(tb || b) + nc * KL(tc || c). This is the growth-optimal e-variable for two binomial
samples of Turner, Ly and Grünwald (J. Stat. Plan. Inference 2024, arXiv 2106.02693, section 2), with the linear border
of Turner and Grünwald (arXiv 2203.09785).

Validity does not need the projection to be exact. With a_c = (tc - c0) / (c0 (1 - c0)) and a_b = -rho a_c nc / nb,

    log E[e] <= nc a_c (p_c - c0) + nb a_b (p_b - b0) = nc a_c (p_c - rho p_b - delta) <= 0

for ANY b0 and any prediction, because log(1 + u) <= u: a poor b0 or a wrong prediction costs speed, never a false
alarm. Checked by exact enumeration in tests/controller/analysis/test_projection.py.

Before it: `wealth` and `certainty` predict the rates. Both place a bet per metric and second, the first one for each
of six effect sizes, so the functions from `log_e` down take plain positions and return plain tuples: with keywords
and a value class a look took 27 us instead of 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

NEWTON_ABOVE = 0.03
"""Below this canary rate the Poisson form of the projection is the binomial one for every purpose."""
ROUNDS = 60
"""Most rounds of the exact solver: enough for halving alone. Newton needs two to four."""
CLOSE = 1e-9
"""Relative step after which the exact solver stops; a step of Newton leaves about its square."""
OUTSIDE = -1.0
"""No rate: where the cubic falls, Newton's step would lead away."""
NOTHING_TO_BET = (1.0, 1.0, 1.0, 1.0)
Multipliers = tuple[float, float, float, float]
"""What one request does to the wealth: canary failed, canary good, stable failed, stable good."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Log worth of one request of each kind."""

    canary_failed: float
    canary_good: float
    stable_failed: float
    stable_good: float


def factors(*, nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> Factors:
    """Return the log worth of each kind of request for one block.

    Args:
        nb: Stable requests in the block, at least 1.
        nc: Canary requests in the block, at least 1.
        tb: Predicted stable rate, above 0 and below 1.
        tc: Predicted canary rate, above rho * tb + delta and below 1.
        rho: Tolerated ratio.
        delta: Tolerated difference, a rate.
    """
    canary_failed, canary_good, stable_failed, stable_good = multipliers(nb, nc, tb, tc, rho, delta)
    return Factors(log(canary_failed), log(canary_good), log(stable_failed), log(stable_good))


def log_e(nb: int, xb: int, nc: int, xc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Return log e of a block in which xb of nb stable and xc of nc canary requests failed; the rest as `factors`."""
    return _added_up(multipliers(nb, nc, tb, tc, rho, delta), nb, xb, nc, xc)


def exact_log_e(nb: int, xb: int, nc: int, xc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Return the same from the exact projection, with tc on either side of the border.

    Slower than `log_e` and not faster in its verdicts where tc is above the border; below it, where the canary is
    predicted to be better than the margin, the short way has no guard.
    """
    return _added_up(exact_multipliers(nb, nc, tb, tc, rho, delta), nb, xb, nc, xc)


def multipliers(nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> Multipliers:
    """Return the worth of each kind of request from the closed form, from the exact one where that cannot be bet on."""
    b = _closed_form(nb, nc, tb, tc, rho, delta)
    if tc > NEWTON_ABOVE:
        b = _one_newton_step(b, nb, nc, tb, tc, rho, delta)
    c = rho * b + delta
    if c < tc:
        failed, good = tc / c, (1.0 - tc) / (1.0 - c)
        against = rho * nc / nb * (failed - good)
        stable_failed = 1.0 - against * (1.0 - b)
        if stable_failed > 0.0:
            return failed, good, stable_failed, 1.0 + against * b
    return exact_multipliers(nb, nc, tb, tc, rho, delta)


def exact_multipliers(nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> Multipliers:
    """Return the worth of each kind of request from the exact projection, with tc on either side of the border."""
    b = _exact(nb, nc, tb, tc, rho, delta)
    c = rho * b + delta
    if not (0.0 < b < 1.0 and 0.0 < c < 1.0):
        return NOTHING_TO_BET
    failed, good = tc / c, (1.0 - tc) / (1.0 - c)
    against = rho * nc / nb * (failed - good)
    stable_failed, stable_good = 1.0 - against * (1.0 - b), 1.0 + against * b
    if stable_failed <= 0.0 or stable_good <= 0.0:
        return NOTHING_TO_BET
    return failed, good, stable_failed, stable_good


def _added_up(worth: Multipliers, nb: int, xb: int, nc: int, xc: int) -> float:
    """Return the log worth of a whole block; most blocks have no failure on one arm, and a logarithm costs."""
    total = (nc - xc) * log(worth[1]) + (nb - xb) * log(worth[3])
    if xc:
        total += xc * log(worth[0])
    if xb:
        total += xb * log(worth[2])
    return total


def _closed_form(nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Solve the projection with Poisson in place of binomial: a quadratic in b, in the form that cancels nothing."""
    a = nb + rho * nc
    half = rho * (nb * tb + nc * tc) - a * delta
    known = nb * tb * delta
    root = sqrt(half * half + 4.0 * a * rho * known)
    return (root + half) / (2.0 * a * rho) if half > 0.0 else 2.0 * known / (root - half)


def _one_newton_step(b: float, nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Improve the closed form; kept only where it stays between the stable rate and the end of the half-plane.

    The step is on the derivative of nb KL(tb || b) + nc KL(tc || rho b + delta), which grows with b.
    """
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


def _exact(nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Solve the projection between stable's rate and where the border meets the canary's.

    The derivative of the divergence times b (1 - b) c (1 - c) is a cubic in b of the same sign, and the closed form
    solves it without its cubic terms: Newton's method from there, halving the bracket where a step would leave it.
    """
    meeting = (tc - delta) / rho
    low, high = max(min(tb, meeting), 0.0), min(max(tb, meeting), (1.0 - delta) / rho)
    b = _closed_form(nb, nc, tb, tc, rho, delta)
    if not low < b < high:
        b = 0.5 * (low + high)
    for _ in range(ROUNDS):
        c = rho * b + delta
        room_b, room_c, off_b, off_c = b * (1.0 - b), c * (1.0 - c), b - tb, rho * nc * (c - tc)
        value = nb * off_b * room_c + off_c * room_b
        slope = (
            nb * (room_c + rho * off_b * (1.0 - 2.0 * c)) + rho * rho * nc * room_b + off_c * (1.0 - 2.0 * b)
        )
        low, high = (low, b) if value > 0.0 else (b, high)
        better = b - value / slope if slope > 0.0 else OUTSIDE
        if not low <= better <= high:
            better = 0.5 * (low + high)
        if abs(better - b) <= CLOSE * better:
            return better
        b = better
    return b
