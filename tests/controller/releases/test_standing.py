"""How the parts are: every answer in time, whatever a part does."""

from __future__ import annotations

import asyncio

import pytest

from controller.releases.standing import Part, Standing
from tests.controller.releases.world import a_world


async def test_every_part_is_named() -> None:
    """In a whole world all four parts are well."""
    async with a_world() as world:
        parts = await world.use_cases.standing.parts()

        assert [(part.name, part.is_well) for part in parts] == [
            ("ledger", True),
            ("router", True),
            ("orchestrator", True),
            ("traces", True),
        ]


@pytest.mark.parametrize("broken", ["ledger", "router", "orchestrator"])
async def test_a_part_that_is_down_is_told_apart(broken: str) -> None:
    """One dead part is not well, the others are; only the ledger decides readiness."""
    async with a_world() as world:
        world.store.is_down = broken == "ledger"
        world.keeper.is_down = broken == "router"
        world.runner.is_down = broken == "orchestrator"

        parts = await world.use_cases.standing.parts()

        assert [part.name for part in parts if not part.is_well] == [broken]
        assert await world.use_cases.standing.is_ready() is (broken != "ledger")


async def test_a_part_that_hangs_is_slow() -> None:
    """A part that never answers costs the patience once, not more."""

    async def never() -> None:
        await asyncio.Event().wait()

    standing = Standing(probes={"router": never, "ledger": never}, patience_s=0.01)

    async with asyncio.timeout(5):
        assert await standing.parts() == (
            Part("router", is_well=False, code="slow"),
            Part("ledger", is_well=False, code="slow"),
        )
