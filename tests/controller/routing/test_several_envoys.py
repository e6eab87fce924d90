"""Two Envoys on one router: their counts are one sum, a silent one is said, a late one is named."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from controller.model.look import Arm, SourceState
from controller.model.target import Target
from controller.routing.book import IN_MEMORY, Book
from controller.routing.envoy.plane import EnvoyPlane
from controller.routing.exposition import RouterCollector
from controller.routing.keeper import Keeper
from controller.routing.process import boot_clock
from tests.controller.routing.edge import Edge, Upstream, planned, serving, shop, until
from tests.controller.routing.keeping import KEY, asking

pytestmark = pytest.mark.process


@asynccontextmanager
async def _two(edge: Edge, other: Edge) -> AsyncIterator[tuple[EnvoyPlane, Keeper, Target]]:
    """Run a router with two Envoys; the shop is served by both."""
    other.node_id, other.router = "edge-2", edge.folder
    async with serving(Upstream("v1"), Upstream("v2")) as upstreams, planned(edge, other) as plane:
        keeper = Keeper(plane=plane, book=Book.open(IN_MEMORY), boot_clock=boot_clock, wall_clock=time.time)
        await keeper.start()
        target = shop(*upstreams)
        await keeper.declare(target)
        for one in (edge, other):
            one.start()
        await until(lambda: [node.acknowledged for node in plane.nodes()] == [True, True])
        yield plane, keeper, target
        await keeper.aclose()


def _total(plane: EnvoyPlane, target: Target, version: str) -> int:
    arm: Arm = plane.counters(target).arms.get(version, Arm())
    assert arm.total == sum(one.total for one in arm.instances)
    return arm.total


def _counted(keeper: Keeper) -> dict[str, float]:
    families = {one.name: one for one in RouterCollector(keeper).collect()}
    samples = families["serinus_router_proxy_counted"].samples
    return {sample.labels["proxy"]: sample.value for sample in samples}


async def test_counts_of_two_envoys_add_up_over_a_death(edge: Edge, other_edge: Edge) -> None:
    """Both edges count into one sum; a killed one is named within 3 s, makes the reading stale, and counts on later."""
    async with _two(edge, other_edge) as (plane, keeper, target):
        await keeper.grant(asking(share=10_000, term_s=60.0))
        await edge.ask(30)
        await other_edge.ask(50)
        await until(lambda: _total(plane, target, "v2") == 80)
        before = plane.counters(target)
        with capture_logs() as lines:
            other_edge.kill()
            killed_s = time.monotonic()
            await until(lambda: not _counted(keeper)[str(other_edge.admin)])
            said_s = time.monotonic() - killed_s
        await edge.ask(10)
        await until(lambda: plane.counters(target).source is SourceState.STALE)
        counted = _counted(keeper)
        await until(lambda: _total(plane, target, "v2") == 90)
        other_edge.start()
        await until(lambda: plane.counters(target).source is SourceState.OK and len(plane.nodes()) == 2)
        await until(lambda: all(node.acknowledged for node in plane.nodes()))
        await other_edge.ask(20)
        await until(lambda: _total(plane, target, "v2") == 110)
        after = plane.counters(target)

    assert said_s < 3
    assert str(other_edge.admin) in {
        line.get("proxy") for line in lines if line["event"] == "counters_failed"
    }
    assert counted == {str(edge.admin): 1, str(other_edge.admin): 0}
    assert (before.source, before.generation) == (SourceState.OK, after.generation)


async def test_a_late_envoy_is_named_until_it_has_the_share(edge: Edge, other_edge: Edge) -> None:
    """A shift is applied when both have it: while one is frozen, `observe` says which."""
    async with _two(edge, other_edge) as (plane, keeper, _):
        assert other_edge.process is not None
        other_edge.process.send_signal(signal.SIGSTOP)
        await keeper.grant(asking(share=10_000, term_s=60.0))
        late = await keeper.observe(KEY)
        other_edge.process.send_signal(signal.SIGCONT)
        await until(lambda: len(plane.nodes()) == 2 and all(node.acknowledged for node in plane.nodes()))
        applied = await keeper.observe(KEY)
        served = await asyncio.gather(edge.split(20), other_edge.split(20))

    assert not late.is_applied
    assert {node.id: node.acknowledged for node in late.nodes} == {"edge-1": True, "edge-2": False}
    assert applied.is_applied
    assert list(served) == [{"v2": 20}, {"v2": 20}]
