"""What a plan can see before it starts: the smallest failing rate of the canary that each step would find.

Before it: the history of the stable version. After it: `controller.releases.foreseeing` says it, and refuses a plan that
could not even see a canary that fails every request. Nothing here decides about a release that runs.

A step sees a rate when the best bet of the grid is expected to earn log(1/alpha) and the price of not knowing the fault
from the requests that the step judges. The price is what the mixture over effect sizes and start times costs: the start
mass of 0.6 on seven sizes is log(12) = 2.5 nats, the hedge a little more, a neighbouring size a little less. At alpha = 1 % that makes 7.1 nats out of 4.6, or
1.54 times what a bet needs that is told the fault beforehand. At the rate that is named a step finds the fault about
every second time, at twice the distance from stable nearly always. The threshold judge sees its limit; the rank-sum judge
sees a shift that is so many deviations of its estimate as its confidence and its tolerance ask for. Tested against
simulated releases by tests/controller/simulation/test_power_in_the_world.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist

from controller.analysis.beginning import prior_rate
from controller.analysis.projection import factors
from controller.analysis.streams import needed
from controller.analysis.wealth import GRID, HIGHEST_RATE
from controller.model.look import History
from controller.model.plan import MOST_POINTS, JudgeKind, MannWhitney, Plan, Policy, Step
from controller.model.share import EVERYTHING, BasisPoints
from controller.model.wealth import Margin

PRICE_NATS = 2.5
"""Of not knowing the fault's size and begin."""
HIGHEST_BASE = 0.99
"""As `controller.analysis.wealth.expected_rate` has it."""
ROUNDS = 30
"""Halvings of the rate: finer than anybody reads."""
SHORT = 0.9
"""Of the requests that a step needs: with fewer before its deadline it passes by luck only."""
LEAST_PER_S, MOST_PER_S = 1e-6, 1e6
"""Traffic that is looked at, requests/s."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one step can see.

    Args:
        step: Its index.
        share: The canary's part in it.
        requests: Canary requests that it judges before it may pass, as far as they come before its deadline.
        needed: Canary requests that its judge wants before a PASS; a certificate may come a little earlier.
        rate: The smallest failing rate of the canary that it would find, 0 to 1; None: not even one where every
            request fails, or unknown.
        has_audience: Only some requests may meet the canary, and nobody knows how many: nothing is known of this step.
    """

    step: int
    share: BasisPoints
    requests: float
    needed: float
    rate: float | None
    has_audience: bool = False

    @property
    def is_short(self) -> bool:
        """Whether its deadline is expected before its judge has seen enough: then the policy decides, and not the judge."""
        return not self.has_audience and self.requests < SHORT * self.needed


def sights(plan: Plan, policy: Policy, history: History, *, is_narrowed: bool = False) -> tuple[Sight, ...]:
    """Return what each step can see on its own, at the traffic and the failing rate of the history.

    Args:
        plan: The ladder.
        policy: The rule; its warm-up is time in which a step sees nothing.
        history: Of the stable version; with requests.
        is_narrowed: The target itself lets only some requests meet a canary, in every step.
    """
    base = min(prior_rate(history), HIGHEST_BASE)
    found, before_s = [], 0.0
    for index, step in enumerate(plan.steps):
        warming_s = max(policy.warmup_s - before_s, 0.0)
        per_s = history.requests_per_s * step.share / EVERYTHING
        before_s += step.hold_s
        enough = _enough(policy, base, per_s)
        if is_narrowed or step.matches:
            found.append(Sight(index, step.share, 0.0, enough, None, has_audience=True))
            continue
        requests = _requests(policy, step, base, per_s, warming_s)
        judged_s = max(step.deadline_s - warming_s, 0.0)
        rate = _smallest(policy, step.share, base, per_s, requests, judged_s)
        found.append(Sight(index, step.share, requests, enough, rate))
    return tuple(found)


