"""The decision: judge(policy, evidence, look) -> (evidence, verdict). Pure; the same code in judge and simulator.

Before it: `controller.judging` composes the look. After it: the loop acts on the verdict. `beginning.begin_release` and
`begin_step` make the evidence that the first look of a release or a step is judged with. A FAIL latches: once given,
every later look answers with it.
"""

from __future__ import annotations

from dataclasses import replace

from controller.analysis import darkness, intervals, limits, odds, ranks, split
from controller.analysis.counting import count
from controller.analysis.rails import rails
from controller.analysis.surroundings import held, watch
from controller.analysis.threshold import threshold
from controller.model.evidence import Evidence
from controller.model.look import Look
from controller.model.plan import JudgeKind, Policy, Step
from controller.model.verdict import Decision, Verdict

ADDING = {JudgeKind.EVIDENCE: odds.add, JudgeKind.THRESHOLD: limits.add, JudgeKind.MANN_WHITNEY: ranks.add}
JUDGES = {JudgeKind.EVIDENCE: odds.weigh, JudgeKind.THRESHOLD: threshold, JudgeKind.MANN_WHITNEY: ranks.weigh}


def begin_step(evidence: Evidence, step: Step, *, is_narrowed: bool = False) -> Evidence:
    """Return the evidence with which the next step begins: odds and rails go on, counts and proofs begin anew.

    Args:
        evidence: Of the step before.
        step: The next one.
        is_narrowed: The target itself lets only some requests meet a canary.
    """
    return replace(
        odds.begin_step(evidence),
        share=step.share,
        has_audience=is_narrowed or bool(step.matches),
        step_s=0.0,
        window=(),
        hanging=0,
        darkness=darkness.begin_again(evidence.darkness),
        split=split.begin_again(evidence.split),
        series=intervals.begin_step(evidence.series),
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
    evidence, counted = count(policy, evidence, look)
    evidence = watch(policy, evidence, look, counted)
    evidence = ADDING[policy.judge](policy, evidence, look, counted)
    if evidence.failed is not None:
        return evidence, evidence.failed
    verdict = rails(policy, evidence, look) or held(
        policy, evidence, look, JUDGES[policy.judge](policy, evidence, look)
    )
    if verdict.decision is Decision.FAIL:
        evidence = replace(evidence, failed=verdict)
    return evidence, verdict
