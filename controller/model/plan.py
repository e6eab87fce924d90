"""The steps of a release and how each is judged, before anything has happened.

A plan is the ladder of shares; a policy is the rule of judgement. Both come out of `controller.plans` (files, API,
ready-made ones) and travel unchanged through the workflow to the judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from controller.errors import InvalidInput
from controller.model.metric import METRICS, Metric, MetricKind, Need, check_wider
from controller.model.share import EVERYTHING, BasisPoints, basis_points, in_percent
from controller.model.traffic import MOST_MATCHES, Match, audience
from controller.model.wealth import Margin

HOLD_BACK = BasisPoints(500)
"""The last share of stable that is kept for comparison: a canary is never judged at more than 95 %."""
MOST_POINTS = 60
"""Newest points that the rank-sum judge keeps: an hour of minutes."""


def _finite(value: float, low: float, high: float, name: str) -> None:
    if isinstance(value, bool) or not math.isfinite(value) or not low <= value <= high:
        raise InvalidInput(f"expected a number from {low:g} to {high:g}", field=name)


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of the ladder.

    Args:
        share: The canary's part of the traffic, above 0 and at most 9 500 (5 % stable is held back for comparison); with
            matches the part of the requests that fit, at most 10 000: everybody else stays for comparison.
        hold_s: The judged time before a PASS, seconds, 0 to 86 400.
        deadline_s: After this much judged time without a PASS the policy's `on_inconclusive` decides; seconds.
        gate: The step waits for a person: no PASS and no deadline, while judging and rollback go on.
        certified_after_s: A step that is certified may end after this much judged time, seconds; None: not before
            `hold_s`, because a fault may need time to show.
        matches: The step's audience: in this step only requests that fit one of them may meet the canary, and of those
            only the ones that fit the target's own matches as well. Empty narrows nothing.
    """

    share: BasisPoints
    hold_s: float = 10.0
    deadline_s: float = 600.0
    gate: bool = False
    certified_after_s: float | None = None
    matches: tuple[Match, ...] = ()

    def __post_init__(self) -> None:
        basis_points(self.share, field="steps.share")
        if len(self.matches) > MOST_MATCHES:
            raise InvalidInput(f"expected at most {MOST_MATCHES} matches", field="steps.matches")
        if not 0 < self.share <= (EVERYTHING if self.matches else EVERYTHING - HOLD_BACK):
            raise InvalidInput(
                "expected 1 to 9500 basis points: 5 % of stable is kept for comparison (with matches up to 10000)",
                field="steps.share",
            )
        _finite(self.hold_s, 0, 86_400, "steps.hold_s")
        _finite(self.deadline_s, 1, 30 * 86_400, "steps.deadline_s")
        if self.certified_after_s is not None:
            _finite(self.certified_after_s, 0, self.hold_s, "steps.certified_after_s")
        if self.deadline_s <= self.hold_s:
            raise InvalidInput(
                "expected a deadline after hold_s, else the step can never pass", field="steps.deadline_s"
            )

    @property
    def said(self) -> str:
        """The share as people read it, with its audience: `100 % (only requests with x-internal: 1)`."""
        return in_percent(self.share) + (f" (only {audience(self.matches)})" if self.matches else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """The ladder of shares that a canary climbs.

    Args:
        name: What people call it.
        steps: At least one, at most 100. Those with an audience come first; shares never fall from a step to the next of
            the same audience, and begin anew with another one.
        ready_timeout_s: How long the version may take to become ready, seconds.
    """

    name: str
    steps: tuple[Step, ...]
    ready_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.steps) <= 100:
            raise InvalidInput("expected 1 to 100 steps", field="steps")
        for before, after in pairwise(self.steps):
            # Who has met the canary does not lose it again, unless an audience makes room for everybody.
            if after.matches and not before.matches:
                raise InvalidInput(
                    "expected the steps with matches before those for everybody", field="steps.matches"
                )
            if after.matches == before.matches and after.share < before.share:
                raise InvalidInput("expected shares that never fall from step to step", field="steps.share")
        _finite(self.ready_timeout_s, 1, 3_600, "ready_timeout_s")


class Fallback(StrEnum):
    """What to do when a step ends without a verdict."""

    ROLLBACK = "rollback"
    WAIT = "wait"
    """Stay at the share, keep judging, and wait for a person."""
    PROMOTE = "promote"
    """Go on. Only for people who accept a step that proved nothing."""


