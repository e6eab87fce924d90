"""Whether the canary of a scene is within what a policy tolerates: then each FAIL is a false one, else a detection.

Before it: a `Scene` and a policy. After it: `study` counts. Chance plays no part here: rates and latencies are those that
the scene names, at the canary's worst.
"""

from __future__ import annotations

from itertools import pairwise

from controller.analysis.ladder import choose_rungs
from controller.analysis.streams import margins_of
from controller.model.metric import Metric, Need
from controller.model.plan import JudgeKind, Policy
from controller.model.wealth import Margin
from controller.simulation.latency import BOUNDS_S, Latency, Slowness, parts_above
from controller.simulation.scene import Scene

MANY = 10_000_000
"""Requests of an endless history."""
ROUNDING = 1e-9


def is_tolerable(scene: Scene, policy: Policy) -> bool:
    """Whether the canary at its worst is within the policy's tolerance.

    Instances that are unlike by themselves are no fault of the canary; neither is one bad one beside good ones.
    """
    canary, fleet = scene.canary, scene.fleet
    if canary.hangs_after_s is not None:
        return False
    is_alone = fleet is not None and fleet.canary == 1 and fleet.bad_rate is not None
    rate = fleet.bad_rate if is_alone and fleet is not None and fleet.bad_rate is not None else canary.rate
    if policy.ceiling is not None and policy.judge is JudgeKind.EVIDENCE and rate > policy.ceiling:
        return False
    return _is_within(policy.tolerance.tolerable, scene.stable_rate, rate) and not _is_slow(scene, policy)


def _is_slow(scene: Scene, policy: Policy) -> bool:
    metric = policy.latency
    is_judged = metric is not None and metric.need is not Need.ADVISORY and policy.judge is JudgeKind.EVIDENCE
    if metric is None or scene.latency is None or not is_judged:
        return False
    return any(not _is_within(*one) for one in _rungs(scene.latency, scene.canary.slowness, metric))


def _rungs(latency: Latency, slowness: Slowness, metric: Metric) -> list[tuple[Margin, float, float]]:
    """Return margin, stable's part and the canary's part above each rung's bound, as an endless history has them."""
    quantiles = [one.quantile for one in metric.ladder]
    stable = dict(zip(BOUNDS_S, _above(latency, Slowness()), strict=True))
    canary = dict(zip(BOUNDS_S, _above(latency, slowness), strict=True))
    buckets = [round(MANY * (high - low)) for high, low in pairwise([1.0, *stable.values(), 0.0])]
    rungs = choose_rungs(BOUNDS_S, buckets, quantiles, objective_s=metric.objective_s)
    return [
        (margins.tolerable, stable[rung.bound_s], canary[rung.bound_s])
        for rung in rungs
        if (margins := margins_of(metric, rung)) is not None
    ]


def _above(latency: Latency, slowness: Slowness) -> list[float]:
    """Return the part above each bound, in and out of pauses."""
    usual = parts_above(latency, BOUNDS_S, slowness, there=1.0)
    if latency.pauses is None:
        return usual
    in_pause = min(latency.pauses.for_s / latency.pauses.every_s, 1.0)
    later = parts_above(latency, BOUNDS_S, slowness, there=1.0, later_s=latency.pauses.for_s)
    return [one + in_pause * (other - one) for one, other in zip(usual, later, strict=True)]


def _is_within(margin: Margin, stable: float, canary: float) -> bool:
    return canary <= margin.rho * stable + margin.delta + ROUNDING
