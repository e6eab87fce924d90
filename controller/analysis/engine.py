"""The decision: judge(policy, evidence, look) -> (evidence, verdict). Pure; the same code in judge and simulator.

Before it: `controller.judging` composes the look. After it: the loop acts on the verdict. `begin_release` and
`begin_step` make the evidence that the first look of a release or a step is judged with. A FAIL latches: once given,
every later look answers with it.
"""

from __future__ import annotations

from dataclasses import replace

from controller.analysis import odds, wealth
from controller.analysis.certainty import START
from controller.analysis.counting import count
from controller.analysis.rails import rails
from controller.analysis.threshold import threshold
from controller.model.evidence import Evidence
from controller.model.look import History, Look
from controller.model.plan import JudgeKind, Plan, Policy
from controller.model.verdict import Decision, Verdict

PRIOR_REQUESTS = 500.0
"""Weight of the prior belief (one failure in a thousand) beside the history, in requests."""
LEAST_PRIOR = 1e-5
HIGHEST_PRIOR = 0.5
JUDGES = {JudgeKind.EVIDENCE: odds.weigh, JudgeKind.THRESHOLD: threshold}


def begin_release(plan: Plan, history: History) -> Evidence:
    """Return the evidence with which a release begins.

    Args:
        plan: Gives the planned time, over which wealth for late faults comes in.
        history: What stable served before; an empty one is fine.
    """
    planned_s = sum(step.hold_s for step in plan.steps)
    return Evidence(plan_s=max(planned_s, 60.0), prior=min(prior_rate(history), HIGHEST_PRIOR))


def prior_rate(history: History) -> float:
    """Return stable's failing rate as a release begins to believe it: its history beside one failure in a thousand."""
    return max((history.failed + 0.5) / (history.total + PRIOR_REQUESTS), LEAST_PRIOR)


def begin_step(evidence: Evidence) -> Evidence:
    """Return the evidence with which the next step begins: odds and rails go on, counts and proof begin anew."""
    return replace(
        evidence,
        step_s=0.0,
        window=(),
        odds=replace(
            evidence.odds, wealth=wealth.add_step(evidence.odds.wealth), proof=START, step_requests=0
        ),
    )


def judge(policy: Policy, evidence: Evidence, look: Look) -> tuple[Evidence, Verdict]:
    """Add one look to the evidence and decide.

    Args:
        policy: The rule.
        evidence: From the look before, or from `begin_release`; the first look only sets the mark to count from.
        look: Both arms now.

    Returns:
        The evidence to hand to the next call, and PASS, FAIL or HOLD with its reason.
    """
    evidence, block = count(policy, evidence, look)
    if policy.judge is JudgeKind.EVIDENCE:
        evidence = odds.add(policy, evidence, block)
    if evidence.failed is not None:
        return evidence, evidence.failed
    verdict = rails(policy, evidence, look) or JUDGES[policy.judge](policy, evidence, look)
    if verdict.decision is Decision.FAIL:
        evidence = replace(evidence, failed=verdict)
    return evidence, verdict