@dataclass(frozen=True, slots=True)
class Rail:
    """An absolute limit beside the statistics: this many requests, this part of them failing, within this time.

    Args:
        min_requests: Least canary requests inside the window before the rail can act.
        max_failed: The part that may fail, 0 to 1; reached or passed, the rail acts.
        window_s: How far back it looks, seconds.
    """

    min_requests: int = 10
    max_failed: float = 0.5
    window_s: float = 10.0

    def __post_init__(self) -> None:
        _finite(self.min_requests, 1, 1_000_000, "rail.min_requests")
        _finite(self.max_failed, 0.0001, 1, "rail.max_failed")
        _finite(self.window_s, 1, 600, "rail.window_s")


class JudgeKind(StrEnum):
    """Who judges between the rails."""

    EVIDENCE = "evidence"
    """Running odds on the raw counts of both arms, valid at every look."""
    THRESHOLD = "threshold"
    """A limit on the canary's error rate."""
    MANN_WHITNEY = "mann_whitney"
    """A rank-sum test of both arms' failing parts in even intervals, as Kayenta is configured."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many measurements of the threshold judge may go wrong, as in Argo Rollouts and Flagger.

    A measurement compares the canary's failing part of one interval with `max_error_rate`. Flagger's `threshold: n` is a
    `failure_limit` of n - 1.

    Args:
        interval_s: Judged time of a measurement, seconds, 1 to 3 600; none reaches over two steps.
        failure_limit: More failing measurements than this in the release take the canary back, 0 to 100.
        consecutive: Only failing measurements in a row count: a good one sets them back to none.
        inconclusive_limit: More measurements of a step than this with fewer than `min_requests` canary requests end it
            undecided at once, 0 to 100; None: they wait for its deadline.
        consecutive_error_limit: More measurements in a row than this at a source that is not well do the same.
    """

    interval_s: float = 60.0
    failure_limit: int = 0
    consecutive: bool = False
    inconclusive_limit: int | None = None
    consecutive_error_limit: int = 4

    def __post_init__(self) -> None:
        _finite(self.interval_s, 1, 3_600, "limits.interval_s")
        _finite(self.failure_limit, 0, 100, "limits.failure_limit")
        _finite(self.consecutive_error_limit, 0, 100, "limits.consecutive_error_limit")
        if self.inconclusive_limit is not None:
            _finite(self.inconclusive_limit, 0, 100, "limits.inconclusive_limit")


