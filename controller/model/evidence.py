"""What a judge carries from look to look, and what a step is told and answers.

`Evidence` is small, JSON-safe and complete: it travels in heartbeats and between steps, so that a judge that takes over
on another worker counts on as if nothing had happened. Only `controller.analysis` looks inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.model.lease import ClosureKind
from controller.model.look import Exceedance
from controller.model.machine import Happening
from controller.model.metric import MetricKind
from controller.model.release import ReleaseOrder
from controller.model.share import NOTHING, BasisPoints
from controller.model.start import Start
from controller.model.verdict import Verdict
from controller.model.wealth import Odds, Predictor, Tally, Wealth


@dataclass(frozen=True, slots=True)
class Block:
    """What happened in one stretch of judged time: from and until (seconds of judged time), and both arms' counts."""

    from_s: float
    until_s: float
    canary: Tally = Tally()
    stable: Tally = Tally()


class Measured(StrEnum):
    """What a measurement says of the canary."""

    GOOD = "good"
    FAILED = "failed"
    COMMON = "common"
    """Stable is above the limit as well: nobody is blamed."""
    INCONCLUSIVE = "inconclusive"
    """Too little was seen."""
    ERROR = "error"
    """The source was not well when the interval ended; what happened is counted by the next measurement."""


@dataclass(frozen=True, slots=True)
class Series:
    """What the judges carry that measure in even intervals.

    Args:
        open: The interval that runs; None before it begins.
        last: The newest measured one of this step.
        newest: What the newest measurement of this step says.
        failed: Failing measurements of the release that count.
        inconclusive: Measurements of this step with too few requests.
        errors: Measurements in a row, in this step, at a source that was not well.
        points: Of each of the newest intervals with requests on both arms, oldest first, at most 60: the canary's
            requests and failures, and stable's.
    """

    open: Block | None = None
    last: Block | None = None
    newest: Measured | None = None
    failed: int = 0
    inconclusive: int = 0
    errors: int = 0
    points: tuple[tuple[int, int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """One running bet: the errors, one rung of the latency ladder, or the ceiling.

    Args:
        metric: What is counted.
        rung: Index into the start's ladder; None for errors.
        weight: Its part of the wealth, 0 to 1; 0 for a metric that only advises.
        is_required: A step is certified only with it.
        odds: Its own.
    """

    metric: MetricKind = MetricKind.ERRORS
    rung: int | None = None
    weight: float = 1.0
    is_required: bool = True
    odds: Odds = Odds()


@dataclass(frozen=True, slots=True)
class Without:
    """The odds on errors that the canary's other instances make, with one of them left out.

    Args:
        instance: Id of the one that is left out.
        seen: Its newest cumulative reading.
        waiting: What it served and the others' bet has not left out yet.
        wealth: Odds of the rest.
    """

    instance: str
    seen: Tally = Tally()
    waiting: Tally = Tally()
    wealth: Wealth = Wealth()


@dataclass(frozen=True, slots=True)
class Darkness:
    """How long the canary has been without a request.

    Args:
        run: Stable requests since the last look in which the canary had one.
        restarts: How often such a run began anew.
        canary: Requests of the canary in this step.
        total: Requests of both arms in this step, until the present run began.
    """

    run: int = 0
    restarts: int = 0
    canary: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """Two running bets on the observed split.

    Args:
        low: Nats won on "the canary gets less than a third of its share", in this run.
        high: Nats won on "it gets more than three times its share", likewise.
        runs: Which run of the release this is, from 1.
    """

    low: float = 0.0
    high: float = 0.0
    runs: int = 1


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests and failures of both arms, forgotten with a mean age of one and of five minutes."""

    stable_1m: Predictor = Predictor()
    canary_1m: Predictor = Predictor()
    stable_5m: Predictor = Predictor()
    canary_5m: Predictor = Predictor()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The judge's memory.

    Args:
        looks: How many looks it has seen.
        at_s: The newest look's clock; only short differences are used. None before the first look.
        generation: Of the newest reading.
        stable_seen: The newest cumulative reading of stable.
        canary_seen: The newest cumulative reading of the canary.
        judged_s: Judged time since the release began, seconds.
        step_s: Judged time since the step began, seconds.
        window: What the threshold stands on, oldest first: at most two blocks of this step, after the warm-up.
        recent: The blocks inside the rail's window, oldest first, at most 17.
        restarts: The canary's restarts at the first look; None while unknown.
        unready: Looks in a row at which the canary was not ready.
        failed: The FAIL that latched; never taken back.
        start: What was known when the release began.
        share: The canary's share in this step.
        has_audience: Only some requests may meet the canary in this step: `share` is of an unknown part of the traffic.
        hanging: Looks in a row at which far more requests were in flight on the canary than its share explains.
        darkness: Whether the canary gets anything at all.
        split: Whether it gets about its share.
        pace: How both arms have been failing lately.
        stable_over: The newest cumulative reading of stable's slow requests; None before the first.
        canary_over: Likewise.
        streams: The running bets of the evidence judge.
        ceiling: Odds against "the canary's failing part is below the ceiling"; None without a ceiling.
        without: The odds on errors with each of the canary's instances left out, at most 32; empty with fewer than two.
        crossed: The odds have reached the bar.
        rest_crossed: Without any one instance they were high enough as well.
        blamed: The instance without which they would not be; empty while there is none.
        series: What the judges carry that measure in even intervals.
    """

    looks: int = 0
    at_s: float | None = None
    generation: str = ""
    stable_seen: Tally = Tally()
    canary_seen: Tally = Tally()
    judged_s: float = 0.0
    step_s: float = 0.0
    window: tuple[Block, ...] = ()
    recent: tuple[Block, ...] = ()
    restarts: int | None = None
    unready: int = 0
    failed: Verdict | None = None
    start: Start = Start()
    share: BasisPoints = NOTHING
    has_audience: bool = False
    hanging: int = 0
    darkness: Darkness = Darkness()
    split: Split = Split()
    pace: Pace = Pace()
    stable_over: Exceedance | None = None
    canary_over: Exceedance | None = None
    streams: tuple[Stream, ...] = (Stream(),)
    ceiling: Wealth | None = None
    without: tuple[Without, ...] = ()
    crossed: bool = False
    rest_crossed: bool = False
    blamed: str = ""
    series: Series = Series()


@dataclass(frozen=True, slots=True)
class StepOrder:
    """What a judge is told.

    Args:
        release: The whole order, so that a judge needs nothing else.
        step: Index into the plan.
        is_open: Judge without deadline and without PASS (paused, waiting, gate).
        evidence: From the steps before; None at the first.
        is_continued: The step was judged before (pause, resume): its time and counts go on.
        is_waiting: Its deadline has passed and a person is waited for: not longer than the policy's `longest_wait_s`.
    """

    release: ReleaseOrder
    step: int
    is_open: bool = False
    evidence: Evidence | None = None
    is_continued: bool = False
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a judge answers.

    Args:
        kind: STEP_PASSED, STEP_FAILED, STEP_UNDECIDED, INTERRUPTED or CLOSED.
        evidence: To be handed to the next judge.
        verdict: The one it ended on, if any.
        reason: One sentence with numbers.
        closure: Set when kind is CLOSED: somebody barred the release (an abort, or an earlier judge's FAIL).
        verdict_at: When the verdict was reached, seconds since 1970 (UTC).
        closed_at: When the router had taken the share back and barred the release, likewise; FAIL only.
    """

    kind: Happening
    evidence: Evidence
    verdict: Verdict | None = None
    reason: str = ""
    closure: ClosureKind | None = None
    verdict_at: float | None = None
    closed_at: float | None = None
