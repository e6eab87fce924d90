"""Many seeded runs of one scene: how often a canary is taken back, how sure that is, and how long it takes.

Before it: `world` plays one release. After it: `serinus simulate` prints it. Run number i of seed s is always the same
release, whatever else is played.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from controller.model.plan import Plan, Policy
from controller.model.release import Outcome
from controller.model.verdict import Ground, Verdict
from controller.simulation.interval import exact_interval
from controller.simulation.scene import Scene
from controller.simulation.tolerance import is_tolerable
from controller.simulation.world import Run, run


@dataclass(frozen=True, slots=True)
class Frequency:
    """How often something happened: `count` of `runs`, with the exact 95 % interval of its probability."""

    count: int
    runs: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 95th percentile of some runs; both None when there was none."""

    median: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Cause:
    """What made `count` runs end: a metric (`latency p99`) or a ground (`candidate_hanging`)."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Study:
    """What many runs say.

    Args:
        is_tolerable: The canary's fault is within what the policy calls tolerable, so that each FAIL is a false one.
        failed: Taken back by a FAIL after the fault began: detections, or false rollbacks of a tolerable canary.
        early: Taken back by a FAIL before the fault began: false rollbacks.
        failed_by: What all these FAILs stand on, most often first: the metric that makes the largest part of the odds, or
            the ground of a rail.
        failed_in: In which steps (`step 1`) these FAILs came, in the order of the plan.
        promoted: Fully promoted.
        undecided: Taken back by the policy at a deadline, without a FAIL.
        waiting: Taken back because the policy waited for a person and nobody came.
        bad_instance: Of these two, those whose last verdict blamed one instance only.
        dark: Likewise: the canary got no requests.
        burning: Likewise: the whole service failed.
        delay_s: From the fault to the FAIL, seconds.
        delay_requests: Canary requests in that time.
        users_hit: Failing canary requests in that time.
        promotion_s: From the first canary request to full promotion, seconds.
        example: The reason of the first run that failed, else of the first run.
    """

    is_tolerable: bool
    failed: Frequency
    early: Frequency
    failed_by: tuple[Cause, ...]
    failed_in: tuple[Cause, ...]
    promoted: Frequency
    undecided: Frequency
    waiting: Frequency
    bad_instance: Frequency
    dark: Frequency
    burning: Frequency
    delay_s: Spread
    delay_requests: Spread
    users_hit: Spread
    promotion_s: Spread
    example: str


def study(scene: Scene, plan: Plan, policy: Policy, *, runs: int, seed: int) -> Study:
    """Play a scene many times.

    Args:
        scene: The world.
        plan: As in `world.run`.
        policy: Likewise.
        runs: At least 1.
        seed: The same one gives the same study.
    """
    found = [run(scene, plan, policy, random=seeded(seed, number)) for number in range(runs)]
    return summed_up(found, is_tolerable=is_tolerable(scene, policy))


def seeded(seed: int, number: int) -> Random:
    """Return the generator of one run; neighbours share nothing, because the text is hashed."""
    return Random(f"{seed}:{number}")  # noqa: S311 - a study is repeated, not kept secret


def summed_up(runs: Sequence[Run], *, is_tolerable: bool) -> Study:
    """Return what runs of one scene say together."""
    failed = [one for one in runs if one.delay_s is not None and one.delay_s > 0]
    promoted = [one for one in runs if one.outcome is Outcome.PROMOTED]

    def often(does: Callable[[Run], bool]) -> Frequency:
        count = sum(map(does, runs))
        return Frequency(count, len(runs), *exact_interval(count, len(runs)))

    return Study(
        is_tolerable=is_tolerable,
        failed=often(lambda one: one.delay_s is not None and one.delay_s > 0),
        early=often(lambda one: one.delay_s is not None and one.delay_s <= 0),
        failed_by=_causes(runs),
        failed_in=_places(runs),
        promoted=often(lambda one: one.outcome is Outcome.PROMOTED),
        undecided=often(lambda one: _is_undecided(one) and not one.has_waited),
        waiting=often(lambda one: _is_undecided(one) and one.has_waited),
        bad_instance=often(lambda one: _ended_on(one, Ground.ONE_BAD_INSTANCE)),
        dark=often(lambda one: _ended_on(one, Ground.CANARY_DARK, Ground.AUDIENCE_AWAY)),
        burning=often(lambda one: _ended_on(one, Ground.SERVICE_BURNING)),
        delay_s=spread([one.delay_s for one in failed if one.delay_s is not None]),
        delay_requests=spread([one.since_fault.total for one in failed]),
        users_hit=spread([one.since_fault.failed for one in failed]),
        promotion_s=spread([one.took_s for one in promoted]),
        example=(failed or list(runs))[0].reason,
    )


def _is_undecided(run: Run) -> bool:
    return run.outcome is Outcome.ROLLED_BACK and not run.is_failed


def _ended_on(run: Run, *grounds: Ground) -> bool:
    return _is_undecided(run) and run.verdict is not None and run.verdict.ground in grounds


def _causes(runs: Sequence[Run]) -> tuple[Cause, ...]:
    found = Counter(_cause(one.verdict) for one in runs if one.is_failed and one.verdict is not None)
    return tuple(Cause(name, count) for name, count in found.most_common())


def _places(runs: Sequence[Run]) -> tuple[Cause, ...]:
    found = Counter(one.step for one in runs if one.is_failed)
    return tuple(Cause(f"step {step + 1}", found[step]) for step in sorted(found))


def _cause(verdict: Verdict) -> str:
    if verdict.ground is not Ground.ODDS:
        return verdict.ground.value
    return max(verdict.parts, key=lambda one: one.part).metric if verdict.parts else verdict.metric


def spread(values: Sequence[float]) -> Spread:
    """Return median and 95th percentile (nearest rank: values that occurred)."""
    if not values:
        return Spread(None, None)
    ranked = sorted(values)
    return Spread(ranked[math.ceil(0.5 * len(ranked)) - 1], ranked[math.ceil(0.95 * len(ranked)) - 1])
