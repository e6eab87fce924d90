"""One release, durably: what `controller.model.machine` says is done by activities, and their answers move it on.

Before it: `workflows.client` starts it under the id `canary.<environment>.<target>`, which is the lock. After it:
`workflows.activities` touch the world. Nothing is decided here but order and waiting; `workflows.story` remembers.
Whatever happens (an abort, a cancellation, a defect of ours), the way leads through the keeper's closure.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    # The sandbox finds the type hints of a value only if its module was imported in here: all that travel are named.
    import controller.model.evidence
    import controller.model.look
    import controller.model.metric
    import controller.model.plan
    import controller.model.share
    import controller.model.start
    import controller.model.target
    import controller.model.traffic
    import controller.model.verdict
    import controller.model.wealth  # noqa: F401
    from controller.errors import CommandRefused
    from controller.model.lease import ClosureKind
    from controller.model.machine import Phase, Position, Task, check
    from controller.model.release import Command, CommandKind, Outcome, ReleaseOrder
    from workflows import attributes
    from workflows.calls import HANDOVER, begin
    from workflows.failures import UNEXPECTED, crossing, reason_of
    from workflows.messages import (
        ABORT_SIGNAL,
        RELEASE_WORKFLOW,
        TELL_UPDATE,
        Activity,
        Answer,
        CloseErrand,
        Judged,
        ReleaseEnd,
        Taken,
    )
    from workflows.story import Story, errand, failed, given_up, learned, told

BREATH = timedelta(seconds=1)
"""Pause before a judge that handed over without a command is replaced, so that two can never chase each other."""


@workflow.defn(name=RELEASE_WORKFLOW)
class ReleaseWorkflow:
    """Interprets the state machine of one release."""

    @workflow.init
    def __init__(self, order: ReleaseOrder) -> None:
        self._story = Story(order)
        self._left: list[asyncio.Task[Answer | Judged]] = []
        self._defect: Exception | None = None

    @workflow.run
    async def run(self, order: ReleaseOrder) -> ReleaseEnd:
        """Run the release to its end.

        Raises:
            ApplicationError: A defect of ours; the share was taken back first.
        """
        while self._story.task is not Task.NOTHING:
            try:
                await self._next()
            except asyncio.CancelledError:
                self._give_up(Outcome.ABORTED, "the workflow was cancelled in Temporal")
            except Exception as error:
                await self._survive(error)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._defect is not None:
            raise ApplicationError(reason_of(self._defect), type=UNEXPECTED, non_retryable=True)
        return ReleaseEnd(self._story.at.outcome, self._story.at.reason)

    @workflow.signal(name=ABORT_SIGNAL)
    def abort(self, what: Command) -> None:
        """Take the share back and end; durable as soon as Temporal has it. Too late, or for another: ignored."""
        if what.release == self._story.order.id:
            try:
                self._story = told(self._story, what, self._now())
            except CommandRefused as refusal:
                workflow.logger.info("abort_ignored", extra={"reason": str(refusal)})

    @workflow.update(name=TELL_UPDATE)
    def tell(self, what: Command) -> Taken:
        """Pause, resume or go on; refused without a trace in a state that does not take it."""
        try:
            self._story = told(self._story, what, self._now())
        except CommandRefused as refusal:
            raise crossing(refusal) from refusal
        return Taken(self._story.state, self._story.at.step)

    @tell.validator
    def _may_tell(self, what: Command) -> None:
        try:
            if what.release != self._story.order.id:
                raise CommandRefused("another release of this target is running")
            if what.kind not in (CommandKind.PAUSE, CommandKind.RESUME, CommandKind.PROMOTE):
                raise CommandRefused(f"{what.kind.value} is not told this way")
            check(self._story.at, what.kind)
        except CommandRefused as refusal:
            raise crossing(refusal) from refusal

    @workflow.query
    def position(self) -> Position:
        """Where the machine stands; for people who look into a stuck release."""
        return self._story.at

    async def _next(self) -> None:
        """Do what is due and learn from the answer; a command that makes it pointless cuts it short."""
        before, task = self._story.at, self._story.task
        activity, sent, answer_type = errand(self._story)
        try:
            answer = await self._until_overtaken(begin(activity, sent, answer_type))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from error
            story = failed(self._story, reason_of(error), self._now())
            if story is None:
                raise
            self._story = story
        else:
            if answer is not None:
                self._story = learned(self._story, sent, answer, self._now())
        if task is Task.CONCLUDE:
            while self._left:
                await self._settled(self._left.pop())
        if activity is Activity.HOLD_STEP and self._story.at == before:
            await self._breath(before)
        self._index(before)

    async def _until_overtaken(
        self, handle: workflow.ActivityHandle[Answer | Judged]
    ) -> Answer | Judged | None:
        """Await an activity; when a command makes it pointless, cancel it and return what it hands over, if anything.

        A closure never waits: the keeper bars the release whatever the overtaken activity still does.
        """
        doing = self._story.doing
        try:
            await workflow.wait_condition(lambda: handle.done() or self._story.doing != doing)
        except asyncio.CancelledError:
            self._leave(handle)
            raise
        if handle.done():
            return handle.result()
        if self._story.task is Task.CLOSE:
            self._leave(handle)
            return None
        handle.cancel()
        return await self._settled(handle)

    def _leave(self, handle: asyncio.Task[Answer | Judged]) -> None:
        """Cancel an activity without waiting; it is waited for before anything is stopped."""
        handle.cancel()
        self._left.append(handle)

    async def _settled(self, handle: asyncio.Task[Answer | Judged]) -> Answer | Judged | None:
        """Wait, not for ever, for an activity that was cancelled; None when it has nothing to hand over."""
        if not handle.done():
            try:
                await workflow.wait_condition(handle.done, timeout=HANDOVER)
            except TimeoutError:
                return None
        return None if handle.cancelled() or handle.exception() else handle.result()

    async def _breath(self, before: Position) -> None:
        try:
            await workflow.wait_condition(lambda: self._story.at != before, timeout=BREATH)
        except TimeoutError:
            return

    async def _survive(self, error: Exception) -> None:
        """Turn a defect of ours into a rollback; a second one ends the workflow with nothing but the closure done."""
        if self._defect is None:
            self._defect = error
            self._give_up(Outcome.ROLLED_BACK, f"a defect of Serinus: {reason_of(error)}")
            return
        order = self._story.order
        sent = CloseErrand(order, ClosureKind.ABORTED, "a defect of Serinus")
        await begin(Activity.CLOSE, sent, Answer)
        raise ApplicationError(reason_of(error), type=UNEXPECTED, non_retryable=True) from error

    def _give_up(self, outcome: Outcome, reason: str) -> None:
        self._story = given_up(self._story, outcome, reason, self._now())

    def _index(self, before: Position) -> None:
        """Show step edges to whoever lists workflows, if the server knows our search attributes."""
        at = self._story.at
        is_edge = at.step != before.step or at.phase in (
            Phase.STEPPING,
            Phase.PROMOTING,
            Phase.CLOSING,
            Phase.DONE,
        )
        if is_edge and at != before and attributes.are_known(workflow.info().typed_search_attributes):
            workflow.upsert_search_attributes(attributes.moved(self._story.state, at.step))

    def _now(self) -> float:
        return workflow.now().timestamp()
