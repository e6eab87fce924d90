"""Targets: accepted by the router before the ledger, and a stable version that no old file can move."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import (
    Conflict,
    DataPlaneRefused,
    InvalidInput,
    NotFound,
    RouterUnavailable,
    TargetBusy,
    WorkloadsUnavailable,
)
from controller.model.release import Outcome
from controller.model.target import Target
from tests.controller.releases.world import CATALOG, KEY, World, a_world

SHOP = Target(name="shop", stable="v1", versions={"v1": (), "v2": ()}, workloads="embedded")


async def stable_everywhere(world: World) -> set[str]:
    """Return the stable version of the catalog as ledger and router know it."""
    router = {one.stable for one in await world.keeper.targets() if one.key == KEY}
    return router | {(await world.store.get_target("local", "catalog")).stable}


async def test_a_new_target_is_in_router_and_ledger() -> None:
    """A declaration reaches both, and is new once."""
    async with a_world(has_catalog=False) as world:
        first = await world.use_cases.declaring.put(CATALOG)
        again = await world.use_cases.declaring.put(CATALOG)

        assert (first.is_new, again.is_new) == (True, False)
        assert await world.keeper.targets() == (CATALOG,)
        assert await world.use_cases.declaring.list() == (CATALOG,)


async def test_an_old_file_does_not_undo_a_promotion() -> None:
    """A declaration that still says v1 keeps the promoted v2 everywhere, and says so."""
    async with a_world() as world:
        await world.keeper.promote(KEY, "rel-1", "v2")

        declared = await world.use_cases.declaring.put(CATALOG)

        assert declared.target.stable == "v2"
        assert "stable stays v2" in declared.note
        assert await stable_everywhere(world) == {"v2"}


async def test_stable_moves_when_that_is_said() -> None:
    """move_stable moves it in router and ledger, at once, and back again."""
    async with a_world() as world:
        there = await world.use_cases.declaring.put(CATALOG.with_stable("v2"), move_stable=True)
        moved = await stable_everywhere(world)
        await world.use_cases.declaring.put(CATALOG, move_stable=True)

        assert (there.target.stable, there.note) == ("v2", "")
        assert moved == {"v2"}
        assert await stable_everywhere(world) == {"v1"}


async def test_stable_does_not_move_under_a_release() -> None:
    """While a release is active, move_stable is refused with its id; declaring without a move is not."""
    async with a_world() as world:
        release = await world.start()

        with pytest.raises(TargetBusy) as caught:
            await world.use_cases.declaring.put(CATALOG.with_stable("v3"), move_stable=True)
        await world.use_cases.declaring.put(CATALOG.with_stable("v3"))

        assert caught.value.release == release.order.id
        assert await stable_everywhere(world) == {"v1"}


async def test_versions_in_use_stay_declared() -> None:
    """Neither the stable version nor the canary of an active release can be left out."""
    async with a_world() as world:
        without_stable = replace(CATALOG, stable="v2", versions={"v2": CATALOG.versions["v2"]})
        without_canary = replace(CATALOG, versions={"v1": CATALOG.versions["v1"]})
        await world.start("v2")

        with pytest.raises(InvalidInput):
            await world.use_cases.declaring.put(without_stable)
        with pytest.raises(Conflict):
            await world.use_cases.declaring.put(without_canary)


async def test_an_external_version_needs_an_address() -> None:
    """Nobody can guess where an external version answers, so the field is named."""
    async with a_world() as world:
        with pytest.raises(InvalidInput) as caught:
            await world.use_cases.declaring.put(CATALOG.at("v2", ()))

        assert caught.value.field == "versions.v2"


async def test_an_unknown_workloads_adapter_is_refused() -> None:
    """The known adapters are listed, the unknown name is not repeated."""
    async with a_world() as world:
        with pytest.raises(InvalidInput, match="embedded, external") as caught:
            await world.use_cases.declaring.put(replace(CATALOG, workloads="kubernetes"))

        assert caught.value.field == "workloads"
        assert "kubernetes" not in caught.value.message


async def test_an_embedded_target_serves_at_once() -> None:
    """Its stable version is started and has an address, the others wait until they are released."""
    async with a_world() as world:
        declared = await world.use_cases.declaring.put(SHOP)

        assert declared.target.versions["v1"] != ()
        assert declared.target.versions["v2"] == ()
        assert list(world.embedded.running) == ["shop.v1"]


async def test_declaring_again_refreshes_addresses_in_use() -> None:
    """After a restart of the machine, stable and canary get their new addresses; a dead one would look like a fault."""
    async with a_world() as world:
        await world.use_cases.declaring.put(SHOP)
        await world.start("v2", target="shop")
        await world.store.put_target(
            SHOP.at("v1", ("127.0.0.1:1",)).at("v2", ("127.0.0.1:2",)),
        )

        declared = await world.use_cases.declaring.put(SHOP)

        assert declared.target.versions["v1"] != ("127.0.0.1:1",)
        assert declared.target.versions["v2"] not in ((), ("127.0.0.1:2",))


@pytest.mark.parametrize("broken", ["router", "proxy", "workloads"])
async def test_what_is_not_accepted_is_not_written(broken: str) -> None:
    """With router, proxy or supervisor unwell the declaration fails and the ledger keeps the old one."""
    async with a_world() as world:
        world.keeper.is_down = broken == "router"
        world.plane.mischief.refusal = "no" if broken == "proxy" else ""
        world.embedded.is_down = broken == "workloads"

        with pytest.raises((RouterUnavailable, DataPlaneRefused, WorkloadsUnavailable)):
            await world.use_cases.declaring.put(SHOP)

        assert await world.use_cases.declaring.list() == (CATALOG,)


async def test_a_deleted_target_is_gone_everywhere() -> None:
    """Ledger and router forget it; a second delete is NotFound."""
    async with a_world() as world:
        await world.use_cases.declaring.delete("local", "catalog")

        assert await world.keeper.targets() == ()
        with pytest.raises(NotFound):
            await world.use_cases.declaring.delete("local", "catalog")


async def test_a_target_in_use_is_not_deleted() -> None:
    """An active release keeps its target; after its end it can be deleted."""
    async with a_world() as world:
        release = await world.start()
        with pytest.raises(TargetBusy):
            await world.use_cases.declaring.delete("local", "catalog")
        routed = await world.keeper.targets()
        await world.conclude(release.order.id, Outcome.ABORTED)

        await world.use_cases.declaring.delete("local", "catalog")

        assert routed == (CATALOG,)
        assert await world.keeper.targets() == ()


async def test_a_delete_that_the_router_cannot_follow_is_undone() -> None:
    """With the router down the target stays declared, so that the delete can be repeated."""
    async with a_world() as world:
        world.keeper.is_down = True
        with pytest.raises(RouterUnavailable):
            await world.use_cases.declaring.delete("local", "catalog")
        world.keeper.is_down = False

        await world.use_cases.declaring.delete("local", "catalog")

        assert await world.keeper.targets() == ()


async def test_a_repeat_removes_what_a_crash_left_at_the_router() -> None:
    """If only the router still has the target, deleting it again removes its route."""
    async with a_world() as world:
        await world.store.delete_target("local", "catalog")

        with pytest.raises(NotFound):
            await world.use_cases.declaring.delete("local", "catalog")

        assert await world.keeper.targets() == ()
