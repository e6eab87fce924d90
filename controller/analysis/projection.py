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
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TINY = 1e-15
NEWTON_ABOVE = 0.03
"""Below this canary rate the Poisson form of the projection is the binomial one for every purpose."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Log worth of one request of each kind; `log_e` adds them up."""

    canary_failed: float
    canary_good: float
    stable_failed: float
    stable_good: float

    def log_e(self, *, nb: int, xb: int, nc: int, xc: int) -> float:
        """Return log e of a block: xb of nb stable and xc of nc canary requests failed."""
        return (
            xc * self.canary_failed
            + (nc - xc) * self.canary_good
            + xb * self.stable_failed
            + (nb - xb) * self.stable_good
        )


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
    b0 = _closed_form(nb, nc, tb, tc, rho, delta)
    if tc > NEWTON_ABOVE:
        b0 = _one_newton_step(b0, nb, nc, tb, tc, rho, delta)
    worth = _worth(b0, nb, nc, tc, rho, delta) if rho * b0 + delta < tc else None
    return worth or exact_factors(nb=nb, nc=nc, tb=tb, tc=tc, rho=rho, delta=delta)


def exact_factors(*, nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> Factors:
    """Return the log worth of each kind of request from the exact projection, with tc on either side of the border.

    Slower than `factors` and not faster in its verdicts where tc is above the border; below it, where the canary is
    predicted to be better than the margin, the short way has no guard.
    """
    return _worth(_exact(nb, nc, tb, tc, rho, delta), nb, nc, tc, rho, delta) or Factors(0.0, 0.0, 0.0, 0.0)


def _worth(b0: float, nb: int, nc: int, tc: float, rho: float, delta: float) -> Factors | None:
    """Return the four log factors at a pivot, None when it gives a factor that is not above 0."""
    c0 = rho * b0 + delta
    if not (0.0 < b0 < 1.0 and 0.0 < c0 < 1.0):
        return None
    a_c = (tc - c0) / (c0 * (1.0 - c0))
    a_b = -rho * a_c * nc / nb
    raw = (1.0 + a_c * (1.0 - c0), 1.0 - a_c * c0, 1.0 + a_b * (1.0 - b0), 1.0 - a_b * b0)
    if min(raw) <= 0.0:
        return None
    return Factors(*(math.log(factor) for factor in raw))


def _closed_form(nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Solve the projection with Poisson in place of binomial: a quadratic in b."""
    a = nb + rho * nc
    b = a * delta - rho * (nb * tb + nc * tc)
    return (math.sqrt(b * b + 4.0 * a * rho * nb * tb * delta) - b) / (2.0 * a * rho)


def _slope(b: float, nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Derivative of nb KL(tb || b) + nc KL(tc || rho b + delta): grows with b, 0 at the projection."""
    c = rho * b + delta
    return nb * (b - tb) / (b * (1.0 - b)) + nc * rho * (c - tc) / (c * (1.0 - c))


def _one_newton_step(b: float, nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Improve the closed form; kept only where it stays between the stable rate and the end of the half-plane."""
    c = rho * b + delta
    if not (0.0 < b < 1.0 and 0.0 < c < 1.0):
        return b

    def bend(x: float, t: float) -> float:
        v = x * (1.0 - x)
        return (v - (x - t) * (1.0 - 2.0 * x)) / (v * v)

    curve = nb * bend(b, tb) + nc * rho * rho * bend(c, tc)
    if curve <= 0.0:
        return b
    better = b - _slope(b, nb, nc, tb, tc, rho, delta) / curve
    return better if tb < better < (tc - delta) / rho else b


def _exact(nb: int, nc: int, tb: float, tc: float, rho: float, delta: float) -> float:
    """Solve the projection by bisection: between stable's rate and where the border meets the canary's."""
    meeting = (tc - delta) / rho
    low, high = max(min(tb, meeting), TINY), min(max(tb, meeting), (1.0 - delta) / rho)
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _slope(middle, nb, nc, tb, tc, rho, delta) > 0.0:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)
