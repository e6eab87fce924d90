"""When a step ends by itself: the one rule of the judge's loop, of the simulator and of replay.

Before it: `controller.analysis.engine` gives the verdict. After it: the state machine learns how the step ended.
"""

from __future__ import annotations

from controller.model.evidence import StepOrder
from controller.model.machine import Happening
from controller.model.plan import Policy, Step
from controller.model.verdict import Decision, Ground, Verdict


def ending(order: StepOrder, verdict: Verdict, step_s: float, *, may_pass: bool) -> Happening | None:
    """Return how a step ends with this verdict, None while it goes on.

    An open step ends by a FAIL or a person only, or when a person has been waited for too long.

    Args:
        order: What is held.
        verdict: The newest one.
        step_s: Judged time in the step, seconds.
        may_pass: The share is held, and the proxies have it: a desired share alone passes nothing.
    """
    step, policy = order.release.plan.steps[order.step], order.release.policy
    if verdict.decision is Decision.FAIL:
        return Happening.STEP_FAILED
    if order.is_open:
        is_over = order.is_waiting and has_waited_long(step, policy, step_s)
        return Happening.STEP_UNDECIDED if is_over else None
    if may_pass and is_earned(step, verdict, step_s):
        return Happening.STEP_PASSED
    return Happening.STEP_UNDECIDED if is_overdue(step, verdict, step_s) else None


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
