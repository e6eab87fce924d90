"""The decision: judge(policy, evidence, look) -> (evidence, verdict). Pure; the same code in judge and simulator.

Before it: `controller.judging` composes the look. After it: the loop acts on the verdict. A FAIL latches: once given,
every later look answers with it.
"""

from __future__ import annotations

from dataclasses import replace

from controller.analysis.counting import count
from controller.analysis.rails import rails
from controller.analysis.threshold import threshold
from controller.model.evidence import Evidence
from controller.model.look import Look
from controller.model.plan import Policy
from controller.model.verdict import Decision, Verdict


def judge(policy: Policy, evidence: Evidence, look: Look) -> tuple[Evidence, Verdict]:
    """Add one look to the evidence and decide.

    Args:
        policy: The rule.
        evidence: From the look before; `Evidence()` at the first, which only sets the mark to count from.
        look: Both arms now.

    Returns:
        The evidence to hand to the next call, and PASS, FAIL or HOLD with its reason.
    """
    evidence = count(policy, evidence, look)
    if evidence.failed is not None:
        return evidence, evidence.failed
    verdict = rails(policy, evidence, look) or threshold(policy, evidence, look)
    if verdict.decision is Decision.FAIL:
        evidence = replace(evidence, failed=verdict)
    return evidence, verdict
