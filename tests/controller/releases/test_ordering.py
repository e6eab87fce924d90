"""Starting releases: validated, locked, idempotent, and never half-started."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from controller.errors import (
    InvalidInput,
    KeyReused,
    NotFound,
    OrchestratorUnavailable,
    StoreUnavailable,
    TargetBusy,
)
from controller.model.release import Change, Outcome, ReleaseOrder, State
from controller.plans import ready
from controller.releases.ordering import Ordering
from controller.releases.request import StartRequest
from controller.runner.memory import MemoryRunner
from tests.controller.releases.world import CATALOG, KEY, a_world, caller


async def test_a_release_is_in_the_ledger_and_runs() -> None:
    """A start writes the release with its actor and correlation ID, and hands the same order to the runner."""
    async with a_world() as world:
        release = await world.start()

        assert world.runner.orders == [release.order]
        assert await world.store.get_release(release.order.id) == release
        assert (release.order.actor, release.order.correlation_id) == ("tester", "corr-1")
        assert release.order.plan == ready.plan("standard")


async def test_a_targets_own_plan_comes_before_the_standard_one() -> None:
    """The request's plan wins over the target's, the target's over the standard one."""
    async with a_world() as world:
        await world.use_cases.declaring.put(
            replace(CATALOG, plan=ready.plan("fast"), policy=ready.policy("demo"))
        )
        request = StartRequest(target="catalog", version="v2", plan=ready.plan("demo"))

        release = await world.use_cases.ordering.start(request, caller())

        assert release.order.plan.name == "demo"
        assert release.order.policy.name == "demo"


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (StartRequest(target="nobody", version="v2"), NotFound, "target"),
        (StartRequest(target="catalog", version="v2", environment="moon"), NotFound, "target"),
        (StartRequest(target="catalog", version="v9"), NotFound, "version"),
        (StartRequest(target="catalog", version="v1"), InvalidInput, "version"),
    ],
)
async def test_what_cannot_be_released_names_its_field(
    request_: StartRequest, error: type[Exception], field: str
) -> None:
    """An unknown target or version, or the stable one, is refused and nothing is written."""
    async with a_world() as world:
        with pytest.raises(error) as caught:
            await world.use_cases.ordering.start(request_, caller())

        assert getattr(caught.value, "field", None) == field
        assert await world.store.list_releases() == ()


async def test_a_busy_target_names_the_running_release() -> None:
    """A second release of the target is refused with the id of the first."""
    async with a_world() as world:
        first = await world.start("v2")

        with pytest.raises(TargetBusy) as caught:
            await world.start("v3")

        assert caught.value.release == first.order.id


async def test_of_two_starts_at_once_one_wins() -> None:
    """Twenty callers at once make one release."""
    async with a_world() as world:
        found = await asyncio.gather(*(world.start() for _ in range(20)), return_exceptions=True)

        assert sum(not isinstance(one, TargetBusy) for one in found) == 1
        assert len(world.runner.orders) == 1


async def test_the_same_key_is_the_same_release() -> None:
    """Twenty repeats of one key give one release, also after it has ended and its version is stable."""
    async with a_world() as world:
        first = await world.start(key="k1")
        await asyncio.gather(*(world.start(key="k1") for _ in range(20)))
        await world.conclude(first.order.id, Outcome.PROMOTED)
        await world.store.put_target(CATALOG.with_stable("v2"))

        again = await world.start(key="k1")

        assert again.order.id == first.order.id
        assert again.outcome is Outcome.PROMOTED
        assert len(world.runner.orders) == 1


async def test_one_key_for_two_requests_is_refused() -> None:
    """The same key with another version, or on a command, is KeyReused and starts nothing."""
    async with a_world() as world:
        await world.start("v2", key="k1")

        with pytest.raises(KeyReused):
            await world.start("v3", key="k1")

        assert len(world.runner.orders) == 1


async def test_nothing_is_half_started_when_the_orchestrator_is_down() -> None:
    """The caller gets OrchestratorUnavailable, the ledger is empty, and the same key works later."""
    async with a_world() as world:
        world.runner.is_down = True
        with pytest.raises(OrchestratorUnavailable):
            await world.start(key="k1")
        left = await world.store.list_releases()
        world.runner.is_down = False

        release = await world.start(key="k1")

        assert left == ()
        assert [order.id for order in world.runner.orders] == [release.order.id]


async def test_a_start_whose_answer_was_lost_is_found_by_its_key() -> None:
    """When the runner started it and the answer was lost, the repeat has the same id and runs once."""
    async with a_world() as world:
        world.runner.starts_unheard = 1
        with pytest.raises(OrchestratorUnavailable):
            await world.start(key="k1")

        again = await world.start(key="k1")

        assert [order.id for order in world.runner.orders] == [again.order.id]


async def test_a_start_that_has_begun_is_not_taken_back() -> None:
    """When the answer was lost and the release has written its journal already, the caller gets the release."""

    class Quick(MemoryRunner):
        """Begins at once, and never answers a start."""

        async def start(self, order: ReleaseOrder) -> None:
            await super().start(order)
            await world.note(order.id, "preflight_passed", Change(state=State.STARTING))
            raise OrchestratorUnavailable("no answer in time")

    async with a_world() as world:
        ordering = Ordering(
            store=world.store, keeper=world.keeper, runner=Quick(), clock=lambda: 1.0, new_id=lambda: "x"
        )

        release = await ordering.start(StartRequest(target="catalog", version="v2"), caller())

        assert await world.store.get_release(release.order.id) == release


async def test_a_busy_runner_leaves_nothing_behind() -> None:
    """If only the runner knows of another release, the order is taken back as well."""
    async with a_world() as world:
        stranger = await world.start()
        await world.note(stranger.order.id, "finished", Change(state=State.DONE, outcome=Outcome.ABORTED))

        with pytest.raises(TargetBusy):
            await world.start("v3")

        assert [one.order.id for one in await world.store.list_releases()] == [stranger.order.id]
        assert await world.runner.runs(KEY, stranger.order.id)


async def test_a_dead_ledger_starts_nothing() -> None:
    """Without the ledger there is no release."""
    async with a_world() as world:
        world.store.is_down = True

        with pytest.raises(StoreUnavailable):
            await world.start()

        assert world.runner.orders == []
