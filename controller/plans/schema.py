"""Plans and policies as people write them, to `controller.model.plan` and back.

People write per cent with at most two decimals; the model holds basis points and parts of one. Every written field has
the model's default when it is left out. The ready-made ones are in `controller.plans.ready`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from controller.errors import InvalidInput
from controller.model.plan import HOLD_BACK, Burn, Fallback, JudgeKind, Plan, Policy, Rail, Step, Tolerance
from controller.model.share import EVERYTHING, BasisPoints
from controller.plans.judges import (
    LimitsShape,
    MannWhitneyShape,
    to_limits,
    to_mann_whitney,
    write_limits,
    write_mann_whitney,
)
from controller.plans.measures import (
    MarginShape,
    MetricShape,
    hundredfold,
    to_margin,
    to_metric,
    usual_metrics,
    write_margin,
    write_metric,
)
from controller.plans.traffic import Matches, write_match
from controller.plans.validation import NAME, Strict, validate, within

Name = Annotated[str, Field(pattern=NAME, max_length=63)]
Seconds = Annotated[float, Field(ge=0, le=30 * 86_400)]
Percent = Annotated[float, Field(ge=0, le=100)]
Fallbacks = Annotated[str, Field(pattern=r"^(rollback|wait|promote)$")]


class StepShape(Strict):
    """One rung: `{"share": 10, "hold_s": 60}`."""

    share: Annotated[
        float,
        Field(
            gt=0,
            le=100,
            description="Per cent of the traffic, at most two decimals; above 95 only with matches.",
        ),
    ]
    hold_s: Annotated[Seconds, Field(description="Least judged time, seconds.")] = 10.0
    deadline_s: Annotated[
        Seconds, Field(description="Judged seconds without a PASS until the policy decides.")
    ] = 600.0
    gate: Annotated[bool, Field(description="Wait here for a person.")] = False
    certified_after_s: Annotated[
        Seconds | None,
        Field(description="A certified step may end after this much judged time; null: not before hold_s."),
    ] = None
    matches: Annotated[
        Matches,
        Field(
            description="Only requests that fit one of them may meet the canary in this step; none: all may."
        ),
    ]


class PlanShape(Strict):
    """A ladder of shares."""

    name: Name = "custom"
    steps: Annotated[list[StepShape], Field(min_length=1, max_length=100)]
    ready_timeout_s: Annotated[
        float, Field(ge=1, le=3_600, description="How long the version may take to become ready, seconds.")
    ] = 120.0


class RailShape(Strict):
    """The absolute limit beside the threshold."""

    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    max_failed_percent: Annotated[float, Field(ge=0.01, le=100)] = 50.0
    window_s: Annotated[float, Field(ge=1, le=600)] = 10.0


class ToleranceShape(Strict):
    """What the evidence judge guarantees."""

    alpha: Annotated[
        float, Field(ge=1e-6, le=0.5, description="Probability of rolling a tolerable canary back, at most.")
    ] = 0.01
    beta: Annotated[
        float, Field(ge=1e-6, le=0.5, description="Probability a step of certifying an unacceptable one.")
    ] = 0.05
    tolerable: MarginShape = MarginShape(ratio=1.1, extra_percent=0.05)
    acceptable: MarginShape = MarginShape(ratio=1.25, extra_percent=0.2)
    cap_nats: Annotated[float, Field(ge=0.5, le=10, description="Most that one look may add.")] = 3.5


class BurnShape(Strict):
    """When a service is failing as a whole, so that its canary is not blamed."""

    objective_percent: Annotated[float, Field(ge=50, le=99.999)] = 99.0
    factor: Annotated[float, Field(ge=1, le=1_000)] = 14.4


class PolicyShape(Strict):
    """How a canary is judged."""

    name: Name = "custom"
    judge: Literal["evidence", "threshold", "mann_whitney"] = "evidence"
    tolerance: ToleranceShape = ToleranceShape()
    metrics: Annotated[list[MetricShape], Field(min_length=1, max_length=2, default_factory=usual_metrics)]
    ceiling_percent: Annotated[
        float | None, Field(gt=0, le=100, description="Never tolerable, whatever stable does.")
    ] = None
    max_error_percent: Annotated[
        Percent, Field(description="Above this part of failing canary requests it is rolled back.")
    ] = 5.0
    min_requests: Annotated[int, Field(ge=1, le=100_000_000)] = 50
    limits: Annotated[
        LimitsShape | None,
        Field(description="Of the threshold: how many measurements may go wrong; null: it measures nothing."),
    ] = None
    mann_whitney: MannWhitneyShape = MannWhitneyShape()
    warmup_s: Annotated[float, Field(ge=0, le=3_600)] = 5.0
    rail: RailShape = RailShape()
    burn: BurnShape = BurnShape()
    on_inconclusive: Fallbacks = "rollback"
    on_no_data: Fallbacks = "wait"
    on_source_down: Fallbacks = "wait"
    longest_wait_s: Annotated[
        Seconds,
        Field(description="A release that waits for a person is rolled back after this much judged time."),
    ] = 900.0


def read_plan(document: object) -> Plan:
    """Read a written plan.

    Raises:
        InvalidInput: A field is wrong; its path is relative to the plan.
    """
    return to_plan(validate(PlanShape, document))


def read_policy(document: object) -> Policy:
    """Read a written policy.

    Raises:
        InvalidInput: A field is wrong; its path is relative to the policy.
    """
    return to_policy(validate(PolicyShape, document))


def to_plan(shape: PlanShape, *, prefix: str = "") -> Plan:
    """Build the model's plan; `prefix` goes before the field of an error."""
    return within(
        prefix,
        lambda: Plan(
            name=shape.name,
            steps=tuple(_step(step, index) for index, step in enumerate(shape.steps)),
            ready_timeout_s=shape.ready_timeout_s,
        ),
    )


