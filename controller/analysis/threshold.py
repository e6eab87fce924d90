"""A limit on the canary's error rate, with a least number of requests. No traffic is never a PASS and never a FAIL.

Last part of `engine.judge` for policies of kind `threshold`; one with limits is handed on to `limits`. The limit is on
the canary alone; when stable breaks it as well, the canary is not blamed.
"""

from __future__ import annotations

from controller.analysis import limits
from controller.analysis.counting import total_of
from controller.model.evidence import Evidence
from controller.model.look import Look, SourceState
from controller.model.plan import Policy
from controller.model.verdict import Decision, Ground, Verdict
from controller.model.wealth import Tally


def threshold(policy: Policy, evidence: Evidence, look: Look) -> Verdict:
    """Judge the window of this step against the policy's limit, or its measurements where the policy counts them."""
    if policy.limits is not None:
        return limits.weigh(policy, policy.limits, evidence, look)
    on = total_of(evidence.window)
    decision, ground = _decide(policy, evidence, look, on.canary, on.stable)
    return Verdict(
        decision=decision,
        ground=ground,
        canary_total=on.canary.total,
        canary_failed=on.canary.failed,
        stable_total=on.stable.total,
        stable_failed=on.stable.failed,
        limit=policy.max_error_rate,
        window_s=on.until_s - on.from_s,
        source=look.source,
        look=look.id,
    )


def _decide(
    policy: Policy, evidence: Evidence, look: Look, canary: Tally, stable: Tally
) -> tuple[Decision, Ground]:
    if look.source is not SourceState.OK:
        return Decision.HOLD, Ground.SOURCE_DOWN
    if evidence.judged_s <= policy.warmup_s:
        return Decision.HOLD, Ground.WARMING_UP
    if canary.total < policy.min_requests:
        return Decision.HOLD, Ground.COLLECTING if canary.total else Ground.NO_TRAFFIC
    if not _is_above(policy, canary):
        return Decision.PASS, Ground.WITHIN_LIMIT
    if stable.total >= policy.min_requests and _is_above(policy, stable):
        return Decision.HOLD, Ground.STABLE_FAILING_TOO
    return Decision.FAIL, Ground.ERROR_RATE


def _is_above(policy: Policy, arm: Tally) -> bool:
    return arm.failed > policy.max_error_rate * arm.total
