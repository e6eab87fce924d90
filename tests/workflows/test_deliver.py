"""Alerts leave in order, survive a dead receiver, and no wake is lost; the real workflow over the real outbox."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import ActivityEnvironment

from controller.errors import EgressRefused, StoreUnavailable
from controller.model.details import Details
from controller.model.notice import Notice
from controller.model.release import JournalEvent
from controller.notify.memory import MemoryNotifier
from controller.releases.examples import Examples
from controller.store.memory import MemoryStore
from tests.controller.traces.recorded import a_request
from tests.workflows.orders import an_order
from tests.workflows.stage import SOON_S, workers
from tests.workflows.world import SteppingClock, World, a_world
from workflows.deliveries import GIVE_UP_S, Deliveries
from workflows.messages import CONTROL_QUEUE, DELIVER_WORKFLOW, WAKE_SIGNAL, Delivered, Delivery, Round

Handle = WorkflowHandle[Any, None]


class Guarded(MemoryNotifier):
    """A channel whose guard forbids some notices."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: set[str] = set()

    async def send(self, notice: Notice) -> None:
        """Refuse what is forbidden, else keep it."""
        if notice.id in self.forbidden:
            raise EgressRefused("loopback is not on the allow list")
        await super().send(notice)


async def put(world: World, *names: str, at: float = 1_700_000_900.0) -> None:
    """Put notices into the outbox."""
    for name in names:
        event = JournalEvent(f"rel-1:{name}:1", "rel-1", "rolled_back", "why", at)
        notice = Notice(name, "pager", "release.rolled_back", "rel-1", "catalog v2: rolled back", "why", at)
        await world.store.record(event, None, [notice])


@asynccontextmanager
async def an_outbox(temporal: Client, *names: str) -> AsyncIterator[World]:
    """A world with notices and a worker that delivers."""
    async with a_world() as world:
        await world.order(an_order())
        await put(world, *names)
        async with workers(temporal, control=[], io=world.deliveries.deliver_next):
            yield world


async def wake(temporal: Client, name: str) -> Handle:
    """Wake a channel as the runner does: the signal starts the workflow when it does not run."""
    return await temporal.start_workflow(
        DELIVER_WORKFLOW,
        Round("pager"),
        id=name,
        task_queue=CONTROL_QUEUE,
        task_timeout=timedelta(seconds=2),
        start_signal=WAKE_SIGNAL,
    )


async def over(handle: Handle) -> None:
    """Wait until everything is delivered."""
    async with asyncio.timeout(SOON_S):
        await handle.result()


@pytest.mark.asyncio(loop_scope="session")
async def test_notices_leave_in_order_and_the_workflow_ends(temporal: Client) -> None:
    """One wake empties the outbox, oldest first, and nothing is left running."""
    async with an_outbox(temporal, "a", "b", "c") as world:
        await over(await wake(temporal, uuid.uuid4().hex))
        pending = await world.store.pending_channels()

    assert [notice.id for notice in world.channel.sent] == ["a", "b", "c"]
    assert pending == ()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_receiver_that_comes_back_gets_everything_in_order(temporal: Client) -> None:
    """Failures are tried again with a growing pause, without leaving history, and without overtaking."""
    async with an_outbox(temporal, "a", "b") as world:
        world.channel.fail(times=4)
        handle = await wake(temporal, uuid.uuid4().hex)
        await over(handle)
        events = [event async for event in handle.fetch_history_events()]
        (first, _), *_ = await world.store.notices("rel-1")

    assert [notice.id for notice in world.channel.sent] == ["a", "b"]
    assert first.attempts == 5
    assert len(events) < 30


@pytest.mark.asyncio(loop_scope="session")
async def test_no_wake_is_lost_however_it_falls(temporal: Client) -> None:
    """Notices written while the workflow runs, ends or has ended are all delivered by their own wake."""
    name = uuid.uuid4().hex
    async with an_outbox(temporal) as world:
        for number in range(12):
            await put(world, f"n{number:02}")
            handle = await wake(temporal, name)
            await asyncio.sleep(0.004 * number)
        await over(handle)
        async with asyncio.timeout(SOON_S):
            while await world.store.pending_channels():
                await asyncio.sleep(0.01)

    assert [notice.id for notice in world.channel.sent] == [f"n{number:02}" for number in range(12)]


