"""The router as a process: killed, frozen, restarted, doubled. Stable serves throughout."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from controller.errors import ReleaseClosed, RouterUnavailable
from controller.model.lease import ClosureKind, Renewal, Standing
from controller.model.target import Target
from controller.routing.remote import RemoteKeeper
from tests.controller.routing.edge import Edge, RouterProcess, Upstream, applied, serving, shop
from tests.controller.routing.keeping import KEY, asking

pytestmark = pytest.mark.process

TTL_S = 1.5
SLACK_S = 1.0


@asynccontextmanager
async def _stack(edge: Edge) -> AsyncIterator[tuple[RouterProcess, RemoteKeeper]]:
    """Run two versions, a router process and an Envoy; the shop is declared and served."""
    router, keeper = RouterProcess(edge, TTL_S), RemoteKeeper(edge.folder / "router.sock")
    async with serving(Upstream("v1"), Upstream("v2")) as upstreams:
        try:
            router.start()
            edge.start()
            await _declare(keeper, shop(*upstreams))
            await applied(keeper, KEY)
            yield router, keeper
        finally:
            router.kill()
            edge.kill()
            await keeper.aclose()


async def _declare(keeper: RemoteKeeper, target: Target) -> None:
    async with asyncio.timeout(15):
        while True:
            with suppress(RouterUnavailable):
                return await keeper.declare(target)
            await asyncio.sleep(0.02)


async def _last_canary_s(edge: Edge, since_s: float, *, quiet_s: float = 0.5) -> float:
    """Ask until the canary has not answered for a while; returns when it last did, seconds after `since_s`."""
    last_s = since_s
    async with asyncio.timeout(15):
        while time.monotonic() - last_s < quiet_s:
            (reply,) = await edge.ask()
            assert reply.status == 200
            if reply.version == "v2":
                last_s = time.monotonic()
            await asyncio.sleep(0.005)
    return last_s - since_s


async def test_a_killed_router_ends_the_canary_and_resumes_what_is_unexpired(edge: Edge) -> None:
    """A kill -9 is all stable within the layer's life; the restarted router goes on with what is unexpired, not closed."""
    async with _stack(edge) as (router, keeper):
        await keeper.close(KEY, "rel-0", ClosureKind.FAILED, "bad")
        await keeper.grant(asking(share=10_000, term_s=30.0))
        router.kill()
        killed_s = time.monotonic()

        last_s = await _last_canary_s(edge, killed_s)
        router.start()
        async with asyncio.timeout(15):
            while (await edge.ask())[0].version != "v2":
                await asyncio.sleep(0.02)
        (answer,) = await keeper.renew([Renewal(KEY, "rel-1", 1)])
        with pytest.raises(ReleaseClosed):
            await keeper.grant(asking("rel-0", after=1))

    assert last_s <= TTL_S + SLACK_S
    assert answer.standing is Standing.RENEWED


async def test_an_envoy_that_starts_without_the_router_serves_the_promoted_version(edge: Edge) -> None:
    """Router and Envoy killed after a promotion, Envoy alone restarted: within 3 s it serves what was promoted."""
    async with _stack(edge) as (router, keeper):
        await keeper.promote(KEY, "rel-1", "v2")
        router.kill()
        edge.kill()
        edge.start()
        began_s = time.monotonic()
        await edge.answers(200)
        took_s = time.monotonic() - began_s
        served = await edge.split(40)

    assert took_s <= 3.0
    assert served == {"v2": 40}


async def test_a_frozen_router_grants_nothing_when_it_wakes(edge: Edge) -> None:
    """SIGSTOP past the deadline, then SIGCONT: no request reaches the canary, and the holder hears LAPSED."""
    async with _stack(edge) as (router, keeper):
        await keeper.grant(asking(share=10_000, term_s=2.0))
        router.send(signal.SIGSTOP)
        frozen_s = time.monotonic()
        last_s = await _last_canary_s(edge, frozen_s)
        await asyncio.sleep(max(0.0, 2.2 - (time.monotonic() - frozen_s)))
        router.send(signal.SIGCONT)
        woken_s = time.monotonic()

        after_s = await _last_canary_s(edge, woken_s, quiet_s=0.8)
        async with asyncio.timeout(5):
            while True:
                with suppress(RouterUnavailable):
                    (answer,) = await keeper.renew([Renewal(KEY, "rel-1", 1)])
                    break
                await asyncio.sleep(0.02)

    assert last_s <= TTL_S + SLACK_S
    assert after_s == 0.0
    assert answer.standing is Standing.LAPSED


async def test_a_router_ends_cleanly_and_is_the_only_one(edge: Edge) -> None:
    """SIGTERM ends it with 0 and loses nothing; a second one on the same state is refused; sockets are private."""
    async with _stack(edge) as (router, keeper):
        second = RouterProcess(edge, TTL_S)
        refused = await asyncio.to_thread(second.start().wait, 15)
        modes = [path.stat().st_mode & 0o777 for path in (router.socket, edge.xds, edge.admin)]
        await keeper.close(KEY, "rel-3", ClosureKind.ABORTED, "no")
        router.send(signal.SIGTERM)
        assert router.process is not None
        ended = await asyncio.to_thread(router.process.wait, 10)

    assert refused != 0
    assert "another router runs" in router.log
    assert modes == [0o600, 0o600, 0o600]
    assert ended == 0


async def test_history_outlives_the_router(edge: Edge) -> None:
    """A router that ended and came back knows what was served before, by instance and latency."""
    async with _stack(edge) as (router, keeper):
        while not (await keeper.counters(KEY)).arms:
            await asyncio.sleep(0.02)
        await edge.ask(30)
        while sum((await keeper.history(KEY, "v1", 3_600.0)).buckets) < 30:
            await asyncio.sleep(0.05)
        router.send(signal.SIGTERM)
        assert router.process is not None
        await asyncio.to_thread(router.process.wait, 10)
        router.start()
        async with asyncio.timeout(15):
            while True:
                with suppress(RouterUnavailable):
                    history = await keeper.history(KEY, "v1", 3_600.0)
                    break
                await asyncio.sleep(0.02)

    assert (history.total, sum(history.buckets)) == (30, 30)
    assert [tally.total for tally in history.instances] == [30]
