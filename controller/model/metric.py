"""What a policy judges beside the rails: failing requests, and slow ones.

Before it: a policy file. After it: `controller.analysis.streams` makes one running bet of each metric, or one of each
rung of the latency ladder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from controller.errors import InvalidInput
from controller.model.wealth import Margin


class MetricKind(StrEnum):
    """What is counted."""

    ERRORS = "errors"
    """Requests that failed."""
    LATENCY = "latency"
    """Requests that took longer than bounds which stand before the release begins."""


class Need(StrEnum):
    """What a metric may decide."""

    REQUIRED = "required"
    """It can take the canary back, and a step is certified only with it; a source without it cannot judge."""
    IF_MEASURED = "if_measured"
    """As required where the source has it; else nothing."""
    ADVISORY = "advisory"
    """It is told and decides nothing."""


@dataclass(frozen=True, slots=True)
class RungMargin:
    """How much slower a canary may be at one quantile of stable's latency.

    Args:
        quantile: Where stable's bound is taken, above 0 and below 1.
        tolerable: In parts of requests above the bound: up to here a canary is never to blame.
        acceptable: A step may end when the canary is proved to be better than this.
    """

    quantile: float
    tolerable: Margin
    acceptable: Margin

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise InvalidInput("expected a quantile above 0 and below 1", field="metrics.ladder.quantile")
        check_wider(self.tolerable, self.acceptable, "metrics.ladder.acceptable")


def check_wider(tolerable: Margin, acceptable: Margin, field: str) -> None:
    """Check that what certifies is wider than what is tolerated, else no canary could ever pass in between.

    Raises:
        InvalidInput: It is not.
    """
    looser = acceptable.rho >= tolerable.rho and acceptable.delta >= tolerable.delta
    if not looser or acceptable == tolerable:
        raise InvalidInput("expected a wider margin than tolerable's", field=field)


# Tolerable: for lognormal latencies with sigma 0.8, every request 9 to 13 % slower; acceptable: 34 to 43 % slower. So wide
# that latency never holds a step longer than failures do: a canary like stable is told from it by 64, 120 and 325
# requests (log 20 / KL); failures need 474 at a rate of 0.5 % and a margin of 1.5 x + 1 point.
LADDER = (
    RungMargin(0.5, Margin(1.05, 0.02), Margin(1.2, 0.05)),
    RungMargin(0.9, Margin(1.1, 0.01), Margin(1.5, 0.03)),
    RungMargin(0.99, Margin(1.25, 0.0025), Margin(2.0, 0.01)),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is judged.

    Args:
        kind: What is counted; each kind at most once in a policy.
        need: What it may decide.
        weight: Its part of the wealth beside the other metrics' that decide, above 0 and at most 1. A metric with the
            part v needs odds of 1/v times as much on its own.
        ladder: Of latency: the quantiles and their margins, 1 to 6.
        objective_s: Of latency: what the service promises, one more bound of the ladder, seconds; None for no promise.
    """

    kind: MetricKind
    need: Need = Need.REQUIRED
    weight: float = 0.5
    ladder: tuple[RungMargin, ...] = LADDER
    objective_s: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or not 0 < self.weight <= 1:
            raise InvalidInput("expected a number above 0 and at most 1", field="metrics.weight")
        quantiles = [rung.quantile for rung in self.ladder]
        if not 1 <= len(quantiles) <= 6 or quantiles != sorted(set(quantiles)):
            raise InvalidInput("expected 1 to 6 different quantiles, growing", field="metrics.ladder")
        if self.objective_s is not None and not 0 < self.objective_s <= 3600:
            raise InvalidInput("expected seconds above 0 and at most 3600", field="metrics.objective_s")


METRICS = (Metric(MetricKind.ERRORS), Metric(MetricKind.LATENCY, Need.IF_MEASURED, weight=0.4))
