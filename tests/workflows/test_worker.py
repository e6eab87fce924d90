"""The worker on a real Temporal server: deaths, restarts and goodbyes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controller.model.evidence import StepReport
from controller.model.release import CommandKind, Outcome, ReleaseOrder
from controller.settings import Settings, Temporal
from tests.workflows.dev_server import DevServer, a_server
from tests.workflows.orders import a_command, an_order, passed
from tests.workflows.world import World, a_world
from workflows.client import TemporalRunner
from workflows.worker import END_S, work

pytestmark = pytest.mark.process

LONG_S = 25.0
ORDER = an_order(steps=1)


def settings_for(server: DevServer) -> Settings:
    """Settings that lead to a server."""
    return Settings(temporal=Temporal(address=server.address, rpc_timeout_s=2.0))


@asynccontextmanager
async def a_worker(server: DevServer, *judgements: StepReport) -> AsyncIterator[tuple[World, asyncio.Event]]:
    """Run our worker in this process over a world in which the order is known; yields it and its stop."""
    stop = asyncio.Event()
    async with a_world() as world:
        await world.order(ORDER)
        await world.keeper.declare(ORDER.target)
        world.judge.judgements = list(judgements)
        working = asyncio.create_task(
            work(settings_for(server), world, stop=stop, clock=world.clock, meters=world.meters)
        )
        try:
            yield world, stop
        finally:
            stop.set()
            async with asyncio.timeout(END_S + 1):
                await working


@asynccontextmanager
async def a_runner(server: DevServer) -> AsyncIterator[TemporalRunner]:
    """The runner that the API would use."""
    runner = TemporalRunner(settings_for(server).temporal)
    yield runner
    await runner.aclose()


async def over(world: World, order: ReleaseOrder = ORDER) -> Outcome | None:
    """Wait until the ledger has the release as done."""
    async with asyncio.timeout(LONG_S):
        while (release := await world.store.get_release(order.id)).is_active:
            await asyncio.sleep(0.02)
    return release.outcome


async def judged(world: World) -> None:
    """Wait until the judge was asked."""
    async with asyncio.timeout(LONG_S):
        while not world.judge.orders:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def a_doomed_server() -> AsyncIterator[tuple[DevServer, asyncio.subprocess.Process]]:
    """A server, and a worker in a process of its own that finds it when it is up."""
    server = DevServer()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.workflows.doomed_worker",
        server.address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    try:
        await server.start()
        yield server, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await server.kill()


async def looks_until(process: asyncio.subprocess.Process, least: int) -> int:
    """Read what its judge prints until it has looked so often; returns the newest number."""
    assert process.stdout is not None
    looks = 0
    async with asyncio.timeout(LONG_S):
        while looks < least:
            line = await process.stdout.readline()
            looks = int(line) if line.strip().isdigit() else looks
    return looks


@pytest.mark.long
async def test_a_killed_judge_is_succeeded_by_one_that_knows_what_it_knew() -> None:
    """After kill -9 another worker resumes the step from the last heartbeat that Temporal got."""
    async with a_doomed_server() as (server, process), a_runner(server) as runner:
        await runner.start(ORDER)
        looks = await looks_until(process, 40)
        process.kill()
        await process.wait()
        async with a_worker(server, passed()) as (world, _):
            outcome = await over(world)
            resumed = [resume for _, resume in world.judge.orders]

    assert outcome is Outcome.PROMOTED
    assert resumed[0] is not None
    assert 0 < resumed[0].looks <= looks + 5


async def test_a_worker_that_is_asked_to_end_hands_the_newest_evidence_over() -> None:
    """It is gone within 5 s, and the next one takes over at once instead of waiting for a heartbeat to fail."""
    async with a_doomed_server() as (server, process), a_runner(server) as runner:
        await runner.start(ORDER)
        await looks_until(process, 10)
        loop = asyncio.get_running_loop()
        process.terminate()
        asked = loop.time()
        assert process.stdout is not None
        rest = await process.stdout.read()
        await process.wait()
        gone_s = loop.time() - asked
        async with a_worker(server, passed()) as (world, _):
            await judged(world)
            resumed = world.judge.orders[0][1]
            outcome = await over(world)

    newest = max([10, *(int(word) for word in rest.split() if word.isdigit())])
    assert gone_s < 5
    assert resumed is not None
    assert resumed.looks >= newest - 1
    assert outcome is Outcome.PROMOTED


async def test_a_release_outlives_its_temporal_server(tmp_path: Path) -> None:
    """A server that dies in mid-step comes back, the worker finds it again, and an abort gets through."""
    async with (
        a_server(tmp_path / "temporal.db") as server,
        a_runner(server) as runner,
        a_worker(server) as (world, _),
    ):
        await runner.start(ORDER)
        await judged(world)
        await server.kill()
        await asyncio.sleep(0.3)
        await server.start()
        await runner.tell(ORDER.target.key, a_command(CommandKind.ABORT, reason="it smells"))

        outcome = await over(world)
        release = await world.store.get_release(ORDER.id)
        async with asyncio.timeout(LONG_S):
            while not world.channel.sent:
                await asyncio.sleep(0.02)

    assert (outcome, release.reason) == (Outcome.ABORTED, "it smells")
    assert [notice.id for notice in world.channel.sent] == ["rel-1.aborted"]


async def test_a_worker_may_be_there_before_temporal() -> None:
    """Nobody has to start the parts in an order."""
    server = DevServer()
    try:
        async with a_worker(server, passed()) as (world, _):
            await asyncio.sleep(0.3)
            await server.start()
            async with a_runner(server) as runner:
                await runner.start(ORDER)

                outcome = await over(world)
    finally:
        await server.kill()

    assert outcome is Outcome.PROMOTED
