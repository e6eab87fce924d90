"""A limit on the canary's error rate, with a least number of requests. No traffic is never a PASS and never a FAIL.

Last part of `engine.judge` for policies of kind `threshold`; one with limits is handed on to `limits`. The limit is on
the canary alone; when stable breaks it as well, the canary is not blamed.
"""

from __future__ import annotations

from controller.analysis import limits, saying
from controller.analysis.counting import total_of
from controller.model.evidence import Block, Evidence, Measured
from controller.model.look import Look
from controller.model.plan import Policy
from controller.model.verdict import Decision, Ground, Verdict


def threshold(policy: Policy, evidence: Evidence, look: Look) -> Verdict:
    """Judge the window of this step against the policy's limit, or its measurements where the policy counts them."""
    if policy.limits is not None:
        return limits.weigh(policy, policy.limits, evidence, look)
    on = total_of(evidence.window)
    decision, ground = _decide(policy, evidence, look, on)
    return saying.on(on, look, decision, ground, limit=policy.max_error_rate)


def _decide(policy: Policy, evidence: Evidence, look: Look, on: Block) -> tuple[Decision, Ground]:
    if ground := saying.unready(policy, evidence, look):
        return Decision.HOLD, ground
    return {
        Measured.INCONCLUSIVE: (
            Decision.HOLD,
            Ground.COLLECTING if on.canary.total else Ground.NO_TRAFFIC,
        ),
        Measured.GOOD: (Decision.PASS, Ground.WITHIN_LIMIT),
        Measured.COMMON: (Decision.HOLD, Ground.STABLE_FAILING_TOO),
        Measured.FAILED: (Decision.FAIL, Ground.ERROR_RATE),
    }[limits.measure(policy, on)]
