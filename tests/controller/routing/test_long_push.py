"""A share lives through any push: five thousand first declarations on a real Envoy, while a canary is being served."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from controller.model.target import Target
from controller.routing.envoy.plane import EnvoyPlane
from tests.controller.routing.edge import Edge, Upstream, accepted, planned, serving, set_up, shop

pytestmark = [pytest.mark.process, pytest.mark.long]

SERVICES = 5_000
PLACES = {"v1": ("127.0.0.1:7001",), "v2": ("127.0.0.1:7002",)}


async def test_a_share_lives_while_five_thousand_targets_are_declared(edge: Edge) -> None:
    """Envoy works on the push for ten seconds and more, three times the life of a layer; nobody notices."""
    async with serving(Upstream("v1"), Upstream("v2")) as upstreams, planned(edge) as plane:
        target = shop(*upstreams)
        hand = await set_up(edge, plane, target)
        await hand.set(plane, 10_000)
        crowd = [Target(f"s{number}", "v1", PLACES) for number in range(SERVICES)]
        pushing = asyncio.create_task(_all(plane, [target, *crowd]))
        served: Counter[str] = Counter()
        while not pushing.done():
            served.update(reply.version for reply in await edge.ask(5))
            await asyncio.sleep(0.05)
        await pushing
        node = plane.nodes()[0]

    assert (set(served), node.lapses) == ({"v2"}, 0)
    assert served.total() > 100
    assert (node.acknowledged, node.refusal) == (True, "")


async def _all(plane: EnvoyPlane, targets: list[Target]) -> None:
    await plane.declare(targets)
    await accepted(plane, within_s=120)
