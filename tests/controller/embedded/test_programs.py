"""The parts of the run as the supervisor sees them: `controller.embedded.programs`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from controller.embedded import programs
from controller.embedded.probes import all_of
from controller.embedded.site import Site, choose_site
from controller.embedded.supervisor import Part
from controller.embedded.wire import Address, Answer, Request, serve
from controller.settings import load


async def _fine(request: Request) -> Answer:
    return Answer(200, b"")


def _part(site: Site, name: str) -> Part:
    return next(part for part in (programs.temporal(site), *programs.ours(site)) if part.name == name)


async def test_all_of_says_the_first_reason() -> None:
    """Several probes are one: ready when all are, else with the first reason."""

    async def well() -> str:
        return ""

    async def unwell() -> str:
        return "no"

    assert await all_of(well, well)() == ""
    assert await all_of(well, unwell)() == "no"


@pytest.mark.parametrize("name", ["router", "temporal"])
async def test_a_part_that_only_accepts_connections_is_not_ready(tmp_path: Path, name: str) -> None:
    """The kernel accepts connections for a frozen process; only an answer shows that it lives."""
    async with AsyncExitStack() as undo:
        (tmp_path / "state").mkdir()
        site = choose_site(load({}), tmp_path / "state", lambda ports: {}, undo)
        entrance, answering = {
            "router": (Address(socket=site.settings.router_socket), site.settings.router.metrics_port),
            "temporal": (Address(site.temporal_port), site.temporal_ui_port),
        }[name]
        assert answering is not None
        site.settings.router_socket.parent.mkdir(parents=True, exist_ok=True)
        undo.callback((await serve(_fine, entrance)).close)
        probe = _part(site, name).probe

        silent = await probe()
        undo.callback((await serve(_fine, Address(answering))).close)
        answers = await probe()

    assert str(answering) in silent
    assert answers == ""
