"""Commands: taken once, refused with a reason, and an abort that works whatever is down."""

from __future__ import annotations

import pytest

from controller.errors import CommandRefused, KeyReused, NotFound, OrchestratorUnavailable, StoreUnavailable
from controller.model.lease import ClosureKind
from controller.model.machine import Phase, Position
from controller.model.release import Change, CommandKind, Outcome, Release, State
from tests.controller.releases.world import BAD_NEWS, KEY, World, a_world, caller


async def a_step(world: World) -> Release:
    """Return a release that runs its first step with a share of 10 %."""
    release = await world.start()
    world.runner.put(KEY, Position(phase=Phase.STEPPING))
    await world.note(release.order.id, "step_started", Change(state=State.STEPPING))
    await world.lease(release.order.id)
    return release


async def tell(world: World, release: Release, kind: CommandKind, key: str = "") -> Release:
    """Pass a command on."""
    return await world.use_cases.commanding.tell(release.order.id, kind, "why", caller(key))


async def abort(world: World, release: Release, key: str = "") -> Release:
    """Abort a release."""
    return await world.use_cases.aborting.abort(release.order.id, "why", caller(key))


@pytest.mark.parametrize("kind", [CommandKind.PAUSE, CommandKind.PROMOTE])
async def test_a_command_reaches_the_runner_once(kind: CommandKind) -> None:
    """A repeat with the same key gives an answer again and is done once; nothing stays pending."""
    async with a_world() as world:
        release = await a_step(world)

        await tell(world, release, kind, "k1")
        await tell(world, release, kind, "k1")

        assert [(one.kind, one.actor, one.reason) for one in world.runner.told] == [(kind, "tester", "why")]
        assert await world.store.pending_commands() == ()


async def test_a_refused_command_stays_refused_for_its_key() -> None:
    """Resume of a release that is not paused is refused, journaled with its actor, and refused again on a repeat."""
    async with a_world() as world:
        release = await a_step(world)

        for _ in range(2):
            with pytest.raises(CommandRefused, match="not paused"):
                await tell(world, release, CommandKind.RESUME, "k1")
        await tell(world, release, CommandKind.PAUSE)
        with pytest.raises(CommandRefused):
            await tell(world, release, CommandKind.RESUME, "k1")

        refused = [one for one in await world.store.events(release.order.id) if "refused" in one.kind]
        assert [(one.kind, one.actor) for one in refused] == [("resume_refused", "tester")]
        assert await world.store.pending_commands() == ()


async def test_a_key_belongs_to_one_command() -> None:
    """The same key on another command is KeyReused, and the other command does not happen."""
    async with a_world() as world:
        release = await a_step(world)
        await tell(world, release, CommandKind.PAUSE, "k1")

        with pytest.raises(KeyReused):
            await tell(world, release, CommandKind.PROMOTE, "k1")

        assert [one.kind for one in world.runner.told] == [CommandKind.PAUSE]


async def test_a_promotion_is_not_delivered_later() -> None:
    """With the orchestrator down a promotion fails and is forgotten; sent again, it is taken."""
    async with a_world() as world:
        release = await a_step(world)
        world.runner.is_down = True
        with pytest.raises(OrchestratorUnavailable):
            await tell(world, release, CommandKind.PROMOTE, "k1")
        world.runner.is_down = False

        await world.use_cases.courier.run_once()
        before = list(world.runner.told)
        await tell(world, release, CommandKind.PROMOTE, "k1")

        assert before == []
        assert [one.kind for one in world.runner.told] == [CommandKind.PROMOTE]


@pytest.mark.parametrize("kind", [CommandKind.PAUSE, CommandKind.RESUME, CommandKind.PROMOTE])
async def test_a_release_that_is_over_takes_no_command(kind: CommandKind) -> None:
    """A finished release refuses; a command that it took before its end is still answered to a repeat."""
    async with a_world() as world:
        release = await a_step(world)
        await tell(world, release, CommandKind.PAUSE, "k1")
        await world.conclude(release.order.id, Outcome.ROLLED_BACK)

        with pytest.raises(CommandRefused):
            await tell(world, release, kind, "k2")
        again = await tell(world, release, CommandKind.PAUSE, "k1")

        assert again.outcome is Outcome.ROLLED_BACK


async def test_an_unknown_release_is_not_found() -> None:
    """Commands to nobody change nothing."""
    async with a_world() as world:
        with pytest.raises(NotFound):
            await world.use_cases.commanding.tell("rel-x", CommandKind.PAUSE, "", caller())
        with pytest.raises(NotFound):
            await world.use_cases.aborting.abort("rel-x", "", caller())


