"""The rank-sum judge, for people who come from Kayenta: is the canary's series of failing parts shifted up?

Before it: `intervals`. After it: `engine.judge` acts on the verdict. Each interval in which both arms had a request makes
one point a side; with each new point `mann_whitney.classify` compares both series over the release's newest 60. A high
canary is taken back; a low one is good. Fewer points than the policy needs are not enough, and hold.

What it cannot promise stands in `mann_whitney`; how often it is wrong at a target's traffic, in `soundness`.
Tested by tests/controller/analysis/test_ranks.py.
"""

from __future__ import annotations

from dataclasses import replace

from controller.analysis import intervals, saying
from controller.analysis.counting import Counted
from controller.analysis.mann_whitney import Bounds, Direction, Label, Rule, classify
from controller.model.evidence import Block, Evidence, Measured, Series
from controller.model.look import Look, SourceState
from controller.model.plan import MOST_POINTS, MannWhitney, Policy
from controller.model.verdict import Decision, Ground, Verdict


def add(policy: Policy, evidence: Evidence, look: Look, counted: Counted) -> Evidence:
    """Add what is new in a look, and compare both series if it completes an interval."""
    rule, block = policy.mann_whitney, counted.block
    if block.until_s <= policy.warmup_s:
        return evidence
    series, full = intervals.add(evidence.series, block, rule.interval_s)
    if full is not None:
        is_well = look.source is SourceState.OK
        series = _with_point(rule, series, full) if is_well else intervals.again(series, full)
    return replace(evidence, series=series)


def weigh(policy: Policy, evidence: Evidence, look: Look) -> Verdict:
    """Say what the comparison means now."""
    decision, ground = _decide(policy, evidence, look)
    points = evidence.series.points
    sums = [sum(column) for column in zip(*points, strict=True)] or [0, 0, 0, 0]
    return Verdict(
        decision=decision,
        ground=ground,
        canary_total=sums[0],
        canary_failed=sums[1],
        stable_total=sums[2],
        stable_failed=sums[3],
        window_s=len(points) * policy.mann_whitney.interval_s,
        source=look.source,
        look=look.id,
        measurements=len(points),
    )


def _with_point(rule: MannWhitney, series: Series, full: Block) -> Series:
    canary, stable = full.canary, full.stable
    if not canary.total or not stable.total:
        return replace(series, newest=Measured.INCONCLUSIVE)
    points = (*series.points, (canary.total, canary.failed, stable.total, stable.failed))[-MOST_POINTS:]
    return replace(series, last=full, points=points, newest=_compare(rule, points))


def _compare(rule: MannWhitney, points: tuple[tuple[int, int, int, int], ...]) -> Measured:
    if len(points) < rule.fewest:
        return Measured.INCONCLUSIVE
    found = classify(
        [failed / total for total, failed, _, _ in points],
        [failed / total for _, _, total, failed in points],
        Rule(
            tolerance=rule.tolerance,
            confidence=rule.confidence,
            direction=Direction.INCREASE,
            allowed=Bounds(increase=rule.allowed_increase),
        ),
    )
    return Measured.FAILED if found.label is Label.HIGH else Measured.GOOD


def _decide(policy: Policy, evidence: Evidence, look: Look) -> tuple[Decision, Ground]:
    series = evidence.series
    if series.newest is Measured.FAILED:
        return Decision.FAIL, Ground.SHIFTED
    if ground := saying.unready(policy, evidence, look):
        return Decision.HOLD, ground
    if series.newest is Measured.GOOD:
        return Decision.PASS, Ground.NOT_SHIFTED
    if series.last is None and not (series.open or saying.NOTHING).canary.total:
        return Decision.HOLD, Ground.NO_TRAFFIC
    is_short = len(series.points) < policy.mann_whitney.fewest
    return Decision.HOLD, Ground.NOT_ENOUGH if is_short else Ground.COLLECTING
