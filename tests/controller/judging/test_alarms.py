"""Troubles of a release that runs: told once, in words, and never in the way of the judge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from controller.judging.alarms import LOOKS, WAITING, Alarms, Watch
from controller.model.evidence import StepReport
from controller.model.machine import Happening
from controller.model.notice import Notice
from controller.model.release import Change, Command, CommandKind, JournalEvent
from controller.model.verdict import Decision, Ground, Verdict
from controller.store.memory import MemoryStore
from tests.controller.judging.judging_world import POLICY, VirtualClock, World, order


@pytest.fixture
async def world() -> AsyncIterator[World]:
    opened = await World().open()
    yield opened
    await opened.aclose()


async def ledger() -> MemoryStore:
    store = MemoryStore()
    release = order().release
    start = Command("c", release.id, CommandKind.START, actor="me", at=0.0)
    await store.order(release, start)
    return store


def held(ground: Ground) -> Verdict:
    return Verdict(Decision.HOLD, ground)


def test_a_trouble_is_news_after_some_looks_in_a_row() -> None:
    """Once, when it has lasted; an interruption begins the count anew, and an ordinary hold is no trouble."""
    watch = Watch()
    told = [watch.after(held(Ground.CANARY_DARK)) for _ in range(LOOKS + 3)]
    assert told == [*([None] * (LOOKS - 1)), "canary_dark", None, None, None]

    assert watch.after(held(Ground.COLLECTING)) is None
    assert [watch.after(held(Ground.CANARY_DARK)) for _ in range(LOOKS)][-1] == "canary_dark"
    assert not any(watch.after(held(Ground.COLLECTING)) for _ in range(20))


async def test_an_alarm_is_a_line_and_a_notice_a_channel_and_written_once() -> None:
    """It says what is wrong and what happens next; the judge that takes over does not tell it again."""
    store = await ledger()
    alarms = Alarms(store=store, channels=["ops", "chat"], clock=VirtualClock())

    for _ in range(2):
        await alarms.tell(order(), "canary_dark", held(Ground.CANARY_DARK), "catalog v2 gets no requests")

    lines = [event for event in await store.events("rel-1") if event.kind == "alarm_held"]
    notices = await store.notices("rel-1")
    assert [line.text for line in lines] == [
        "catalog v2 gets no requests; the share stays at 10 % until it is over, and the policy decides 30 s after the "
        "step began"
    ]
    assert sorted(notice.channel for notice, _ in notices) == ["chat", "ops"]
    assert {notice.title for notice, _ in notices} == {"catalog v2: canary dark"}


async def test_a_ledger_that_is_away_is_not_the_judges_trouble() -> None:
    """Nothing is raised, whatever the ledger does."""
    store = MemoryStore()
    alarms = Alarms(store=store, channels=["ops"], clock=VirtualClock())
    await alarms.tell(order(), WAITING, held(Ground.COLLECTING), "unknown release")

    store.is_down = True
    await alarms.tell(order(), WAITING, held(Ground.COLLECTING), "no ledger")


class HungStore(MemoryStore):
    """A ledger whose disk never answers."""

    async def record(
        self, event: JournalEvent, change: Change | None = None, notices: Sequence[Notice] = ()
    ) -> int:
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never


async def test_a_ledger_that_hangs_holds_no_judge_up() -> None:
    """The judge has a lease to renew: it goes on without the alarm."""
    alarms = Alarms(store=HungStore(), channels=["ops"], clock=VirtualClock(), patience_s=0.01)

    await asyncio.wait_for(alarms.tell(order(), WAITING, held(Ground.COLLECTING), "hung"), timeout=5)


async def test_an_alarm_carries_the_numbers_of_its_verdict() -> None:
    """As the alert of the end does: what, where, and both arms' counts."""
    store = await ledger()
    verdict = Verdict(
        Decision.HOLD, Ground.ONE_BAD_INSTANCE, 21, 4, 400, 2, odds=640.0, instance="10.0.0.7:80"
    )
    await Alarms(store=store, channels=["ops"], clock=VirtualClock()).tell(
        order(), "one_bad_instance", verdict, "r"
    )

    ((notice, _),) = await store.notices("rel-1")
    wanted = {"target": "catalog", "instance": "10.0.0.7:80", "canary_failed": 4, "odds": 640.0, "step": 0}
    assert {name: notice.details[name] for name in wanted} == wanted


async def test_a_judge_tells_of_a_source_that_is_down(world: World) -> None:
    """The loop brings the trouble to the ledger while it goes on holding."""
    store = await ledger()
    alarms = Alarms(store=store, channels=["ops"], clock=world.clock)
    world.is_source_down = True
    task = asyncio.create_task(
        world.judge(alarms=alarms).hold_step(order(), resume=None, checkpoint=world.checkpoints.append)
    )
    await world.clock.drive(until_s=12, then=task.done)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert [event.kind for event in await store.events("rel-1")][-1] == "alarm_held"


async def test_who_waits_for_a_person_says_so_and_does_not_wait_for_ever(world: World) -> None:
    """After the policy's longest wait the step ends undecided, which takes the canary back."""
    store = await ledger()
    alarms = Alarms(store=store, channels=["ops"], clock=world.clock)
    policy = replace(POLICY, longest_wait_s=20, min_requests=10**6)
    waiting = replace(order(is_open=True, policy=policy), is_waiting=True)
    task: asyncio.Task[StepReport] = asyncio.create_task(
        world.judge(alarms=alarms).hold_step(waiting, resume=None, checkpoint=world.checkpoints.append)
    )
    await world.clock.drive(until_s=49, then=task.done)
    assert not task.done()
    await world.clock.drive(until_s=5, then=task.done)

    assert task.result().kind is Happening.STEP_UNDECIDED
    told = [event for event in await store.events("rel-1") if event.kind == "alarm_waiting"]
    assert len(told) == 1
    assert "taken back if nobody decides within 20 s" in told[0].text
