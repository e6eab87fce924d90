"""What a release will be able to see, said before it starts; a release that could see nothing is refused.

Before it: `controller.releases.ordering` has plan, policy and target. After it: the journal and the answer to the
caller. Traffic that is not known refuses nothing: a new target, a short history or a silent router only mean that
nothing can be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.analysis.power import Sight, sights
from controller.errors import InvalidInput, NotFound, RouterUnavailable
from controller.judging.looking import HISTORY_S
from controller.model.look import History
from controller.model.release import Change, JournalEvent, ReleaseOrder
from controller.model.share import in_percent
from controller.routing.port import LeaseKeeper

LEAST_S = 30.0
"""A shorter history says nothing about traffic."""
SEES = "sees_step_"
"""Name of a release's fact, before the step's number from 1: the smallest failing part that the step can see."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a plan can see of a target.

    Args:
        history: What is known of stable's traffic.
        steps: What each step sees.
    """

    history: History
    steps: tuple[Sight, ...]

    @property
    def is_blind(self) -> bool:
        """Whether no step would even see a canary that fails every request."""
        return all(step.rate is None for step in self.steps)


async def foresee(keeper: LeaseKeeper, order: ReleaseOrder) -> Foresight | None:
    """Say what a release will be able to see; None when the traffic is not known.

    Raises:
        InvalidInput: Nothing at all; the message has the numbers.
    """
    try:
        history = await keeper.history(order.target.key, order.target.stable, HISTORY_S)
    except (NotFound, RouterUnavailable):
        return None
    if history.window_s < LEAST_S or history.total == 0:
        return None
    found = Foresight(history, sights(order.plan, order.policy, history))
    if found.is_blind:
        best = max(found.steps, key=lambda step: step.requests)
        raise InvalidInput(
            f"this plan could not see a canary that fails every request: at {_traffic(history)} its best step judges "
            f"{best.requests:.2g} canary requests before its deadline; use larger shares, later deadlines, or release "
            "when there is more traffic",
            field="plan",
        )
    return found


def event(order: ReleaseOrder, found: Foresight) -> tuple[JournalEvent, Change]:
    """Return the journal's line about it, and the facts that it adds to the release."""
    facts = {f"{SEES}{one.step + 1}": one.rate for one in found.steps if one.rate is not None}
    line = JournalEvent(
        id=f"{order.id}:foreseen",
        release=order.id,
        kind="foreseen",
        text=_text(found),
        at=order.created_at,
        correlation_id=order.correlation_id,
        details={"requests_per_s": found.history.requests_per_s, **facts},
    )
    return line, Change(facts=facts)


def seen_by_step(facts: Mapping[str, float], steps: int) -> tuple[float | None, ...]:
    """Return what each step can see, out of a release's facts; empty when nothing was foreseen."""
    found = tuple(facts.get(f"{SEES}{number}") for number in range(1, steps + 1))
    return found if any(rate is not None for rate in found) else ()


def _text(found: Foresight) -> str:
    steps = ", ".join(
        f"at {in_percent(one.share)} " + ("nothing" if one.rate is None else f"from {100 * one.rate:.2g} %")
        for one in found.steps
    )
    return f"at {_traffic(found.history)} this plan sees a failing canary {steps}"


def _traffic(history: History) -> str:
    failing = 100 * history.failed / history.total
    return f"{history.requests_per_s:.3g} requests/s of which {failing:.2g} % fail,"