@dataclass(frozen=True, slots=True)
class MannWhitney:
    """How the rank-sum judge is set; the defaults are Kayenta's.

    Args:
        interval_s: Judged time of one point of both series, seconds, 1 to 3 600; none reaches over two steps.
        fewest: Points a side below which nothing is said, 5 to 60.
        confidence: Of the shift's interval, two-sided, 0.5 to 0.9999.
        tolerance: Part of the estimated shift that the whole interval must exceed, 0 to 0.95.
        allowed_increase: Ratio of the mean failing parts up to which a shift is no fault, 1 to 100.
    """

    interval_s: float = 60.0
    fewest: int = 5
    confidence: float = 0.98
    tolerance: float = 0.25
    allowed_increase: float = 1.0

    def __post_init__(self) -> None:
        _finite(self.interval_s, 1, 3_600, "mann_whitney.interval_s")
        _finite(self.fewest, 5, MOST_POINTS, "mann_whitney.fewest")
        _finite(self.confidence, 0.5, 0.9999, "mann_whitney.confidence")
        _finite(self.tolerance, 0, 0.95, "mann_whitney.tolerance")
        _finite(self.allowed_increase, 1, 100, "mann_whitney.allowed_increase")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What the evidence judge guarantees.

    Args:
        alpha: Highest probability that a tolerable canary is rolled back, over the whole release; above 0, below 0.5.
        beta: Highest probability a step that a canary at `acceptable` is certified; likewise.
        tolerable: Up to here a canary is never to blame: p_canary <= rho * p_stable + delta.
        acceptable: A step may end when the canary is proved to be better than this.
        cap: Most nats that one look may add; bounds what a skewed scrape can do. 0.5 to 10.
    """

    alpha: float = 0.01
    beta: float = 0.05
    tolerable: Margin = Margin(1.1, 0.0005)
    acceptable: Margin = Margin(1.25, 0.002)
    cap: float = 3.5

    def __post_init__(self) -> None:
        _finite(self.alpha, 1e-6, 0.5, "tolerance.alpha")
        _finite(self.beta, 1e-6, 0.5, "tolerance.beta")
        _finite(self.cap, 0.5, 10, "tolerance.cap")
        check_wider(self.tolerable, self.acceptable, "tolerance.acceptable")


@dataclass(frozen=True, slots=True)
class Burn:
    """When a service is failing as a whole, so that nothing can be said about its canary.

    Both arms have to burn the error budget `factor` times as fast as the objective allows, over the last five minutes and
    over the last one (Google, The Site Reliability Workbook, 2018, chapter 5).

    Args:
        objective: The part of requests that shall be answered well, 0.5 to 0.99999.
        factor: 1 to 1000.
    """

    objective: float = 0.99
    factor: float = 14.4

    def __post_init__(self) -> None:
        _finite(self.objective, 0.5, 0.99999, "burn.objective")
        _finite(self.factor, 1, 1000, "burn.factor")

    @property
    def limit(self) -> float:
        """The failing part from which a service burns, at most 0.9."""
        return min(self.factor * (1.0 - self.objective), 0.9)


@dataclass(frozen=True, slots=True)
class Policy:
    """How a canary is judged.

    Args:
        name: What people call it.
        judge: Who judges between the rails.
        tolerance: What the evidence judge guarantees; its margins are those of errors.
        metrics: What the evidence judge judges; errors always.
        ceiling: Of the evidence judge: the canary's failing part that is never tolerable, whatever stable does, above 0
            and at most 1; None for no ceiling. It takes a tenth of the wealth.
        max_error_rate: Of the threshold judge: the failing part above which the canary is rolled back, 0 to 1.
        min_requests: Of the threshold judge: least canary requests in a step, or in a measurement, before it says
            anything.
        limits: Of the threshold judge: how many measurements may go wrong; None: it looks at the step's newest requests
            and the first time above the limit decides.
        mann_whitney: How the rank-sum judge is set.
        warmup_s: Judged time at the start of the release in which only rails act, seconds.
        rail: The hard rail.
        burn: When the whole service is failing: then the share stays as it is.
        on_inconclusive: What happens at a step's deadline when there was traffic but no PASS.
        on_no_data: The same when the canary got too few requests.
        on_source_down: The same when the source of evidence did not answer at the deadline.
        longest_wait_s: A release that waits for a person is rolled back after this much judged time; seconds.
    """

    name: str
    judge: JudgeKind = JudgeKind.EVIDENCE
    tolerance: Tolerance = field(default_factory=Tolerance)
    metrics: tuple[Metric, ...] = METRICS
    ceiling: float | None = None
    max_error_rate: float = 0.05
    min_requests: int = 50
    limits: Limits | None = None
    mann_whitney: MannWhitney = field(default_factory=MannWhitney)
    warmup_s: float = 5.0
    rail: Rail = field(default_factory=Rail)
    burn: Burn = field(default_factory=Burn)
    on_inconclusive: Fallback = Fallback.ROLLBACK
    on_no_data: Fallback = Fallback.WAIT
    on_source_down: Fallback = Fallback.WAIT
    longest_wait_s: float = 900.0

    @property
    def latency(self) -> Metric | None:
        """How latency is judged; None when it is not."""
        return next((one for one in self.metrics if one.kind is MetricKind.LATENCY), None)

    def __post_init__(self) -> None:
        _finite(self.max_error_rate, 0, 1, "max_error_rate")
        _finite(self.min_requests, 1, 100_000_000, "min_requests")
        _finite(self.warmup_s, 0, 3_600, "warmup_s")
        _finite(self.longest_wait_s, 0, 30 * 86_400, "longest_wait_s")
        if self.ceiling is not None:
            _finite(self.ceiling, 1e-6, 1, "ceiling")
        kinds = [metric.kind for metric in self.metrics]
        if len(set(kinds)) < len(kinds):
            raise InvalidInput("expected each kind of metric once", field="metrics")
        if not any(one.kind is MetricKind.ERRORS and one.need is not Need.ADVISORY for one in self.metrics):
            raise InvalidInput("expected errors among the metrics that decide", field="metrics")