def least_traffic(plan: Plan, policy: Policy, history: History) -> float | None:
    """Return from how many requests/s on a step would see a canary that fails every request; None: at no traffic.

    Args:
        plan: The ladder.
        policy: The rule.
        history: Of the stable version: its failing rate; with requests.
    """

    def is_seen(per_s: float) -> bool:
        thought = replace(history, window_s=history.total / per_s)
        return any(one.rate is not None for one in sights(plan, policy, thought))

    low, high = math.log(LEAST_PER_S), math.log(MOST_PER_S)
    if not is_seen(MOST_PER_S):
        return None
    for _ in range(ROUNDS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if is_seen(math.exp(middle)) else (middle, high)
    return math.exp(high)


def growth(margin: Margin, share: BasisPoints, base: float, rate: float) -> float:
    """Return the nats that the best bet of the grid is expected to earn from one canary request.

    Args:
        margin: What is tolerable.
        share: The canary's part of the traffic: the smaller the other arm, the less is known of it.
        base: Stable's failing rate, also the predicted one; above 0.
        rate: The canary's.
    """
    stable, border = EVERYTHING - share, margin.rho * base + margin.delta
    best = 0.0
    for size in GRID if border < HIGHEST_RATE else ():
        worth = factors(
            nb=stable,
            nc=share,
            tb=base,
            tc=border + (HIGHEST_RATE - border) * size,
            rho=margin.rho,
            delta=margin.delta,
        )
        canary = rate * worth.canary_failed + (1.0 - rate) * worth.canary_good
        other = base * worth.stable_failed + (1.0 - base) * worth.stable_good
        best = max(best, canary + other * stable / share)
    return best


def _requests(policy: Policy, step: Step, base: float, per_s: float, warming_s: float) -> float:
    """Return how many canary requests are judged before the step may pass: it stays until it has seen enough."""
    held, most = (per_s * max(time_s - warming_s, 0.0) for time_s in (step.hold_s, step.deadline_s))
    return min(max(held, _enough(policy, base, per_s)), most)


def _enough(policy: Policy, base: float, per_s: float) -> float:
    """Return how many canary requests a step needs before its judge says PASS."""
    if policy.judge is JudgeKind.EVIDENCE:
        return needed(policy, policy.tolerance.acceptable, base)
    if policy.judge is JudgeKind.MANN_WHITNEY:
        return per_s * policy.mann_whitney.interval_s * policy.mann_whitney.fewest
    return policy.min_requests if policy.limits is None else per_s * policy.limits.interval_s


def _smallest(
    policy: Policy, share: BasisPoints, base: float, per_s: float, requests: float, judged_s: float
) -> float | None:
    found = []
    if per_s * policy.rail.window_s >= policy.rail.min_requests:
        found.append(policy.rail.max_failed)
    if policy.judge is JudgeKind.THRESHOLD and _sees_limit(policy, per_s, requests, judged_s):
        found.append(policy.max_error_rate)
    if policy.judge is JudgeKind.EVIDENCE:
        found += _by_odds(policy, share, base, requests)
    if policy.judge is JudgeKind.MANN_WHITNEY:
        found += _by_ranks(policy.mann_whitney, share, base, per_s, requests)
    return min(found, default=None)


def _sees_limit(policy: Policy, per_s: float, requests: float, judged_s: float) -> bool:
    """Whether there are enough requests to be above the limit, and enough measurements before the deadline."""
    limits = policy.limits
    if limits is None:
        return requests >= policy.min_requests
    is_enough = per_s * limits.interval_s >= policy.min_requests
    return is_enough and judged_s >= limits.interval_s * (limits.failure_limit + 1)


def _by_ranks(
    rule: MannWhitney, share: BasisPoints, base: float, per_s: float, requests: float
) -> list[float]:
    """Return the rate at which the estimated shift is expected where the test begins to be sure of it.

    The estimate is a median of differences: for Gaussian values its variance is pi / 3 times that of a mean (Hodges and
    Lehmann, Annals of Mathematical Statistics 34, 1963). It is sure of a shift of z / (1 - tolerance) deviations.
    """
    canary = per_s * rule.interval_s
    stable = canary * (EVERYTHING - share) / share
    points = min(requests / canary, MOST_POINTS)
    if canary < 1.0 or stable < 1.0 or points < rule.fewest:
        return []
    surely = NormalDist().inv_cdf(0.5 + rule.confidence / 2.0) / (1.0 - rule.tolerance)

    def is_seen(rate: float) -> bool:
        variance = (rate * (1.0 - rate) / canary + base * (1.0 - base) / stable) / points
        is_large = rate >= rule.allowed_increase * base
        return is_large and rate - base >= surely * math.sqrt(math.pi / 3.0 * variance)

    return _least(base, is_seen)


def _by_odds(policy: Policy, share: BasisPoints, base: float, requests: float) -> list[float]:
    margin, nats = policy.tolerance.tolerable, math.log(1.0 / policy.tolerance.alpha) + PRICE_NATS
    return _least(base, lambda rate: requests * growth(margin, share, base, rate) >= nats)


def _least(base: float, is_seen: Callable[[float], bool]) -> list[float]:
    """Return the smallest rate above the base that is seen; none when not even 1 is."""
    if not is_seen(1.0):
        return []
    low, high = base, 1.0
    for _ in range(ROUNDS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if is_seen(middle) else (middle, high)
    return [high]
