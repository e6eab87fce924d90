"""The evidence with which a release begins: what the history says, frozen, and one running bet of each metric.

Before it: the metric source's history. After it: `engine.judge`, at every look. Nothing that happens later changes what
is frozen here, because a margin or a weight that follows the outcomes would void the guarantee.
"""

from __future__ import annotations

from dataclasses import replace

from controller.analysis.dispersion import dispersion, slow_dispersion
from controller.analysis.ladder import choose_rungs
from controller.analysis.luck import luck_of
from controller.analysis.streams import margins_of
from controller.model.evidence import Evidence, Stream
from controller.model.look import History
from controller.model.metric import Metric, MetricKind, Need
from controller.model.plan import Plan, Policy
from controller.model.share import NOTHING, BasisPoints
from controller.model.start import Rung, Start
from controller.model.wealth import Wealth

PRIOR_REQUESTS = 500.0
"""Weight of the prior belief (one failure in a thousand) beside the history, in requests."""
LEAST_PRIOR = 1e-5
HIGHEST_PRIOR = 0.5
LEAST_PLAN_S = 60.0
HIGHEST_TEMPER = 8.0
"""Groups of more requests that fail together are an incident of one instance, and not how the service is."""
HIGHEST_SLOW_TEMPER = 1000.0
"""Likewise of slow requests, of which a pause makes as many as come in it: with 50, and pauses of a second at 500
requests/s, 16 of 200 good releases were taken back, with 1000 none."""


def prior_rate(history: History) -> float:
    """Return stable's failing rate as a release begins to believe it: its history beside one failure in a thousand."""
    return max((history.failed + 0.5) / (history.total + PRIOR_REQUESTS), LEAST_PRIOR)


def start_of(plan: Plan, policy: Policy, history: History, *, largest_group: int | None = None) -> Start:
    """Freeze what is known before a release.

    Args:
        plan: Gives the planned time, over which wealth for late faults comes in.
        policy: Names the quantiles of the latency ladder.
        history: What stable served before; an empty one is fine.
        largest_group: Most requests that the source may count for one failure; None when it does not know.
    """
    return Start(
        plan_s=max(sum(step.hold_s for step in plan.steps), LEAST_PLAN_S),
        steps=len(plan.steps),
        prior=min(prior_rate(history), HIGHEST_PRIOR),
        luck=luck_of((*history.instances, *history.earlier), history.minutes),
        temper=max(float(largest_group or 1), min(dispersion(history.minutes), HIGHEST_TEMPER)),
        rungs=_rungs(policy, history),
    )


def begin(
    policy: Policy, start: Start, share: BasisPoints = NOTHING, *, has_audience: bool = False
) -> Evidence:
    """Return the evidence before the first look.

    Args:
        policy: The rule. Of the start's rungs it judges those whose quantile stands in its ladder; the others are left
            out (`unjudged`), because there is no margin for them.
        start: What is known; of a recording, what was frozen under its own policy.
        share: Of the first step.
        has_audience: Only some requests may meet the canary in it.
    """
    return Evidence(
        start=start,
        share=share,
        has_audience=has_audience,
        streams=_streams(policy, start),
        ceiling=None if policy.ceiling is None else Wealth(),
    )


def unjudged(policy: Policy, start: Start) -> tuple[Rung, ...]:
    """Return the rungs of the start for which a policy that judges latency has no margin."""
    metric = policy.latency
    return () if metric is None else tuple(one for one in start.rungs if margins_of(metric, one) is None)


def begin_release(
    plan: Plan,
    policy: Policy,
    history: History,
    *,
    largest_group: int | None = None,
    is_narrowed: bool = False,
) -> Evidence:
    """Return the evidence with which a release begins; arguments as of `start_of` and `engine.begin_step`."""
    first, start = plan.steps[0], start_of(plan, policy, history, largest_group=largest_group)
    return begin(policy, start, share=first.share, has_audience=is_narrowed or bool(first.matches))


def _rungs(policy: Policy, history: History) -> tuple[Rung, ...]:
    metric = policy.latency
    if metric is None:
        return ()
    quantiles = [one.quantile for one in metric.ladder]
    rungs = choose_rungs(history.bounds_s, history.buckets, quantiles, objective_s=metric.objective_s)
    return tuple(replace(rung, temper=_slow_temper(history, rung.bound_s)) for rung in rungs)


def _slow_temper(history: History, bound_s: float) -> float:
    within = sum(one <= bound_s for one in history.bounds_s)
    minutes = [(sum(row), sum(row[within:])) for row in history.bucket_minutes]
    return min(slow_dispersion(minutes), HIGHEST_SLOW_TEMPER)


def _judged(metric: Metric, start: Start) -> tuple[int, ...]:
    return tuple(place for place, rung in enumerate(start.rungs) if margins_of(metric, rung) is not None)


def _streams(policy: Policy, start: Start) -> tuple[Stream, ...]:
    """Return a stream of the errors and of each rung; the weights of those that decide add up to 1."""
    found: list[Stream] = []
    for metric in policy.metrics:
        rungs = _judged(metric, start) if metric.kind is MetricKind.LATENCY else (None,)
        decides = metric.need is not Need.ADVISORY
        weight = metric.weight / max(len(rungs), 1) if decides else 0.0
        found += [Stream(metric.kind, rung, weight, is_required=decides) for rung in rungs]
    whole = sum(stream.weight for stream in found)
    return tuple(replace(stream, weight=stream.weight / whole) for stream in found)
