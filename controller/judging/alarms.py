"""People are told while a release is held by something that only they can mend: once a step and cause.

Before it: the judge's loop, with each verdict. After it: the ledger's journal and outbox, from where the alert is
delivered. A look or two of trouble is chance; `LOOKS` in a row are news. The outcome of a release is told by the
workflow, not here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import InvalidInput, NotFound, StoreUnavailable
from controller.judging.clock import Clock
from controller.model.details import of_release, of_verdict, printable
from controller.model.evidence import StepOrder
from controller.model.notice import Notice
from controller.model.release import JournalEvent
from controller.model.verdict import Ground, Verdict
from controller.observability import logger
from controller.store.port import Store

log = logger(__name__)

LOOKS = 5
"""So many looks in a row with the same trouble are told."""
PATIENCE_S = 1.0
TROUBLES = (
    Ground.CANARY_DARK,
    Ground.AUDIENCE_AWAY,
    Ground.SPLIT_MISMATCH,
    Ground.ONE_BAD_INSTANCE,
    Ground.SERVICE_BURNING,
    Ground.SOURCE_DOWN,
    Ground.NOT_MEASURED,
)
WAITING = "waiting_for_a_person"


@dataclass(slots=True)
class Watch:
    """What one judge has seen of troubles in one step."""

    ground: Ground | None = None
    looks: int = 0

    def after(self, verdict: Verdict) -> str | None:
        """Return the trouble that has become news with this verdict, None without one."""
        self.looks = self.looks + 1 if verdict.ground is self.ground else 1
        self.ground = verdict.ground
        return verdict.ground.value if verdict.ground in TROUBLES and self.looks == LOOKS else None


class Alarms:
    """Writes a trouble into journal and outbox.

    Args:
        store: The ledger.
        channels: Names of the channels that are told.
        clock: The judge's clock.
        patience_s: How long a judge waits for the ledger, seconds of real time: its lease lives for five.
    """

    def __init__(
        self, *, store: Store, channels: Sequence[str], clock: Clock, patience_s: float = PATIENCE_S
    ) -> None:
        self._store = store
        self._channels = tuple(channels)
        self._clock = clock
        self._patience_s = patience_s

    async def tell(self, order: StepOrder, trouble: str, verdict: Verdict, reason: str) -> None:
        """Tell a trouble; the same one of a step is written once. A ledger that is away or hangs is only logged.

        Args:
            order: What is held.
            trouble: A stable name: a ground, or `WAITING`.
            verdict: The newest one.
            reason: One sentence with numbers.
        """
        release, at = order.release, self._clock.wall_s()
        kind = "waiting" if trouble == WAITING else "held"
        text = printable(f"{reason}; {_what_next(order)}")
        event = JournalEvent(
            id=f"{release.id}:{kind}:{trouble}:{order.step}",
            release=release.id,
            kind=f"alarm_{kind}",
            text=text,
            at=at,
            correlation_id=release.correlation_id,
            details={"step": order.step, **of_verdict(verdict)},
        )
        share = int(release.plan.steps[order.step].share)
        notices = [
            Notice(
                id=f"{release.id}.{trouble}.{order.step}",
                channel=channel,
                kind=f"release.{kind}",
                release=release.id,
                title=f"{release.target.name} {release.version}: {trouble.replace('_', ' ')}",
                text=text,
                at=at,
                details={**of_release(release), **event.details, "share_basis_points": share},
            )
            for channel in self._channels
        ]
        try:
            async with asyncio.timeout(self._patience_s):
                await self._store.record(event, None, notices)
        except (StoreUnavailable, NotFound, InvalidInput, TimeoutError) as error:
            log.warning("alarm_not_kept", release=release.id, trouble=trouble, reason=str(error))


def _what_next(order: StepOrder) -> str:
    step, policy = order.release.plan.steps[order.step], order.release.policy
    stays = f"the share stays at {step.said}"
    if order.is_waiting:
        return f"{stays} and is taken back if nobody decides within {policy.longest_wait_s:g} s"
    if order.is_open:
        return f"{stays} until a person decides"
    return f"{stays} until it is over, and the policy decides {step.deadline_s:g} s after the step began"
