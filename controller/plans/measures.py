"""What a policy measures, as people write it: margins in ratios and per cent, metrics, and the latency ladder.

Before it: `controller.plans.schema`, whose policy holds these shapes. After it: `controller.model.metric`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from controller.model.metric import LADDER, Metric, MetricKind, Need, RungMargin
from controller.model.wealth import Margin
from controller.plans.validation import Strict


class MarginShape(Strict):
    """A border: canary's failing part = ratio x stable's + extra_percent."""

    ratio: Annotated[float, Field(ge=1, le=10)]
    extra_percent: Annotated[float, Field(ge=0, le=50)]


class RungShape(Strict):
    """How much slower a canary may be at one quantile of stable's latency, in parts of requests above it."""

    quantile: Annotated[float, Field(gt=0, lt=1)]
    tolerable: MarginShape
    acceptable: MarginShape


class MetricShape(Strict):
    """One thing that is judged: `{"kind": "latency", "need": "advisory"}`."""

    kind: Literal["errors", "latency"]
    need: Annotated[
        Literal["required", "if_measured", "advisory"],
        Field(description="An advisory metric is told and decides nothing."),
    ] = "required"
    weight: Annotated[float, Field(gt=0, le=1, description="Its part of the wealth beside the others'.")] = (
        0.5
    )
    ladder: Annotated[list[RungShape] | None, Field(min_length=1, max_length=6)] = None
    objective_ms: Annotated[
        float | None, Field(gt=0, le=3_600_000, description="Of latency: one more bound of the ladder.")
    ] = None


def usual_metrics() -> list[MetricShape]:
    """Return what a policy judges that names nothing: the errors, and the latency where the source has it."""
    return [MetricShape(kind="errors"), MetricShape(kind="latency", need="if_measured", weight=0.4)]


def to_metric(shape: MetricShape) -> Metric:
    """Build the model's metric."""
    ladder: tuple[RungMargin, ...] = LADDER
    if shape.ladder is not None:
        ladder = tuple(
            RungMargin(one.quantile, to_margin(one.tolerable), to_margin(one.acceptable))
            for one in shape.ladder
        )
    objective_s = None if shape.objective_ms is None else shape.objective_ms / 1000
    return Metric(MetricKind(shape.kind), Need(shape.need), shape.weight, ladder, objective_s)


def write_metric(metric: Metric) -> dict[str, Any]:
    """Return a metric in the shape that is read."""
    written = {"kind": metric.kind.value, "need": metric.need.value, "weight": metric.weight}
    if metric.kind is not MetricKind.LATENCY:
        return written
    ladder = [
        {
            "quantile": one.quantile,
            "tolerable": write_margin(one.tolerable),
            "acceptable": write_margin(one.acceptable),
        }
        for one in metric.ladder
    ]
    objective = None if metric.objective_s is None else round(1000 * metric.objective_s, 6)
    return written | {"ladder": ladder, "objective_ms": objective}


def to_margin(shape: MarginShape) -> Margin:
    """Build the model's margin."""
    return Margin(rho=shape.ratio, delta=shape.extra_percent / 100)


def write_margin(margin: Margin) -> dict[str, float]:
    """Return a margin in the shape that is read."""
    return {"ratio": margin.rho, "extra_percent": hundredfold(margin.delta)}


def hundredfold(part: float) -> float:
    """Return a part of one in per cent."""
    # 0.07 * 100 is 7.000000000000001; ten decimals are more than anybody writes.
    return round(part * 100, 10)
