"""The alerts of one channel, in order, until its outbox is empty: a dead receiver never holds a release.

Before it: `workflows.client.wake` signals it, starting it when it does not run, so that no wake is lost. After it: the
activity `deliver_next` sends the oldest notice; its retries (up to a minute apart, for a day) leave no history.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.calls import begin
    from workflows.messages import DELIVER_WORKFLOW, WAKE_SIGNAL, Activity, Delivered, Delivery, Round

LOOK_AGAIN = timedelta(seconds=30)
"""Least time between two looks for new notices while given-up ones are in the outbox: whoever watches the outbox wakes
us every few seconds as long as it is not empty."""
TRY_AGAIN = timedelta(hours=1)
"""After this the given-up ones are tried once more: somebody may have mended the channel."""


@workflow.defn(name=DELIVER_WORKFLOW)
class DeliverWorkflow:
    """Drains the outbox of one channel."""

    @workflow.init
    def __init__(self, what: Round) -> None:
        self._channel = what.channel
        self._skipped = what.skipped
        self._woken = True

    @workflow.run
    async def run(self, what: Round) -> None:
        """Send until nothing is left."""
        while self._woken or self._skipped:
            self._woken = False
            await self._drain()
            if self._skipped and not self._woken:
                await self._wait_for_news()
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(Round(self._channel, self._skipped))

    @workflow.signal(name=WAKE_SIGNAL)
    def wake(self) -> None:
        """There may be something new in the outbox."""
        self._woken = True

    async def _drain(self) -> None:
        while True:
            sent = Round(self._channel, self._skipped)
            delivery = await begin(Activity.DELIVER_NEXT, sent, Delivery)
            if delivery.kind is Delivered.NOTHING_LEFT:
                return
            if delivery.kind is Delivered.GIVEN_UP:
                self._skipped = (*self._skipped, delivery.notice)

    async def _wait_for_news(self) -> None:
        await workflow.sleep(LOOK_AGAIN)
        try:
            await workflow.wait_condition(lambda: self._woken, timeout=TRY_AGAIN - LOOK_AGAIN)
        except TimeoutError:
            self._skipped, self._woken = (), True
