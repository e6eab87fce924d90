"""Ready-made plans and policies by name, so that a first release needs neither.

Before it: a request or a target that names one. After it: the values travel in the order; changing one here never
changes a release that runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from controller.errors import InvalidInput
from controller.model.metric import Metric, MetricKind, Need
from controller.model.plan import JudgeKind, Limits, Plan, Policy, Step, Tolerance
from controller.model.share import BasisPoints
from controller.model.wealth import Margin

STANDARD = "standard"
Value = TypeVar("Value", Plan, Policy)


def _plan(name: str, *steps: tuple[float, float, float, float]) -> Plan:
    """Build a plan from (per cent, hold seconds, seconds before a certificate may end the step, deadline seconds)."""
    return Plan(
        name=name,
        steps=tuple(
            Step(
                share=BasisPoints(round(share * 100)),
                hold_s=hold_s,
                deadline_s=deadline_s,
                certified_after_s=certified_after_s,
            )
            for share, hold_s, certified_after_s, deadline_s in steps
        ),
    )


PLANS: Mapping[str, Plan] = {
    plan.name: plan
    for plan in (
        _plan(STANDARD, (5, 120, 60, 900), (25, 180, 60, 900), (50, 180, 60, 900)),
        _plan("fast", (10, 10, 5, 300), (50, 20, 10, 300)),
        _plan("demo", (10, 3, 1, 60), (30, 3, 1, 60), (60, 3, 1, 60)),
        _plan(
            "probe",
            (0.1, 60, 60, 7_200),
            (1, 60, 60, 1_800),
            (5, 120, 60, 900),
            (25, 180, 60, 900),
            (50, 180, 60, 900),
        ),
    )
}
"""`probe` is for services with a thousand requests a second or more. A step needs up to 4 000 canary requests under the
policy `standard`; at 0.1 % of 1 000 requests/s they take 67 minutes and at 10 000 seven, so that its first deadline is
two hours. `demo` is for a stage with hundreds of requests a second: a few seconds a step would prove little elsewhere.
"""

POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy(name=STANDARD),
        Policy(name="fast", tolerance=Tolerance(acceptable=Margin(1.5, 0.01))),
        Policy(
            name="demo",
            warmup_s=1.0,
            tolerance=Tolerance(acceptable=Margin(2.0, 0.03)),
            metrics=(
                Metric(MetricKind.ERRORS),
                Metric(MetricKind.LATENCY, Need.ADVISORY, weight=0.4),
            ),
        ),
        Policy(name="limits", judge=JudgeKind.THRESHOLD, max_error_rate=0.05, limits=Limits(failure_limit=3)),
        Policy(name="mann-whitney", judge=JudgeKind.MANN_WHITNEY),
    )
}
"""`standard` certifies up to 1.25 times stable's rate + 0.2 points, `fast` 1.5 times + 1, `demo` twice + 3.

The last two are for people who come from Argo Rollouts or Flagger (the fourth minute with more than 5 % failing takes a
canary back) and from Kayenta. They are slower, and promise less: what they would do is foreseen at the start.
"""


def plan(name: str) -> Plan:
    """Return a ready-made plan.

    Raises:
        InvalidInput: No plan has that name; the message lists the known ones.
    """
    return _known(PLANS, name, "plan")


def policy(name: str) -> Policy:
    """Return a ready-made policy.

    Raises:
        InvalidInput: No policy has that name; the message lists the known ones.
    """
    return _known(POLICIES, name, "policy")


def _known(known: Mapping[str, Value], name: str, field: str) -> Value:
    if name not in known:
        raise InvalidInput(
            f"no such {field} is known; ready-made ones: {', '.join(known)}, or write one as an object",
            field=field,
        )
    return known[name]
