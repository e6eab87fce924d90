"""What a release will be able to see and how often it would be wrong, said before it starts.

Before it: `controller.releases.ordering` has plan, policy and target. After it: the journal and the answer to the
caller. Refused are a plan that could see nothing, a step that could never pass, and a policy whose own intervals would
roll identical versions back more often than it promises. Traffic that is not known refuses nothing: a new target, a
short history or a silent router only mean that nothing can be said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.analysis.power import Sight, least_traffic, sights
from controller.analysis.soundness import Risk, risk
from controller.errors import InvalidInput, NotFound, RouterUnavailable
from controller.judging.looking import HISTORY_S
from controller.model.look import History
from controller.model.plan import JudgeKind, Plan, Policy
from controller.model.release import Change, JournalEvent, ReleaseOrder
from controller.model.share import in_percent
from controller.routing.port import LeaseKeeper

LEAST_S = 30.0
"""A shorter history says nothing about traffic."""
WORTH_SAYING = 0.001
"""Rollbacks of identical versions are named from this probability on."""
HIGHEST_ALPHA = 0.5
"""More than this cannot be accepted."""
SEES = "sees_step_"
"""Name of a release's fact, before the step's number from 1: the smallest failing part that the step can see."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a plan can see of a target.

    Args:
        history: What is known of stable's traffic.
        steps: What each step sees.
        risk: How probably the policy rolls back a version that is like stable.
    """

    history: History
    steps: tuple[Sight, ...]
    risk: Risk

    @property
    def is_blind(self) -> bool:
        """Whether no step would even see a canary that fails every request, as far as that is known."""
        return all(step.rate is None and not step.has_audience for step in self.steps)


async def foresee(keeper: LeaseKeeper, order: ReleaseOrder) -> Foresight | None:
    """Say what a release will be able to see; None when the traffic is not known.

    Raises:
        InvalidInput: Nothing at all, a step can never pass, or the policy breaks its own bound; the message has the
            numbers.
    """
    _check_time(order.plan, order.policy)
    try:
        history = await keeper.history(order.target.key, order.target.stable, HISTORY_S)
    except (NotFound, RouterUnavailable):
        return None
    if history.window_s < LEAST_S or history.total == 0:
        return None
    # Up to seconds for the longest plans: a thread leaves the API its loop.
    is_narrowed = bool(order.target.matches)
    odds = await asyncio.to_thread(risk, order.plan, order.policy, history, is_narrowed=is_narrowed)
    steps = sights(order.plan, order.policy, history, is_narrowed=is_narrowed)
    found = Foresight(history, steps, odds)
    if found.is_blind:
        raise InvalidInput(await asyncio.to_thread(_blind, order, found), field="plan")
    if found.risk.total > order.policy.tolerance.alpha:
        raise InvalidInput(f"{_mistakes(found)}; {_way_out(order.policy, found.risk)}", field="policy")
    return found


def event(order: ReleaseOrder, found: Foresight) -> tuple[JournalEvent, Change]:
    """Return the journal's line about it, and the facts that it adds to the release."""
    facts = {f"{SEES}{one.step + 1}": one.rate for one in found.steps if one.rate is not None}
    line = JournalEvent(
        id=f"{order.id}:foreseen",
        release=order.id,
        kind="foreseen",
        text=_text(order, found),
        at=order.created_at,
        correlation_id=order.correlation_id,
        details={
            "requests_per_s": found.history.requests_per_s,
            "steps_short": sum(one.is_short for one in found.steps),
            "rolls_back_identical": found.risk.total,
            **facts,
        },
    )
    return line, Change(facts=facts)


def seen_by_step(facts: Mapping[str, float], steps: int) -> tuple[float | None, ...]:
    """Return what each step can see, out of a release's facts; empty when nothing was foreseen."""
    found = tuple(facts.get(f"{SEES}{number}") for number in range(1, steps + 1))
    return found if any(rate is not None for rate in found) else ()


def _blind(order: ReleaseOrder, found: Foresight) -> str:
    """Say that no step sees anything, and from which traffic on one would."""
    best = max(found.steps, key=lambda step: step.requests)
    from_s = least_traffic(order.plan, order.policy, found.history)
    more = "" if from_s is None else f" (from {from_s:.2g} requests/s on it sees one)"
    return (
        f"this plan could not see a canary that fails every request: at {_traffic(found.history)} its best step judges "
        f"{best.requests:.2g} canary requests before its deadline; use larger shares, later deadlines, or release "
        f"when there is more traffic{more}"
    )


def _check_time(plan: Plan, policy: Policy) -> None:
    """Check that each step can take the measurements that it needs before its deadline."""
    ranks, limits = policy.mann_whitney, policy.limits
    if policy.judge is JudgeKind.MANN_WHITNEY:
        length_s, first = ranks.interval_s, ranks.fewest
    elif policy.judge is JudgeKind.THRESHOLD and limits is not None:
        length_s, first = limits.interval_s, 1
    else:
        return
    for number, step in enumerate(plan.steps, start=1):
        needs_s = policy.warmup_s + length_s * first if number == 1 else length_s
        if step.deadline_s < needs_s and not step.gate:
            raise InvalidInput(
                f"step {number} could never pass: its deadline comes after {step.deadline_s:g} s and what its judge "
                f"needs is measured after {needs_s:g} s; use a later deadline or a shorter interval_s",
                field="plan",
            )


def _mistakes(found: Foresight) -> str:
    return (
        f"identical versions would be rolled back in {_percent(found.risk.total)} of releases at "
        f"{_traffic(found.history).rstrip(',')}"
    )


def _way_out(policy: Policy, odds: Risk) -> str:
    """Say what to change, for the rule that is wrong most often."""
    if odds.rail >= max(odds.judge, odds.held):
        change = "rail.min_requests or rail.max_failed_percent"
    elif policy.judge is JudgeKind.MANN_WHITNEY:
        change = "mann_whitney.confidence or mann_whitney.tolerance"
    elif policy.limits is None:
        change = "max_error_percent or min_requests"
    else:
        change = "max_error_percent or limits.failure_limit"
    accepted = ", or accept it with tolerance.alpha" if odds.total <= HIGHEST_ALPHA else ""
    return f"raise {change}{accepted}"


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %" if part < 0.995 else "all"


def _text(order: ReleaseOrder, found: Foresight) -> str:
    steps = ", ".join(f"at {order.plan.steps[one.step].said} {_seen(one)}" for one in found.steps)
    seen = f"at {_traffic(found.history)} this plan sees a failing canary {steps}{_short(found.steps)}"
    return f"{seen}; {_mistakes(found)}" if found.risk.total > WORTH_SAYING else seen


def _seen(sight: Sight) -> str:
    if sight.has_audience:
        return "in an unknown part of the traffic"
    return "nothing" if sight.rate is None else f"from {100 * sight.rate:.2g} %"


def _short(steps: Sequence[Sight]) -> str:
    """Name the steps whose deadline comes before their judge has seen enough; empty when there is none."""
    short = [
        f"{in_percent(one.share)} gets about {one.requests:.2g} of the {one.needed:.2g} canary requests it needs"
        for one in steps
        if one.is_short
    ]
    return f"; before its deadline the step at {', that at '.join(short)}" if short else ""


def _traffic(history: History) -> str:
    failing = 100 * history.failed / history.total
    return f"{history.requests_per_s:.3g} requests/s of which {failing:.2g} % fail,"