async def test_an_abort_takes_the_share_and_tells_the_runner() -> None:
    """The lease is gone, the release is barred as aborted, the runner and the journal know who and why."""
    async with a_world() as world:
        release = await a_step(world)

        await abort(world, release)

        assert world.keeper.shares() == {}
        assert [one.kind for one in world.runner.told] == [CommandKind.ABORT]
        noted = (await world.store.events(release.order.id))[-1]
        assert (noted.kind, noted.actor, noted.correlation_id) == ("abort_requested", "tester", "corr-1")
        assert await world.store.pending_commands() == ()


async def test_an_abort_works_with_the_orchestrator_down() -> None:
    """The share is taken at once, the command waits, and the courier delivers it when the orchestrator is back."""
    async with a_world() as world:
        release = await a_step(world)
        world.runner.is_down = True

        await abort(world, release, "k1")
        shares = world.keeper.shares()
        waiting = await world.store.pending_commands()
        hindered = await world.use_cases.courier.run_once()
        world.runner.is_down = False
        done = await world.use_cases.courier.run_once()

        assert shares == {}
        assert [one.id for one in waiting] == ["k1"]
        assert (hindered.delivered, hindered.failures) == (0, ("orchestrator_unavailable",))
        assert done.delivered == 1
        assert [one.id for one in world.runner.told] == ["k1"]
        assert await world.store.pending_commands() == ()


async def test_an_abort_works_with_the_router_down() -> None:
    """Without the router the runner is told all the same, and the journal says that the share ends later."""
    async with a_world() as world:
        release = await a_step(world)
        world.keeper.is_down = True

        await abort(world, release)

        assert [one.kind for one in world.runner.told] == [CommandKind.ABORT]
        assert "router did not answer" in (await world.store.events(release.order.id))[-1].text


async def test_an_abort_with_router_and_orchestrator_down_is_kept() -> None:
    """With both down the command is pending: nothing is lost, and nothing is claimed."""
    async with a_world() as world:
        release = await a_step(world)
        world.keeper.is_down = world.runner.is_down = True

        await abort(world, release, "k1")

        assert [one.id for one in await world.store.pending_commands()] == ["k1"]


async def test_an_abort_with_a_ledger_that_dies_still_takes_the_share() -> None:
    """The share goes before the ledger is written, so a full disk cannot keep a bad canary alive."""
    async with a_world() as world:
        release = await a_step(world)
        world.keeper.after_close = lambda: setattr(world.store, "is_down", True)

        with pytest.raises(StoreUnavailable):
            await abort(world, release)

        assert world.keeper.shares() == {}


async def test_an_abort_after_the_promotion_is_refused() -> None:
    """When the keeper answers that the version was promoted, the abort is refused and not delivered."""
    async with a_world() as world:
        release = await a_step(world)
        await world.keeper.promote(KEY, release.order.id, "v2")

        with pytest.raises(CommandRefused, match="promoted"):
            await abort(world, release)

        assert world.runner.told == []
        assert await world.store.pending_commands() == ()


async def test_an_abort_after_the_judges_fail_changes_nothing() -> None:
    """The first closure stands; the workflow takes the late abort without harm."""
    async with a_world() as world:
        release = await a_step(world)
        await world.keeper.close(KEY, release.order.id, ClosureKind.FAILED, "too many errors", BAD_NEWS)

        await abort(world, release)

        closure = await world.keeper.close(KEY, release.order.id, ClosureKind.ABORTED, "again")
        assert closure.kind is ClosureKind.FAILED


@pytest.mark.parametrize("is_drained", [False, True])
async def test_abort_twice_is_abort_once(is_drained: bool) -> None:
    """An aborted release answers every further abort with itself."""
    async with a_world() as world:
        release = await a_step(world)
        await abort(world, release, "k1")
        await world.conclude(release.order.id, Outcome.ABORTED, is_drained=is_drained)

        again = await abort(world, release, "k1")
        other = await abort(world, release, "k2")

        assert again == other
        assert again.outcome is Outcome.ABORTED
        assert len(world.runner.told) == 1


@pytest.mark.parametrize("outcome", [Outcome.PROMOTED, Outcome.ROLLED_BACK, Outcome.FAILED])
async def test_what_ended_otherwise_cannot_be_aborted(outcome: Outcome) -> None:
    """A release with another outcome refuses an abort, and keeps its outcome."""
    async with a_world() as world:
        release = await a_step(world)
        await world.conclude(release.order.id, outcome)

        with pytest.raises(CommandRefused):
            await abort(world, release)

        assert (await world.store.get_release(release.order.id)).outcome is outcome


async def test_an_abort_of_a_release_that_nobody_runs_waits_for_it() -> None:
    """If the workflow is not there (a crash), the abort stays pending until the courier has started it again."""
    async with a_world() as world:
        release = await a_step(world)
        world.runner.end(KEY)

        await abort(world, release, "k1")
        waiting = await world.store.pending_commands()
        world.now += 60
        await world.use_cases.courier.run_once()
        await world.use_cases.courier.run_once()

        assert [one.id for one in waiting] == ["k1"]
        assert [one.id for one in world.runner.told] == ["k1"]
