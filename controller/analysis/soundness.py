"""How often a policy would roll back a version that is like stable, by the rules that guarantee nothing themselves.

Before it: plan, policy, and what the target served. After it: `controller.releases.foreseeing` refuses a policy whose own
intervals break the bound that it promises (`tolerance.alpha`). The odds of the evidence judge keep that bound by
themselves and are left out; what is added up here is the threshold judge, with limits or without, the rank-sum judge,
and the rail of failing requests. Like stable means: both fail at the history's rate, and requests arrive independently.

Measurements of limits are independent of each other, so that their counters are followed exactly; the other rules are
in `crossings`. Tested against simulated releases by tests/controller/simulation/test_soundness_in_the_world.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.analysis import crossings
from controller.analysis.beginning import prior_rate
from controller.analysis.crossings import Stretch
from controller.analysis.power import HIGHEST_BASE, sights
from controller.analysis.tails import above, enough
from controller.model.look import History
from controller.model.plan import Fallback, JudgeKind, Limits, Plan, Policy
from controller.model.share import EVERYTHING

MOST_MEASUREMENTS = 2_000
"""So many measurements of a step are followed; before a longer hold is over the others are as the last of them."""
NOBODY = 1e-12
"""A smaller part of all releases is not followed."""


@dataclass(frozen=True, slots=True)
class Risk:
    """How probably a version that is like stable is rolled back, 0 to 1 each.

    Args:
        judge: By the judge.
        held: At a deadline, because its failing part stayed above the limit.
        rail: By the rail of failing requests.
    """

    judge: float = 0.0
    held: float = 0.0
    rail: float = 0.0

    @property
    def total(self) -> float:
        """By any of them."""
        return 1.0 - (1.0 - self.judge) * (1.0 - self.held) * (1.0 - self.rail)


def risk(
    plan: Plan, policy: Policy, history: History, *, look_s: float = 1.0, is_narrowed: bool = False
) -> Risk:
    """Return how probably a version that is like stable is rolled back in the steps whose traffic is known.

    Args:
        plan: The ladder.
        policy: The rule.
        history: Of the stable version; with requests.
        look_s: Time between two looks, seconds.
        is_narrowed: As of `power.sights`.
    """
    base = min(prior_rate(history), HIGHEST_BASE)
    course = tuple(_course(plan, policy, history, is_narrowed=is_narrowed))
    if not course:
        return Risk()
    judge, held = 0.0, 0.0
    if policy.judge is JudgeKind.THRESHOLD and policy.limits is not None:
        judge, held = _by_limits(policy, policy.limits, base, course)
    elif policy.judge is JudgeKind.THRESHOLD:
        judge, held = crossings.by_threshold(policy, base, course, look_s)
    elif policy.judge is JudgeKind.MANN_WHITNEY:
        judge = crossings.by_ranks(policy, base, course)
    return Risk(judge, held, crossings.by_rail(policy, base, course, look_s))


def _course(plan: Plan, policy: Policy, history: History, *, is_narrowed: bool) -> Iterator[Stretch]:
    before_s = 0.0
    for step, sight in zip(plan.steps, sights(plan, policy, history, is_narrowed=is_narrowed), strict=True):
        warming_s = min(max(policy.warmup_s - before_s, 0.0), step.deadline_s)
        if sight.has_audience:
            before_s += step.hold_s
            continue
        canary = history.requests_per_s * step.share / EVERYTHING
        lasts_s = warming_s + sight.requests / canary
        if policy.judge is JudgeKind.MANN_WHITNEY and before_s > 0.0:  # the points of the steps before count
            lasts_s = max(step.hold_s, policy.mann_whitney.interval_s)
        yield Stretch(step, canary, history.requests_per_s - canary, warming_s, lasts_s)
        before_s += step.hold_s


def _by_limits(policy: Policy, rule: Limits, base: float, course: Sequence[Stretch]) -> tuple[float, float]:
    """Follow how many failing measurements there are, step after step."""
    counts, failed, held = {0: 1.0}, 0.0, 0.0
    for stretch in course:
        ends = _Measurements.of(policy, rule, base, stretch)
        counts, new_failed, new_held = ends.follow(rule, counts)
        failed, held = failed + new_failed, held + new_held
    held = min(held, 1.0) if policy.on_inconclusive is Fallback.ROLLBACK else 0.0
    return min(failed, 1.0), held


@dataclass(frozen=True, slots=True)
class _Measurements:
    """The measurements of one step.

    Args:
        failing: Probability that one fails.
        common: That stable's part is above the limit as well.
        good: That it is good; the rest has too few requests.
        first: The first after which a good newest one ends the step, from 1.
        most: As many come before its deadline.
    """

    failing: float
    common: float
    good: float
    first: int
    most: int

    @classmethod
    def of(cls, policy: Policy, rule: Limits, base: float, stretch: Stretch) -> _Measurements:
        """Return what the measurements of a step say of a version that fails at the rate `base`."""
        limit, least, length_s = policy.max_error_rate, policy.min_requests, rule.interval_s
        mean = stretch.canary_per_s * length_s
        high = above(limit, base, mean, least=least)
        stable = above(limit, base, stretch.stable_per_s * length_s, least=least)
        last_s = stretch.step.hold_s if stretch.step.gate else stretch.step.deadline_s
        held, most = (
            int(max(time_s - stretch.warming_s, 0.0) / length_s) for time_s in (stretch.step.hold_s, last_s)
        )
        good = max(enough(mean, least=least) - high, 0.0)
        return cls(high * (1.0 - stable), high * stable, good, max(held, 1), most)

    def follow(self, rule: Limits, counts: dict[int, float]) -> tuple[dict[int, float], float, float]:
        """Return who passes with how many failing ones, who is taken back, and who is held to the deadline."""
        passed, failed, held, hazard = dict[int, float](), 0.0, 0.0, 0.0
        for number in range(1, min(self.most, MOST_MEASUREMENTS) + 1):
            alive, before = sum(counts.values()), failed
            if alive < NOBODY:
                break
            grown, held = dict[int, float](), 0.0
            for count, part in counts.items():
                if count + 1 > rule.failure_limit:
                    failed += part * self.failing
                else:
                    _put(grown, count + 1, part * self.failing)
                    held += part * self.failing
                after = 0 if rule.consecutive else count
                _put(passed if number >= self.first else grown, after, part * self.good)
                _put(grown, count, part * (1.0 - self.failing - self.good))
                held += part * self.common
            counts, hazard = grown, (failed - before) / alive
        if self.first <= MOST_MEASUREMENTS:
            return passed, failed, held
        survive = (1.0 - hazard) ** (self.first - MOST_MEASUREMENTS)
        failed += (1.0 - survive) * sum(counts.values())
        return {count: part * survive for count, part in counts.items()}, failed, 0.0


def _put(counts: dict[int, float], count: int, part: float) -> None:
    if part > NOBODY:
        counts[count] = counts.get(count, 0.0) + part
