"""How often a rule is wrong that looks at nearly the same requests again and again: windows and growing series.

Before it: `soundness` lays out how a version like stable lives through a plan. After it: `soundness` adds up. The
probability of being above a bound is exact for each look; how often it is newly above is that of a Gaussian sequence
with the same overlaps. That sum bounds the probability of ever being above for such a sequence, and is right while it is
small (Aldous, Probability Approximations via the Poisson Clumping Heuristic, 1989, section A).

Measured against 96 000 drawn releases of 41 rules, rates and traffics: 0.5 to 2 times the drawn frequency wherever that
is above 1 in 1 000. Tested by tests/controller/simulation/test_soundness_in_the_world.py.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.analysis.counting import WINDOW_IN_MINIMUMS
from controller.analysis.rails import COMMON
from controller.analysis.tails import NORMAL, above, at_least, newly
from controller.model.plan import MOST_POINTS, Fallback, Policy, Rail, Step

MOST_LOOKS = 400
"""So many looks of a step are followed; the others are as the later half of them."""
FILLING = 60
"""Looks at which the rail's window is followed while it fills, or goes over to another share."""
SURELY = 20.0
"""Where something is expected so often, nothing more is added."""
SURELY_NOT = 1e-4
"""A bound below this is taken for the probability: nobody is told of it."""
NOTHING = 1e-10
"""A bound of one look below this is taken for zero."""
PARTS = 8
"""So many equally probable values stand for stable's failing part."""
FAR = 6.0
"""Standard deviations below which a number of requests does not fall."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One step as a version like stable lives through it.

    Args:
        step: As planned.
        canary_per_s: Its requests a second; likewise stable's.
        warming_s: Seconds of the warm-up in it.
        lasts_s: Judged time in it, warm-up included.
    """

    step: Step
    canary_per_s: float
    stable_per_s: float
    warming_s: float
    lasts_s: float


def by_threshold(
    policy: Policy, base: float, course: Sequence[Stretch], look_s: float
) -> tuple[float, float]:
    """Add up the looks at which the window of the threshold judge is newly above the limit, and stable's is not.

    Returns:
        The probability of a rollback, and that of being held to a deadline because both are above the limit.
    """
    most = sum(stretch.lasts_s for stretch in course) / look_s
    most *= _bound(policy.max_error_rate, base, policy.min_requests)
    if most < SURELY_NOT:
        return most, 0.0
    often, held = 0.0, 0.0
    for stretch in course:
        per_look = stretch.canary_per_s * look_s
        looks = (stretch.lasts_s - stretch.warming_s) / look_s
        seen: list[float] = []
        before, requests = 0.0, 0.0
        for requests, correlation in _windows(policy, per_look, min(round(looks), MOST_LOOKS)):
            now = _above_alone(policy, base, requests, stretch)
            seen.append(newly(before, now, correlation))
            before = now
        often += sum(seen) + _rest(seen, looks)
        both = (requests, requests * stretch.stable_per_s / stretch.canary_per_s)
        held += (1.0 - held) * math.prod(_high(policy, base, one) for one in both)
        if often > SURELY:
            break
    return _ever(often), held if policy.on_inconclusive is Fallback.ROLLBACK else 0.0


def _windows(policy: Policy, per_look: float, looks: int) -> Iterator[tuple[float, float]]:
    """Yield the requests in the threshold's window at each look, and its correlation with the one before."""
    old = new = 0.0
    for _ in range(looks):
        before = old + new
        if new < WINDOW_IN_MINIMUMS * policy.min_requests:
            new += per_look
            kept = before
        else:
            old, new = new, per_look
            kept = old
        now = old + new
        yield now, kept / math.sqrt(before * now) if before > 0.0 else 0.0


def _high(policy: Policy, base: float, requests: float) -> float:
    runs = round(requests)
    if runs < policy.min_requests or _bound(policy.max_error_rate, base, runs) < NOTHING:
        return 0.0
    return at_least(math.floor(policy.max_error_rate * runs) + 1, runs, base)


def _above_alone(policy: Policy, base: float, requests: float, stretch: Stretch) -> float:
    stable = requests * stretch.stable_per_s / stretch.canary_per_s
    return _high(policy, base, requests) * (1.0 - _high(policy, base, stable))


