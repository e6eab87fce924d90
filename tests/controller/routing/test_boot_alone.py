"""A real Envoy without a router: it serves the last known stable version, and hands over without losing a request."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest

from controller.model.look import Arm
from controller.routing.envoy.plane import EnvoyPlane
from tests.controller.routing.edge import Edge, Upstream, accepted, planned, serving, shop, until

pytestmark = pytest.mark.process

ALONE_WITHIN_S = 3.0


async def test_an_envoy_that_boots_alone_serves_the_last_known_stable(edge: Edge) -> None:
    """With the router down it serves within 3 s what was stable last, never the canary; other hosts are a 404."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2):
        await edge.boot.write([shop(v1, v2)])
        await edge.boot.write([shop(v1, v2).with_stable("v2")])
        edge.start()
        began_s = time.monotonic()
        await edge.answers(200)
        took_s = time.monotonic() - began_s
        served = await edge.split(40)
        by_port = await edge.ask(host="CATALOG.localhost:8080")
        other = await edge.ask(host="xcatalog.localhost")

    assert took_s <= ALONE_WITHIN_S
    assert served == {"v2": 40}
    assert [one.status for one in (*by_port, *other)] == [200, 404]


async def test_as_many_and_as_long_hosts_as_a_target_may_have_boot_alone(edge: Edge) -> None:
    """Sixteen names of 250 characters: what a declaration takes, the file must hold, or an Envoy would not start."""
    label = "-".join(["abcdefg"] * 7)
    hosts = tuple(
        ".".join([f"{label}{number:02d}x", label, label, label, "example"])[:250] for number in range(16)
    )
    async with serving(Upstream("v1")) as (v1,):
        await edge.boot.write([replace(shop(v1), hosts=hosts)])
        edge.start()
        await edge.answers(200, host=hosts[0])
        replies = [(await edge.ask(host=host))[0].status for host in (*hosts, f"{hosts[3].upper()}:8080")]
        other = await edge.ask(host=f"x{hosts[0]}"[:250])

    assert set(replies) == {200}
    assert other[0].status == 404


async def test_the_router_takes_over_without_losing_a_request(edge: Edge) -> None:
    """Under load, and with a slow request in flight: no failure, and from then on the router's routes count."""
    may_answer = asyncio.Event()
    may_answer.set()
    async with serving(Upstream("v1"), Upstream("v2", waits_for=may_answer)) as (v1, v2):
        target = shop(v1, v2)
        await edge.boot.write([target.with_stable("v2")])
        edge.start()
        await edge.answers(200)
        statuses: Counter[int] = Counter()
        stop = asyncio.Event()

        async def user() -> None:
            while not stop.is_set():
                statuses.update(reply.status for reply in await edge.ask(20))

        users = [asyncio.create_task(user()) for _ in range(4)]
        await until(lambda: v2.total > 200)
        may_answer.clear()
        async with planned(edge) as plane:
            await plane.start(dict)
            await plane.declare([target])
            await accepted(plane)
            may_answer.set()
            await until(lambda: v1.total > 200)
            stop.set()
            await asyncio.gather(*users)
            await until(lambda: plane.counters(target).arms.get("v1", Arm()).total == v1.total)
            await _goes_and_comes_back(plane, edge)

    assert set(statuses) == {200}


async def _goes_and_comes_back(plane: EnvoyPlane, edge: Edge) -> None:
    """With the router gone, the running Envoy keeps what it was served last."""
    await plane.aclose()
    assert await edge.split(40) == {"v1": 40}


async def test_an_envoy_that_was_never_told_anything_waits_for_the_router(edge: Edge) -> None:
    """It answers 503, not 404, until a router has spoken once."""
    async with serving(Upstream("v1")) as (v1,):
        edge.start()
        await edge.answers(503)
        async with planned(edge) as plane:
            await plane.start(dict)
            await plane.declare([shop(v1)])
            reply = await edge.answers(200)
            await edge.answers(404, host="nobody.localhost")

    assert reply.version == "v1"
