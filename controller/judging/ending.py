"""When a step ends by itself: the one rule of the judge's loop, of the simulator and of replay.

Before it: `controller.analysis.engine` gives the verdict. After it: the state machine learns how the step ended. A FAIL
is not asked about here, because it ends any step at once.
"""

from __future__ import annotations

from controller.model.plan import Policy, Step
from controller.model.verdict import Decision, Ground, Verdict


def is_earned(step: Step, verdict: Verdict, step_s: float) -> bool:
    """Whether this verdict ends the step as passed; `step_s` is the judged time in it, seconds."""
    early = step.certified_after_s
    least_s = early if verdict.ground is Ground.CERTIFIED and early is not None else step.hold_s
    return verdict.decision is Decision.PASS and step_s >= least_s


def is_overdue(step: Step, verdict: Verdict, step_s: float) -> bool:
    """Whether the step's deadline has come, or its judge gives up before it: without a PASS the policy decides now."""
    return verdict.is_exhausted or step_s >= step.deadline_s


def has_waited_long(step: Step, policy: Policy, step_s: float) -> bool:
    """Whether a person has been waited for as long as the policy allows, after the step's deadline."""
    return step_s >= step.deadline_s + policy.longest_wait_s
