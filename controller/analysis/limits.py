"""The threshold judge with limits, for people who come from Argo Rollouts or Flagger: so many measurements may go wrong.

Before it: `intervals`. After it: `threshold` hands on what `weigh` says. The counters follow assessMetricStatus of Argo
Rollouts (analysis/analysis.go) and the failed checks of Flagger (pkg/controller/scheduler.go). What differs on purpose:

- An interval without traffic is inconclusive for us; for them it is an error or a failure, and a quiet service rolls back.
- A source that is not well is never a failure: it ends the step by `on_source_down`, and nothing it counted is lost.
- An interval in which stable is above the limit as well counts as nothing.
- We act at the measurement itself (Flagger one tick later), and the first one is taken at the interval's end.
- A step passes only on a good newest measurement of its own, as Flagger's weight stands still after a failed check.

Tested by tests/controller/analysis/test_limits.py.
"""

from __future__ import annotations

from dataclasses import replace

from controller.analysis import intervals, saying
from controller.analysis.counting import Counted
from controller.model.evidence import Block, Evidence, Measured, Series
from controller.model.look import Look, SourceState
from controller.model.plan import Limits, Policy
from controller.model.verdict import Decision, Ground, Verdict
from controller.model.wealth import Tally


def add(policy: Policy, evidence: Evidence, look: Look, counted: Counted) -> Evidence:
    """Add what is new in a look, and measure if it completes an interval; nothing for a policy without limits."""
    rule, block = policy.limits, counted.block
    if rule is None or block.until_s <= policy.warmup_s:
        return evidence
    series, full = intervals.add(evidence.series, block, rule.interval_s)
    if full is not None:
        says = measure(policy, full) if look.source is SourceState.OK else Measured.ERROR
        series = _counted(rule, series, full, says)
    return replace(evidence, series=series)


def weigh(policy: Policy, rule: Limits, evidence: Evidence, look: Look) -> Verdict:
    """Say what the measurements mean now."""
    series = evidence.series
    decision, ground = _decide(policy, rule, evidence, look)
    is_tired = ground is Ground.SOURCE_DOWN and series.errors > rule.consecutive_error_limit
    return saying.on(
        series.last or series.open or saying.NOTHING,
        look,
        decision,
        ground,
        limit=policy.max_error_rate,
        measurements=series.inconclusive if ground is Ground.INCONCLUSIVE_LIMIT else series.failed,
        is_exhausted=is_tired or (decision is Decision.HOLD and _is_through(rule, series, look)),
    )


def measure(policy: Policy, full: Block) -> Measured:
    """Return what the failing parts of both arms say beside the policy's limit; never ERROR."""
    if full.canary.total < policy.min_requests:
        return Measured.INCONCLUSIVE
    if not _is_above(policy, full.canary):
        return Measured.GOOD
    if full.stable.total >= policy.min_requests and _is_above(policy, full.stable):
        return Measured.COMMON
    return Measured.FAILED


def _is_above(policy: Policy, arm: Tally) -> bool:
    return arm.failed > policy.max_error_rate * arm.total


def _counted(rule: Limits, series: Series, full: Block, says: Measured) -> Series:
    if says is Measured.ERROR:
        return replace(intervals.again(series, full), newest=says, errors=series.errors + 1)
    is_forgiven = rule.consecutive and says is Measured.GOOD
    return replace(
        series,
        last=full,
        newest=says,
        failed=0 if is_forgiven else series.failed + (says is Measured.FAILED),
        inconclusive=series.inconclusive + (says is Measured.INCONCLUSIVE),
        errors=0,
    )


def _decide(policy: Policy, rule: Limits, evidence: Evidence, look: Look) -> tuple[Decision, Ground]:
    series = evidence.series
    if series.failed > rule.failure_limit:
        return Decision.FAIL, Ground.FAILURE_LIMIT
    if ground := saying.unready(policy, evidence, look):
        return Decision.HOLD, ground
    seen = (series.last or series.open or saying.NOTHING).canary.total
    if _is_through(rule, series, look):
        return Decision.HOLD, Ground.INCONCLUSIVE_LIMIT if seen else Ground.NO_TRAFFIC
    if series.newest is Measured.GOOD:
        return Decision.PASS, Ground.WITHIN_LIMIT
    if series.newest is Measured.FAILED:
        return Decision.HOLD, Ground.ERROR_RATE
    if series.newest is Measured.COMMON:
        return Decision.HOLD, Ground.STABLE_FAILING_TOO
    return Decision.HOLD, Ground.COLLECTING if seen else Ground.NO_TRAFFIC


def _is_through(rule: Limits, series: Series, look: Look) -> bool:
    """Whether too many measurements of this step had too few requests."""
    most = rule.inconclusive_limit
    return look.source is SourceState.OK and most is not None and series.inconclusive > most
