"""Whole releases: the real workflow with the real activities over a world in memory, the judge scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import Client

from controller.errors import ReleaseClosed
from controller.model.evidence import Evidence, StepOrder, StepReport
from controller.model.lease import ClosureKind, GrantRequest
from controller.model.machine import Happening
from controller.model.release import CommandKind, Outcome, State
from controller.model.share import BasisPoints
from tests.workflows.orders import a_command, an_order, failed, passed
from tests.workflows.stage import SOON_S, end_of, start, workers
from tests.workflows.world import World, a_world
from workflows.messages import ABORT_SIGNAL, ReleaseEnd

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def a_worker(temporal: Client) -> AsyncIterator[World]:
    """A world with a worker in it."""
    async with a_world() as world:
        do = world.activities
        control: list[Callable[..., Any]] = [
            do.preflight,
            do.start_version,
            do.promote,
            do.close,
            do.conclude,
            do.retire,
            do.finish,
        ]
        async with workers(temporal, control=control, judge=do.hold_step):
            yield world


async def ended(temporal: Client, world: World, version: str = "v2") -> ReleaseEnd:
    """Order and run a release of two steps to its end."""
    order = an_order(version=version, steps=2)
    await world.order(order)
    return await end_of(await start(temporal, order))


async def test_a_good_release_becomes_stable_everywhere(temporal: Client) -> None:
    """Router, ledger and journal agree, the old version is drained, and nobody is alarmed."""
    async with a_worker(temporal) as world:
        world.running.running["catalog.v1"] = await world.running.health(an_order().target, "v1")
        world.judge.judgements = [passed(), passed()]

        end = await ended(temporal, world)
        release = await world.store.get_release("rel-1")
        observed = await world.keeper.observe(release.order.target.key)
        target = await world.store.get_target("local", "catalog")
        kinds = [event.kind for event in await world.store.events("rel-1")]
        pending = await world.store.pending_channels()

    assert end.outcome is release.outcome is Outcome.PROMOTED
    assert (release.state, release.share, observed.stable, target.stable) == (State.DONE, 10_000, "v2", "v2")
    assert world.running.retired == ["catalog.v1"]
    assert kinds == [
        "ordered", "preflight_passed", "version_ready", "step_started", "step_passed", "step_started", "step_passed",
        "promoting", "promoted", "drained", "finished",
    ]  # fmt: skip
    assert pending == ()


async def test_a_bad_release_is_rolled_back_and_told_once(temporal: Client) -> None:
    """The release is barred for ever, the reason stands with its numbers, and one notice waits a channel."""
    async with a_worker(temporal) as world:
        world.judge.judgements = [passed(), failed()]

        end = await ended(temporal, world, "v3")
        release = await world.store.get_release("rel-1")
        notices = await world.store.notices("rel-1")
        key = release.order.target.key
        with pytest.raises(ReleaseClosed):
            await world.keeper.grant(GrantRequest(key, "rel-1", "v3", BasisPoints(1), 5.0, 0))

    assert end == ReleaseEnd(Outcome.ROLLED_BACK, "14 of 60 failed")
    assert release.facts == {"verdict_at": 5_000.0, "closed_at": 5_000.25}
    assert (release.state, release.share, release.ended_at) == (State.DONE, 0, 5_000.25)
    assert [(notice.id, notice.channel) for notice, _ in notices] == [("rel-1.rolled_back", "pager")]
    assert world.woken == ["pager"]
    assert world.running.retired == ["catalog.v3"]


async def test_a_judge_that_died_between_close_and_report_does_not_open_again(temporal: Client) -> None:
    """The next judge is told that the release is closed, and the outcome is the dead one's FAIL."""

    async def find_closed(order: StepOrder, resume: Evidence | None) -> StepReport:
        key = order.release.target.key
        closure = await world.keeper.close(
            key, "rel-1", ClosureKind.FAILED, "14 of 60 failed", failed().verdict
        )
        with pytest.raises(ReleaseClosed):
            await world.keeper.grant(GrantRequest(key, "rel-1", "v2", BasisPoints(900), 5.0, 0))
        return StepReport(
            Happening.CLOSED,
            Evidence(looks=1),
            closure.verdict,
            closure.reason,
            closure.kind,
            closure.at,
            closure.at,
        )

    async with a_worker(temporal) as world:
        world.judge.judgements = [find_closed]

        end = await ended(temporal, world)
        release = await world.store.get_release("rel-1")

    assert end == ReleaseEnd(Outcome.ROLLED_BACK, "14 of 60 failed")
    assert release.verdict == failed().verdict
    assert release.facts["verdict_at"] == release.facts["closed_at"] > 0


async def test_an_abort_that_the_router_had_first_ends_as_aborted(temporal: Client) -> None:
    """The API closes in the router before it signals; the release confirms that closure and tells who asked."""
    async with a_worker(temporal) as world:
        order = an_order(steps=2)
        await world.order(order)
        handle = await start(temporal, order)
        async with asyncio.timeout(SOON_S):
            while not world.judge.orders:
                await asyncio.sleep(0.01)
        await world.keeper.close(order.target.key, "rel-1", ClosureKind.ABORTED, "it smells")
        await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT, reason="it smells"))

        end = await end_of(handle)
        events = await world.store.events("rel-1")

    assert end == ReleaseEnd(Outcome.ABORTED, "it smells")
    assert [event.actor for event in events if event.kind == "aborted"] == ["bo"]


async def test_a_ledger_that_is_away_delays_the_record_and_not_the_rollback(temporal: Client) -> None:
    """The share is gone while the ledger is down, and the outcome is written when it is back."""
    async with a_worker(temporal) as world:
        order = an_order(steps=1)

        async def fail_without_ledger(told: StepOrder, resume: Evidence | None) -> StepReport:
            world.store.is_down = True
            return failed()

        world.judge.judgements = [fail_without_ledger]
        await world.order(order)
        handle = await start(temporal, order)
        async with asyncio.timeout(SOON_S):
            while not world.judge.closures:
                await asyncio.sleep(0.02)
        world.store.is_down = False

        end = await end_of(handle)
        release = await world.store.get_release("rel-1")
        kinds = [event.kind for event in await world.store.events("rel-1")]

    assert end.outcome is release.outcome is Outcome.ROLLED_BACK
    assert kinds.count("step_started") == kinds.count("rolled_back") == kinds.count("finished") == 1


async def test_a_release_that_starts_again_after_its_end_does_nothing(temporal: Client) -> None:
    """A repeated start, days later, must not stop what is stable by then."""
    async with a_worker(temporal) as world:
        world.judge.judgements = [passed(), passed()]
        await ended(temporal, world)
        order = an_order(steps=2)
        retired = list(world.running.retired)
        events = await world.store.events("rel-1")

        end = await end_of(await start(temporal, order))
        later = await world.store.events("rel-1")

    assert end.outcome is Outcome.PROMOTED
    assert (world.running.retired, later) == (retired, events)