def by_ranks(policy: Policy, base: float, course: Sequence[Stretch]) -> float:
    """Add up the points at which the interval of the shift is newly above the tolerance.

    Lower bound above a part t of the estimate is, for a Gaussian estimate, the estimate above z / (1 - t) deviations.
    Points without a failure are ties: where they are many the shift is found as much less often, as measured for both
    arms between 0.06 and 12 expected failures a point.
    """
    rule, often, points, before = policy.mann_whitney, 0.0, 0, 0.0
    least = NORMAL.inv_cdf(0.5 + rule.confidence / 2.0) / (1.0 - rule.tolerance)
    for stretch in course:
        differ = math.prod(
            -math.expm1(-base * per_s * rule.interval_s)
            for per_s in (stretch.canary_per_s, stretch.stable_per_s)
        )
        spread = sum(
            base * (1.0 - base) / max(per_s * rule.interval_s, 1.0)
            for per_s in (stretch.canary_per_s, stretch.stable_per_s)
        )
        new = max(int((stretch.lasts_s - stretch.warming_s) / rule.interval_s), 1)
        seen: list[float] = []
        for _ in range(min(new, MOST_LOOKS)):
            points += 1
            kept = min(points, MOST_POINTS)
            if points >= rule.fewest:
                apart = (rule.allowed_increase - 1.0) * base / math.sqrt(spread / kept)
                now = NORMAL.cdf(-max(least, apart))
                correlation = math.sqrt((points - 1) / points) if points <= MOST_POINTS else 1.0 - 1.0 / kept
                seen.append(newly(before, now, correlation))
                before = now
        often += differ * (sum(seen) + _rest(seen, new))
        if often > SURELY:
            break
    return _ever(often)


def by_rail(policy: Policy, base: float, course: Sequence[Stretch], look_s: float) -> float:
    """Add up the looks at which the rail's window is newly above it, also while it goes over to another share."""
    rail, often, before = policy.rail, 0.0, 0.0
    filled = max(rail.window_s / look_s, 1.0)
    looks = sum(stretch.lasts_s for stretch in course) / look_s
    most = looks * _bound(rail.max_failed, base, rail.min_requests)
    if most < SURELY_NOT:
        return most
    places, old, mean = min(round(filled), FILLING), 0.0, 0.0
    for stretch in course:
        per_look = stretch.canary_per_s * look_s
        for place in range(1, places + 1):
            last, mean = mean, old * filled * (1 - place / places) + per_look * filled * place / places
            kept = max(last - old * filled / places, 0.0)
            now = _above_rail(rail, base, mean, mean * stretch.stable_per_s / stretch.canary_per_s)
            often += newly(before, now, min(kept / math.sqrt(last * mean), 1.0) if last > 0.0 else 0.0)
            before = now
        often += newly(before, before, 1.0 - 1.0 / filled) * max(stretch.lasts_s / look_s - filled, 0.0)
        old = per_look
        if often > SURELY:
            break
    return _ever(often)


def _above_rail(rail: Rail, base: float, mean: float, stable: float) -> float:
    """Return the probability that the rail acts at a look: stable's part moves what is common, its middle and its tails.

    Args:
        rail: As written.
        base: The failing rate of both.
        mean: Expected canary requests in the window.
        stable: Likewise stable's.
    """
    deviation = math.sqrt(base * (1.0 - base) / max(stable, 1.0))
    limits = Counter(
        max(rail.max_failed, COMMON * (base + deviation * NORMAL.inv_cdf((part + 0.5) / PARTS)))
        for part in range(PARTS)
    )
    fewest = max(rail.min_requests, mean - FAR * math.sqrt(mean))
    return sum(
        times / PARTS * above(limit, base, mean, least=rail.min_requests, is_reaching=True)
        for limit, times in limits.items()
        if limit <= 1.0 and _bound(limit, base, fewest) >= NOTHING
    )


def _bound(limit: float, base: float, least: float) -> float:
    """Return a bound of the probability of being above a limit, for any number of requests from the least on.

    Chernoff's: exp(-n KL(limit || base)), which falls with n.
    """
    if not base < limit:
        return 1.0
    rest = 0.0 if limit >= 1.0 else (1.0 - limit) * math.log((1.0 - limit) / (1.0 - base))
    return math.exp(-least * (limit * math.log(limit / base) + rest))


def _rest(seen: list[float], looks: float) -> float:
    """Return what the looks that are not followed add: as much a look as the later half of those that are."""
    later = seen[len(seen) // 2 :]
    return max(looks - len(seen), 0.0) * sum(later) / len(later) if looks > MOST_LOOKS and later else 0.0


def _ever(often: float) -> float:
    """Return the probability of at least one where so many are expected."""
    return -math.expm1(-often)
