"""What a judge carries from look to look, and what a step is told and answers.

`Evidence` is small, JSON-safe and complete: it travels in heartbeats and between steps, so that a judge that takes over
on another worker counts on as if nothing had happened. Only `controller.analysis` looks inside.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.model.lease import ClosureKind
from controller.model.machine import Happening
from controller.model.release import ReleaseOrder
from controller.model.verdict import Verdict
from controller.model.wealth import Odds, Tally


@dataclass(frozen=True, slots=True)
class Block:
    """What happened in one stretch of judged time: from and until (seconds of judged time), and both arms' counts."""

    from_s: float
    until_s: float
    canary: Tally = Tally()
    stable: Tally = Tally()


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
        plan_s: Planned judged time of the release, seconds.
        prior: Stable's failing rate before the release, above 0.
        odds: Of the evidence judge, on errors.
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
    plan_s: float = 2400.0
    prior: float = 0.001
    odds: Odds = Odds()


@dataclass(frozen=True, slots=True)
class StepOrder:
    """What a judge is told.

    Args:
        release: The whole order, so that a judge needs nothing else.
        step: Index into the plan.
        is_open: Judge without deadline and without PASS (paused, waiting, gate).
        evidence: From the steps before; None at the first.
        is_continued: The step was judged before (pause, resume): its time and counts go on.
    """

    release: ReleaseOrder
    step: int
    is_open: bool = False
    evidence: Evidence | None = None
    is_continued: bool = False


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
