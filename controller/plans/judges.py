"""The two judges for people who come from elsewhere, as they are written: how measurements are taken and counted.

Before it: `controller.plans.schema`, whose policy holds these shapes. After it: `controller.model.plan`.

The analysis of Argo's documentation (success rate of at least 95 % every five minutes, failureLimit 3) is
`{"judge": "threshold", "max_error_percent": 5, "limits": {"interval_s": 300, "failure_limit": 3}}`; Flagger's tutorial
(at least 99 % every minute, threshold 5) is
`{"judge": "threshold", "max_error_percent": 1, "limits": {"interval_s": 60, "failure_limit": 4}}`; and a metric of
Kayenta with its usual classifier is `{"judge": "mann_whitney"}`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from controller.model.plan import MOST_POINTS, Limits, MannWhitney
from controller.plans.validation import Strict

Interval = Annotated[
    float,
    Field(ge=1, le=3_600, description="Judged seconds of one measurement; none reaches over two steps."),
]
Count = Annotated[int, Field(ge=0, le=100)]


class LimitsShape(Strict):
    """How many measurements of the threshold judge may go wrong: `{"interval_s": 60, "failure_limit": 3}`."""

    interval_s: Interval = 60.0
    failure_limit: Annotated[
        Count, Field(description="More failing measurements than this in a release take the canary back.")
    ] = 0
    consecutive: Annotated[bool, Field(description="Only failing measurements in a row count.")] = False
    inconclusive_limit: Annotated[
        Count | None,
        Field(
            description="More measurements of a step than this with too few requests end it undecided; null: its "
            "deadline does."
        ),
    ] = None
    consecutive_error_limit: Annotated[
        Count, Field(description="More in a row than this without a source end the step as well.")
    ] = 4


class MannWhitneyShape(Strict):
    """How the rank-sum judge is set; the defaults are Kayenta's."""

    interval_s: Interval = 60.0
    fewest: Annotated[
        int, Field(ge=5, le=MOST_POINTS, description="Measurements below which nothing is said.")
    ] = 5
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.98
    tolerance: Annotated[
        float, Field(ge=0, le=0.95, description="Part of the estimated shift that its interval must exceed.")
    ] = 0.25
    allowed_increase: Annotated[
        float, Field(ge=1, le=100, description="Ratio of both failing parts up to which a shift is no fault.")
    ] = 1.0


def to_limits(shape: LimitsShape | None) -> Limits | None:
    """Build the model's limits."""
    return None if shape is None else Limits(**shape.model_dump())


def to_mann_whitney(shape: MannWhitneyShape) -> MannWhitney:
    """Build the model's setting of the rank-sum judge."""
    return MannWhitney(**shape.model_dump())


def write_limits(limits: Limits | None) -> dict[str, Any] | None:
    """Return limits in the shape that is read."""
    return None if limits is None else asdict(limits)


def write_mann_whitney(rule: MannWhitney) -> dict[str, Any]:
    """Return the setting of the rank-sum judge in the shape that is read."""
    return asdict(rule)
