"""The courier: after any crash, ledger, orchestrator and router agree again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from controller.model.machine import Phase, Position
from controller.model.notice import Notice
from controller.model.release import Command, CommandKind, JournalEvent, Outcome
from controller.model.target import TargetKey
from controller.releases.courier import GRACE_S, STALE_S, Courier, Round
from controller.runner.memory import MemoryRunner
from controller.store.memory import MemoryStore
from tests.controller.releases.world import CATALOG, KEY, World, a_world

QUIET = Round(delivered=0, restarted=0, woken=0, declared=0)


def command(world: World, release: str, kind: CommandKind) -> Command:
    """Return a command that was written and not confirmed, as after a crash of the controller."""
    return Command(id="k1", release=release, kind=kind, actor="tester", at=world.now)


async def test_a_quiet_world_is_left_alone() -> None:
    """With everything in order a round does nothing."""
    async with a_world() as world:
        await world.start()
        world.now += GRACE_S

        assert await world.use_cases.courier.run_once() == QUIET
        assert len(world.runner.orders) == 1


async def test_a_release_that_nobody_runs_is_started() -> None:
    """A crash between ledger and runner is mended, once."""
    async with a_world() as world:
        release = await world.start()
        world.runner.end(KEY)
        world.now += GRACE_S

        first = await world.use_cases.courier.run_once()
        second = await world.use_cases.courier.run_once()

        assert (first.restarted, second.restarted) == (1, 0)
        assert world.runner.orders[-1] == release.order


async def test_a_release_on_its_way_is_not_started_twice() -> None:
    """A release that the API has just written is left to the API."""
    async with a_world() as world:
        await world.start()
        world.runner.end(KEY)
        world.now += GRACE_S - 1

        assert await world.use_cases.courier.run_once() == QUIET


async def test_a_release_that_ends_meanwhile_is_not_started_again() -> None:
    """If it ends between the list and the question whether it runs, it stays ended."""

    class Ending(MemoryRunner):
        """Answers that nothing runs, after the release has just ended."""

        async def runs(self, target: TargetKey, release: str) -> bool:
            await world.conclude(release, Outcome.PROMOTED)
            return False

    async with a_world() as world:
        release = await world.start()
        runner = Ending()
        courier = Courier(store=world.store, keeper=world.keeper, runner=runner, clock=lambda: world.now)
        world.now += GRACE_S

        done = await courier.run_once()

        assert done.restarted == 0
        assert runner.orders == []
        assert (await world.store.get_release(release.order.id)).outcome is Outcome.PROMOTED


@pytest.mark.parametrize("kind", [CommandKind.PAUSE, CommandKind.ABORT])
async def test_a_command_that_a_crash_left_is_delivered(kind: CommandKind) -> None:
    """What was written and never confirmed reaches the runner, if it is young."""
    async with a_world() as world:
        release = await world.start()
        world.runner.put(KEY, Position(phase=Phase.STEPPING))
        await world.store.add_command(command(world, release.order.id, kind))

        done = await world.use_cases.courier.run_once()

        assert done.delivered == 1
        assert [one.kind for one in world.runner.told] == [kind]


async def test_an_old_promotion_is_dropped_and_an_old_abort_is_not() -> None:
    """After a minute nobody expects a promotion any more; an abort is delivered whenever it can be."""
    async with a_world() as world:
        release = await world.start()
        world.runner.put(KEY, Position(phase=Phase.STEPPING))
        await world.store.add_command(command(world, release.order.id, CommandKind.PROMOTE))
        await world.store.add_command(replace(command(world, release.order.id, CommandKind.ABORT), id="k2"))
        world.now += STALE_S + 1

        await world.use_cases.courier.run_once()

        assert [one.kind for one in world.runner.told] == [CommandKind.ABORT]
        assert await world.store.pending_commands() == ()


async def test_a_command_that_no_longer_applies_is_settled() -> None:
    """Refused by the runner, or too late for its release: it does not come again."""
    async with a_world() as world:
        release = await world.start()
        await world.store.add_command(command(world, release.order.id, CommandKind.RESUME))
        await world.use_cases.courier.run_once()
        await world.store.add_command(replace(command(world, release.order.id, CommandKind.ABORT), id="k2"))
        await world.conclude(release.order.id, Outcome.ROLLED_BACK)
        await world.use_cases.courier.run_once()

        assert world.runner.told == []
        assert await world.store.pending_commands() == ()


async def test_channels_with_alerts_are_woken() -> None:
    """An alert that waits in the outbox has its channel woken in every round until it is delivered."""
    async with a_world() as world:
        release = await world.start()
        event = JournalEvent(id="e1", release=release.order.id, kind="rolled_back", text="x", at=1.0)
        notice = Notice(
            id="n1",
            channel="ops",
            kind="release.rolled_back",
            release=release.order.id,
            title="x",
            text="x",
            at=1.0,
        )
        await world.store.record(event, notices=[notice])

        first = await world.use_cases.courier.run_once()
        await world.store.mark_notice("n1", "ops", is_delivered=True)
        second = await world.use_cases.courier.run_once()

        assert (first.woken, second.woken) == (1, 0)
        assert world.runner.woken == ["ops"]


async def test_a_router_that_lost_its_targets_gets_them_back() -> None:
    """What the ledger has and the router does not know is declared again."""
    async with a_world() as world:
        await world.keeper.remove(KEY)

        done = await world.use_cases.courier.run_once()

        assert done.declared == 1
        assert await world.keeper.targets() == (CATALOG,)


async def test_the_ledger_learns_a_promotion_that_a_crash_kept_from_it() -> None:
    """Where router and ledger differ about stable and no release is active, the router is right."""
    async with a_world() as world:
        await world.keeper.promote(KEY, "rel-1", "v2")

        done = await world.use_cases.courier.run_once()

        assert done.declared == 1
        assert (await world.store.get_target("local", "catalog")).stable == "v2"


async def test_everything_down_is_said_and_survived() -> None:
    """With ledger, router and orchestrator down a round ends normally and names all of them; the next one works."""
    async with a_world() as world:
        release = await world.start()
        await world.store.add_command(command(world, release.order.id, CommandKind.ABORT))
        world.now += GRACE_S
        world.runner.is_down = world.keeper.is_down = True
        without_runner = await world.use_cases.courier.run_once()
        world.store.is_down = True
        without_anything = await world.use_cases.courier.run_once()
        world.runner.is_down = world.keeper.is_down = world.store.is_down = False

        done = await world.use_cases.courier.run_once()

        assert without_runner.failures == ("orchestrator_unavailable", "router_unavailable")
        assert "store_unavailable" in without_anything.failures
        assert (done.delivered, done.failures) == (1, ())


async def test_the_loop_goes_on_after_a_surprise_and_stops_when_told() -> None:
    """An error that nobody foresaw does not end the loop; the stop event does, without waiting for the next round."""
    rounds = 0
    stop = asyncio.Event()

    class Surprising(MemoryStore):
        """Breaks in a way that no port allows, then stops the loop in the second round."""

        async def pending_commands(self, limit: int = 100) -> tuple[Command, ...]:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                raise RuntimeError("nobody foresaw this")
            stop.set()
            return ()

    async with a_world() as world:
        courier = Courier(
            store=Surprising(), keeper=world.keeper, runner=world.runner, clock=lambda: world.now
        )
        with capture_logs() as lines:
            async with asyncio.timeout(5):
                await courier.run(stop, every_s=0.001)

    assert rounds == 2
    assert "courier_failed" in [line["event"] for line in lines]
