"""The activity that sends the oldest notice of a channel and marks it in the ledger.

Before it: `workflows.deliver`, one workflow a channel. After it: `controller.notify`. A receiver that does not take a
notice is asked again by Temporal, up to a minute apart; after a day, or at once when the guard forbids the address, the
notice is given up for now and the next one has its turn. A notice that was sent and could not be marked is not sent
again by this process. Failing traces are added here, on the way out, because nothing that judges may wait for them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from temporalio import activity

from controller.errors import SerinusError
from controller.judging.clock import Clock
from controller.model.notice import Notice
from controller.notify.port import Notifier
from controller.observability import bound, logger
from controller.store.port import Store
from workflows.attempts import attempt
from workflows.failures import clip
from workflows.messages import Activity, Delivered, Delivery, Round
from workflows.meters import Meters

log = logger(__name__)

GIVE_UP_S = 24 * 3_600.0
BATCH = 20


async def _as_it_is(notice: Notice) -> Notice:
    return notice


class Deliveries:
    """Sends notices.

    Args:
        store: The ledger with the outbox.
        notifiers: The configured channels by name.
        clock: The worker's clock.
        meters: Counts what became of notices.
        beside: Adds to a notice what helps people, such as failing traces; bounded in time, must not raise.
    """

    def __init__(
        self,
        *,
        store: Store,
        notifiers: Mapping[str, Notifier],
        clock: Clock,
        meters: Meters,
        beside: Callable[[Notice], Awaitable[Notice]] = _as_it_is,
    ) -> None:
        self._store = store
        self._notifiers = notifiers
        self._clock = clock
        self._meters = meters
        self._beside = beside
        self._unmarked: set[tuple[str, str]] = set()

    @activity.defn(name=Activity.DELIVER_NEXT)
    async def deliver_next(self, what: Round) -> Delivery:
        """Send the oldest notice that was not given up, and mark it."""
        with attempt(activity.info().attempt, always_retry=True):
            limit = BATCH + len(what.skipped)
            pending = await self._store.pending_notices(what.channel, limit)
            due = next((notice for notice in pending if notice.id not in what.skipped), None)
            if due is None:
                return Delivery(Delivered.NOTHING_LEFT)
            with bound(release=due.release, notice=due.id):
                result = await self._deliver(due)
                self._meters.delivered(result)
                return Delivery(result, due.id)

    async def _deliver(self, notice: Notice) -> Delivered:
        key = (notice.channel, notice.id)
        if key not in self._unmarked:
            note = await self._send(notice)
            if note:
                await self._store.mark_notice(notice.id, notice.channel, is_delivered=False, note=note)
                log.warning("notice_given_up", channel=notice.channel, reason=note)
                return Delivered.GIVEN_UP
            self._unmarked.add(key)
        await self._store.mark_notice(notice.id, notice.channel, is_delivered=True)
        self._unmarked.discard(key)
        log.info("notice_delivered", channel=notice.channel)
        return Delivered.SENT

    async def _send(self, notice: Notice) -> str:
        """Send one notice; returns why it is given up for now, "" when it was taken.

        Raises:
            SerinusError: It is worth trying again; the try is counted.
        """
        notifier = self._notifiers.get(notice.channel)
        if notifier is None:
            return f"no channel is called {notice.channel!r} in this worker's settings"
        try:
            await notifier.send(await self._beside(notice))
        except SerinusError as failure:
            note = clip(failure.message)
            if not failure.retryable or self._clock.wall_s() - notice.at >= GIVE_UP_S:
                return note
            await self._store.mark_notice(notice.id, notice.channel, is_delivered=False, note=note)
            raise
        return ""
