"""The activity that judges: what it hands over when it is cut short, killed, or left alone by the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from controller.model.evidence import Evidence, StepOrder, StepReport
from controller.model.machine import Happening
from controller.model.release import State
from controller.model.share import BasisPoints
from tests.workflows.orders import an_order, failed, passed
from tests.workflows.world import World, a_world
from workflows.messages import (
    Judged,
    JudgeErrand,
    Ledger,
    Note,
)
from workflows.pulse import Pulse

ORDER = an_order()
STARTED = Note("step_started", 1, 5.0, State.STEPPING, 0, BasisPoints(900))


async def ready(world: World, order: Any = ORDER) -> None:
    """Bring a release to the point where it may be judged."""
    await world.order(order)
    await world.keeper.declare(order.target)


async def run(activity_: Any, errand: Any, *, env: ActivityEnvironment | None = None) -> Any:
    """Run one activity as Temporal would."""
    return await (env or ActivityEnvironment()).run(activity_, errand)


async def test_the_report_comes_back_and_the_lines_are_written() -> None:
    """While the judge judges, the ledger learns that the step began."""
    async with a_world() as world:
        await ready(world)
        world.judge.judgements = [passed()]

        judged = await run(world.activities.hold_step, JudgeErrand(StepOrder(ORDER, 0), (STARTED,)))
        release = await world.store.get_release("rel-1")

    assert judged == Judged(passed())
    assert (release.state, release.share) == (State.STEPPING, 900)


async def test_an_attempt_after_a_dead_worker_resumes_from_the_last_heartbeat() -> None:
    """The evidence arrives without its type and is evidence again."""
    env = ActivityEnvironment()
    details = {"looks": 41, "judged_s": 40.5, "canary_seen": {"total": 7, "failed": 1}}
    env.info = replace(env.info, heartbeat_details=[details], attempt=2)
    async with a_world() as world:
        await ready(world)
        world.judge.judgements = [passed()]

        await run(world.activities.hold_step, JudgeErrand(StepOrder(ORDER, 0)), env=env)

    (_, resumed), *_ = world.judge.orders
    assert resumed is not None
    assert (resumed.looks, resumed.judged_s, resumed.canary_seen.total) == (41, 40.5, 7)


async def test_a_command_gets_the_newest_evidence_handed_over() -> None:
    """Cancelled on request, the activity answers INTERRUPTED and leaves the lease alone."""
    env = ActivityEnvironment()
    beats: list[Evidence] = []
    env.on_heartbeat = lambda *details: beats.extend(details)
    async with a_world() as world:
        await ready(world)
        judging = asyncio.create_task(
            run(world.activities.hold_step, JudgeErrand(StepOrder(ORDER, 0), (STARTED,)), env=env)
        )
        while not beats:
            await asyncio.sleep(0.005)
        env.cancel(cancellation_details=activity.ActivityCancellationDetails(cancel_requested=True))

        judged = await judging

    assert judged.report.kind is Happening.INTERRUPTED
    assert judged.report.evidence == beats[-1]
    assert judged.has_looked


async def test_a_worker_that_shuts_down_leaves_the_step_to_the_next_attempt() -> None:
    """The attempt fails after a last heartbeat, so that Temporal hands the newest evidence on."""
    env = ActivityEnvironment()
    beats: list[Evidence] = []
    env.on_heartbeat = lambda *details: beats.extend(details)
    async with a_world() as world:
        await ready(world)
        judging = asyncio.create_task(
            run(world.activities.hold_step, JudgeErrand(StepOrder(ORDER, 0)), env=env)
        )
        while not beats:
            await asyncio.sleep(0.005)
        env.cancel(cancellation_details=activity.ActivityCancellationDetails(worker_shutdown=True))

        with pytest.raises(asyncio.CancelledError):
            await judging

    assert beats[-1].looks == max(beat.looks for beat in beats)


async def test_a_step_of_a_forgotten_release_is_judged_no_longer() -> None:
    """When the ledger says that it does not know the release, the judge stops at once."""
    async with a_world() as world:
        await world.keeper.declare(ORDER.target)

        judged = await run(world.activities.hold_step, JudgeErrand(StepOrder(ORDER, 0), (STARTED,)))

    assert (judged.report.kind, judged.ledger) == (Happening.INTERRUPTED, Ledger.UNKNOWN)


async def test_a_ledger_that_is_away_does_not_stop_the_judge() -> None:
    """The verdict comes, and the lines are owed."""
    async with a_world() as world:
        await ready(world)
        world.judge.judgements = [failed()]
        world.store.is_down = True

        judged = await run(world.activities.hold_step, JudgeErrand(StepOrder(ORDER, 0), (STARTED,)))

    assert (judged.report.kind, judged.ledger) == (Happening.STEP_FAILED, Ledger.OWED)


async def test_a_silent_judge_stops_beating() -> None:
    """A judge that hangs is replaced like a dead one: its heartbeat ends."""
    env = ActivityEnvironment()
    beats: list[object] = []
    env.on_heartbeat = lambda *details: beats.append(details)

    async def hang(_: StepReport | None) -> None:
        await Pulse(Evidence(looks=3), patience_s=0.0).go_on()

    await env.run(hang, None)

    assert beats == []
