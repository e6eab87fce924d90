"""What a release does to the world: each activity is safe to repeat, because Temporal repeats it until it is done.

Before it: `workflows.release` decides the order. After it: the ports (keeper, judge, workloads, source, ledger). Errors
that a retry can help leave as they are; what can never succeed is an answer, not a failure (`workflows.failures`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from temporalio import activity

from controller.errors import (
    NotFound,
    ReleaseClosed,
    SerinusError,
)
from controller.model.evidence import Evidence, StepOrder, StepReport
from controller.model.lease import Closure, ClosureKind
from controller.model.machine import Happening
from controller.model.release import Outcome, ReleaseOrder, State
from controller.observability import bound, logger
from workflows.attempts import attempt
from workflows.draining import in_the_way, stopped
from workflows.failures import clip
from workflows.ground import Ground
from workflows.journal import Scribe
from workflows.messages import (
    Activity,
    Answer,
    CloseErrand,
    Ending,
    Errand,
    Judged,
    JudgeErrand,
    Ledger,
    Note,
    Retirement,
)
from workflows.meters import Meters
from workflows.pulse import PATIENCE_S, Pulse, beating, resumed
from workflows.readiness import ailment, history, until_ready

log = logger(__name__)

LEDGER_PATIENCE_S = 1.0
"""How long an activity that has done its work waits for the ledger; the lines are brought again afterwards."""


class Judging(Protocol):
    """The judge, as `controller.judging.loop.Judge` is one."""

    async def hold_step(
        self, order: StepOrder, *, resume: Evidence | None, checkpoint: Callable[[Evidence], None]
    ) -> StepReport:
        """Hold one step until it is decided."""


class Activities:
    """The activities of a release.

    Args:
        ground: The ports of this worker.
        judge: Who holds a step.
        scribe: Writes to the ledger.
        wake: Wakes the delivery of a channel; its failures do not matter, the controller looks after the outbox too.
        meters: Counts what is judged and how it ends.
    """

    def __init__(
        self,
        *,
        ground: Ground,
        judge: Judging,
        scribe: Scribe,
        wake: Callable[[str], Awaitable[None]],
        meters: Meters,
    ) -> None:
        self._ground = ground
        self._judge = judge
        self._scribe = scribe
        self._wake = wake
        self._meters = meters

    @activity.defn(name=Activity.PREFLIGHT)
    async def preflight(self, errand: Errand) -> Answer:
        """See that the ledger knows the release, the router its target, and that stable and its counters are well."""
        order = errand.order
        with _around(order):
            try:
                known = await self._ground.store.get_release(order.id)
            except NotFound:
                return Answer(ledger=Ledger.UNKNOWN)
            if known.outcome is not None:
                return Answer(outcome=known.outcome, is_over=known.state is State.DONE, reason=known.reason)
            async with beating(Pulse()):
                reason = await ailment(self._ground, order)
                if reason:
                    return Answer(Happening.UNWELL, reason)
                return Answer(reason=await history(self._ground, order))

    @activity.defn(name=Activity.START_VERSION)
    async def start_version(self, errand: Errand) -> Answer:
        """Start the canary, put its addresses into ledger and route (at share 0), and wait until it is ready."""
        order, ground = errand.order, self._ground
        with _around(order):
            async with beating(Pulse()):
                ledger = await self._scribe.write(order, errand.notes)
                if ledger is Ledger.UNKNOWN:
                    return Answer(ledger=ledger)
                addresses = await ground.workloads_of(order).start(await ground.target(order), order.version)
                target = (await ground.target(order)).at(order.version, addresses)
                await ground.store.put_target(target)
                await ground.keeper.declare(target)
                reason = await until_ready(ground, order, target)
                return Answer(Happening.UNWELL if reason else Happening.WELL, reason)

    @activity.defn(name=Activity.HOLD_STEP)
    async def hold_step(self, errand: JudgeErrand) -> Judged:
        """Let the judge hold a step; a command cuts it short, and its evidence is handed over."""
        order = errand.step.release
        with _around(order):
            kept = resumed(activity.info().heartbeat_details)
            pulse = Pulse(kept, patience_s=PATIENCE_S)
            async with beating(pulse):
                with self._meters.judging.track_inprogress():
                    return await self._held(errand, pulse, kept)

    @activity.defn(name=Activity.PROMOTE)
    async def promote(self, errand: Errand) -> Answer:
        """Make the version stable, in the router first; an earlier closure is the answer instead."""
        order = errand.order
        with _around(order):
            try:
                await self._ground.keeper.promote(order.target.key, order.id, order.version)
            except ReleaseClosed as closed:
                return await self._closed(closed.closure, order, errand.notes)
            await self._ground.remember_stable(order)
            return Answer(
                ledger=await self._scribe.write_within(order, errand.notes, seconds=LEDGER_PATIENCE_S)
            )

    @activity.defn(name=Activity.CLOSE)
    async def close(self, errand: CloseErrand) -> Answer:
        """Take the share back and bar the release; the closure that stands is the answer. Never gives up."""
        order = errand.order
        with _around(order, always_retry=True):
            closure = await self._ground.keeper.close(
                order.target.key, order.id, errand.kind, errand.reason, errand.verdict
            )
            return await self._closed(closure, order, errand.notes)

    @activity.defn(name=Activity.CONCLUDE)
    async def conclude(self, ending: Ending) -> Answer:
        """Write the outcome with its notices, then wake their delivery."""
        with _around(ending.order, always_retry=True):
            if ending.outcome is Outcome.PROMOTED:
                await self._ground.remember_stable(ending.order)
            await self._scribe.write(ending.order, ending.notes)
            ledger = await self._scribe.conclude(
                ending, at=ending.facts.get("closed_at", self._ground.clock.wall_s())
            )
            self._meters.ended(ending.outcome)
            for channel in self._scribe.channels:
                await self._wake_quietly(channel)
            return Answer(ledger=ledger)

    @activity.defn(name=Activity.RETIRE)
    async def retire(self, errand: Retirement) -> Answer:
        """Drain a version and stop it, unless the proxies may still send it traffic: then it is left running."""
        order = errand.order
        with _around(order, always_retry=True):
            async with beating(Pulse()):
                reason = await in_the_way(self._ground, errand) or await stopped(self._ground, errand)
                ledger = await self._scribe.write_within(order, errand.notes, seconds=LEDGER_PATIENCE_S)
                return Answer(reason=reason, ledger=ledger)

    @activity.defn(name=Activity.FINISH)
    async def finish(self, errand: Errand) -> Answer:
        """Give the target free."""
        with _around(errand.order, always_retry=True):
            await self._scribe.write(errand.order, errand.notes)
            return Answer(ledger=await self._scribe.finish(errand.order, at=self._ground.clock.wall_s()))

    async def _held(self, errand: JudgeErrand, pulse: Pulse, kept: Evidence | None) -> Judged:
        """Judge, write the lines meanwhile, and answer a command with what is known so far."""
        judging = asyncio.create_task(
            self._judge.hold_step(errand.step, resume=kept, checkpoint=pulse.keep), name="judge"
        )
        writing = asyncio.create_task(self._write_patiently(errand, judging), name="journal")
        try:
            report = await judging
        except asyncio.CancelledError:
            if not _is_overtaken(writing):
                pulse.beat()
                raise
            report = StepReport(Happening.INTERRUPTED, pulse.evidence or Evidence())
        finally:
            writing.cancel()
        return Judged(report, await self._written(writing, errand), pulse.evidence is not None)

    async def _write_patiently(self, errand: JudgeErrand, judging: asyncio.Task[StepReport]) -> Ledger:
        """Write the lines while the step is judged; a release that the ledger does not know is judged no longer."""
        while True:
            ledger = await self._scribe.write_within(
                errand.step.release, errand.notes, seconds=LEDGER_PATIENCE_S
            )
            if ledger is Ledger.UNKNOWN:
                judging.cancel()
            if ledger is not Ledger.OWED:
                return ledger
            await self._ground.clock.sleep(LEDGER_PATIENCE_S)

    async def _written(self, writing: asyncio.Task[Ledger], errand: JudgeErrand) -> Ledger:
        """Return what became of the lines; what was not written while the step was judged has one more chance."""
        if writing.done() and not writing.cancelled():
            return writing.result()
        order = errand.step.release
        return await self._scribe.write_within(order, errand.notes, seconds=LEDGER_PATIENCE_S)

    async def _closed(self, closure: object, order: ReleaseOrder, notes: Sequence[Note]) -> Answer:
        """Answer with the closure that stands."""
        assert isinstance(closure, Closure)  # noqa: S101 - what ReleaseClosed says that it carries
        if closure.kind is ClosureKind.PROMOTED:
            await self._ground.remember_stable(order)
        return Answer(
            Happening.CLOSED,
            reason=clip(closure.reason),
            ledger=await self._scribe.write_within(order, notes, seconds=LEDGER_PATIENCE_S),
            closure=closure.kind,
            verdict=closure.verdict,
            closed_at=closure.at,
        )

    async def _wake_quietly(self, channel: str) -> None:
        try:
            await self._wake(channel)
        except SerinusError as error:
            log.warning("delivery_not_woken", channel=channel, reason=error.message)


@contextmanager
def _around(order: ReleaseOrder, *, always_retry: bool = False) -> Iterator[None]:
    """Put the release on every log line and let errors leave in a form that Temporal understands."""
    with (
        bound(release=order.id, correlation_id=order.correlation_id),
        attempt(activity.info().attempt, always_retry=always_retry),
    ):
        yield


def _is_overtaken(writing: asyncio.Task[Ledger]) -> bool:
    """Whether a command, or the ledger, made the step pointless; a worker that shuts down does not."""
    details = activity.cancellation_details()
    is_disowned = writing.done() and not writing.cancelled() and writing.result() is Ledger.UNKNOWN
    return is_disowned or (details is not None and details.cancel_requested)