def to_policy(shape: PolicyShape, *, prefix: str = "") -> Policy:
    """Build the model's policy; `prefix` goes before the field of an error."""
    return within(
        prefix,
        lambda: Policy(
            name=shape.name,
            judge=JudgeKind(shape.judge),
            tolerance=Tolerance(
                alpha=shape.tolerance.alpha,
                beta=shape.tolerance.beta,
                tolerable=to_margin(shape.tolerance.tolerable),
                acceptable=to_margin(shape.tolerance.acceptable),
                cap=shape.tolerance.cap_nats,
            ),
            metrics=tuple(to_metric(one) for one in shape.metrics),
            ceiling=None if shape.ceiling_percent is None else shape.ceiling_percent / 100,
            max_error_rate=shape.max_error_percent / 100,
            min_requests=shape.min_requests,
            limits=to_limits(shape.limits),
            mann_whitney=to_mann_whitney(shape.mann_whitney),
            warmup_s=shape.warmup_s,
            rail=Rail(
                min_requests=shape.rail.min_requests,
                max_failed=shape.rail.max_failed_percent / 100,
                window_s=shape.rail.window_s,
            ),
            on_inconclusive=Fallback(shape.on_inconclusive),
            on_no_data=Fallback(shape.on_no_data),
            burn=Burn(objective=shape.burn.objective_percent / 100, factor=shape.burn.factor),
            on_source_down=Fallback(shape.on_source_down),
            longest_wait_s=shape.longest_wait_s,
        ),
    )


def write_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan in the shape that `read_plan` reads."""
    return {
        "name": plan.name,
        "steps": [
            {
                "share": percent(step.share),
                "hold_s": step.hold_s,
                "deadline_s": step.deadline_s,
                "gate": step.gate,
                "certified_after_s": step.certified_after_s,
                "matches": [write_match(one) for one in step.matches],
            }
            for step in plan.steps
        ],
        "ready_timeout_s": plan.ready_timeout_s,
    }


def write_policy(policy: Policy) -> dict[str, Any]:
    """Return a policy in the shape that `read_policy` reads."""
    return {
        "name": policy.name,
        "judge": policy.judge.value,
        "tolerance": {
            "alpha": policy.tolerance.alpha,
            "beta": policy.tolerance.beta,
            "tolerable": write_margin(policy.tolerance.tolerable),
            "acceptable": write_margin(policy.tolerance.acceptable),
            "cap_nats": policy.tolerance.cap,
        },
        "metrics": [write_metric(one) for one in policy.metrics],
        "ceiling_percent": None if policy.ceiling is None else hundredfold(policy.ceiling),
        "max_error_percent": hundredfold(policy.max_error_rate),
        "min_requests": policy.min_requests,
        "limits": write_limits(policy.limits),
        "mann_whitney": write_mann_whitney(policy.mann_whitney),
        "warmup_s": policy.warmup_s,
        "rail": {
            "min_requests": policy.rail.min_requests,
            "max_failed_percent": hundredfold(policy.rail.max_failed),
            "window_s": policy.rail.window_s,
        },
        "on_inconclusive": policy.on_inconclusive.value,
        "on_no_data": policy.on_no_data.value,
        "burn": {
            "objective_percent": hundredfold(policy.burn.objective),
            "factor": policy.burn.factor,
        },
        "on_source_down": policy.on_source_down.value,
        "longest_wait_s": policy.longest_wait_s,
    }


def percent(share: BasisPoints) -> float:
    """Return a share as people write it: 1050 is 10.5."""
    return share / 100


def _step(shape: StepShape, index: int) -> Step:
    share = round(shape.share * 100)
    if abs(shape.share * 100 - share) > 1e-6:
        raise InvalidInput(
            "expected at most two decimals (0.01 % is the finest)", field=f"steps.{index}.share"
        )
    if share > EVERYTHING - HOLD_BACK and not shape.matches:
        raise InvalidInput(
            "expected at most 95 (5 % of stable is kept for comparison), or matches",
            field=f"steps.{index}.share",
        )
    return Step(
        share=BasisPoints(share),
        hold_s=shape.hold_s,
        deadline_s=shape.deadline_s,
        gate=shape.gate,
        certified_after_s=shape.certified_after_s,
        matches=within(f"steps.{index}", lambda: tuple(one.match() for one in shape.matches)),
    )