@pytest.mark.asyncio(loop_scope="session")
async def test_what_the_guard_forbids_is_passed_over_and_tried_again_later(temporal: Client) -> None:
    """A refused notice holds up nobody, stays in the outbox, and leaves when the channel was mended."""
    channel, clock = Guarded(), SteppingClock()
    channel.forbidden = {"a"}
    async with a_world() as world:
        await world.order(an_order())
        await put(world, "a", "b")
        deliveries = Deliveries(
            store=world.store, notifiers={"pager": channel}, clock=clock, meters=world.meters
        )
        async with workers(temporal, control=[], io=deliveries.deliver_next):
            handle = await wake(temporal, uuid.uuid4().hex)
            async with asyncio.timeout(SOON_S):
                while not channel.sent:
                    await asyncio.sleep(0.01)
            description = await handle.describe()
            channel.forbidden = set()
            await over(handle)

    assert description.status is WorkflowExecutionStatus.RUNNING
    assert [notice.id for notice in channel.sent] == ["b", "a"]


async def delivered(deliveries: Deliveries, *, skipped: tuple[str, ...] = ()) -> Delivery:
    """Run the activity once."""
    delivery: Delivery = await ActivityEnvironment().run(deliveries.deliver_next, Round("pager", skipped))
    return delivery


async def test_a_day_of_failures_is_enough() -> None:
    """An old notice that is still not taken gives way to the next one."""
    async with a_world() as world:
        await world.order(an_order())
        await put(world, "a", at=world.clock.wall_s() - GIVE_UP_S)
        world.channel.fail(times=1)

        delivery = await delivered(world.deliveries)

    assert delivery == Delivery(Delivered.GIVEN_UP, "a")


async def test_a_channel_that_is_not_configured_keeps_its_notices() -> None:
    """They stay in the outbox until somebody configures it again."""
    async with a_world() as world:
        await world.order(an_order())
        await put(world, "a")

        delivery = await delivered(
            Deliveries(store=world.store, notifiers={}, clock=world.clock, meters=world.meters)
        )
        pending = await world.store.pending_channels()

    assert (delivery.kind, pending) == (Delivered.GIVEN_UP, ("pager",))


async def test_an_alert_about_failures_names_them_on_its_way_out() -> None:
    """Failing traces of the canary are added; with a store that hangs the alert leaves as it was written."""
    async with a_world() as world:
        await world.order(an_order())
        about: Details = {"target": "catalog", "version": "v2", "canary_failed": 7}
        for name in ("a", "b"):
            event = JournalEvent(f"rel-1:{name}:1", "rel-1", "rolled_back", "why", 1_000.0)
            notice = Notice(name, "pager", "release.rolled_back", "rel-1", "t", "why", 1_000.0, about)
            await world.store.record(event, None, [notice])
        await world.traces.put(a_request(1, "v2", error="Boom"))
        examples = Examples(traces=world.traces, monotonic=world.clock.boot_s, patience_s=0.1)
        deliveries = Deliveries(
            store=world.store,
            notifiers=world.notifiers,
            clock=world.clock,
            meters=world.meters,
            beside=examples.beside,
        )

        await delivered(deliveries)
        world.traces.is_hung = True
        await delivered(deliveries)

    assert [notice.text for notice in world.channel.sent] == ["why; failing requests: cor-1", "why"]
    assert world.channel.sent[0].details["failing_trace_1"] == f"{1:032x}"


class Forgetful(MemoryStore):
    """A ledger that cannot mark a notice the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 1

    async def mark_notice(self, notice: str, channel: str, *, is_delivered: bool, note: str = "") -> None:
        """Refuse once, then do it."""
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("the disk is full")
        await super().mark_notice(notice, channel, is_delivered=is_delivered, note=note)


async def test_a_notice_that_was_sent_and_not_marked_is_not_sent_again() -> None:
    """Only a crash between sending and marking repeats a notice."""
    store, channel = Forgetful(), MemoryNotifier()
    async with a_world() as world:
        await World.order(
            World(
                world.clock,
                world.plane,
                world.keeper,
                store,
                world.source,
                world.running,
                channel,
                world.judge,
            ),
            an_order(),
        )
        event = JournalEvent("rel-1:a:1", "rel-1", "rolled_back", "why", 1.0)
        await store.record(
            event, None, [Notice("a", "pager", "release.rolled_back", "rel-1", "t", "why", 1.0)]
        )
        deliveries = Deliveries(
            store=store, notifiers={"pager": channel}, clock=world.clock, meters=world.meters
        )

        with pytest.raises(Exception, match="disk is full"):
            await delivered(deliveries)
        delivery = await delivered(deliveries)

    assert (delivery.kind, len(channel.sent)) == (Delivered.SENT, 1)
