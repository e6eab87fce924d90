"""Faults at a real edge: made for trusted callers alone, within bounds, and blamed on no version."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from controller.model.look import Arm
from controller.model.target import Target
from controller.routing.envoy.faults import ABORT, DELAY, MOST_AT_ONCE
from controller.routing.envoy.plane import EnvoyPlane
from tests.controller.routing.edge import Edge, Upstream, planned, serving, set_up, shop, until

pytestmark = pytest.mark.process

Headers = Sequence[tuple[str, str]]


def _arm(plane: EnvoyPlane, target: Target, version: str) -> Arm:
    return plane.counters(target).arms.get(version, Arm())


@pytest.fixture
async def shared(edge: Edge) -> AsyncIterator[Edge]:
    """An edge with a version behind it."""
    async with serving(Upstream("v1")) as (v1,), planned(edge) as plane:
        await set_up(edge, plane, shop(v1))
        yield edge


async def _statuses(edge: Edge, *headers: tuple[str, str], requests: int = 1) -> set[int]:
    return {reply.status for reply in await edge.ask(requests, headers=headers)}


async def _took_s(edge: Edge, *headers: tuple[str, str]) -> float:
    began_s = time.monotonic()
    (reply,) = await edge.ask(headers=headers)
    assert reply.status == 200
    return time.monotonic() - began_s


async def test_made_up_failures_are_blamed_on_nobody(edge: Edge) -> None:
    """50 failures and 3 waits while the canary has everything: it is blamed for none, and timed without the wait."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        target = shop(v1, v2)
        hand = await set_up(edge, plane, target)
        await hand.set(plane, 10_000)
        await edge.ask(20)
        await until(lambda: _arm(plane, target, "v2").total == 20)
        before = _arm(plane, target, "v2")
        made_up = await edge.ask(50, headers=[(ABORT, "503"), ("x-correlation-id", "c-1")])
        asked = v2.total
        waited_s = [await _took_s(edge, (DELAY, "300")) for _ in range(3)]
        await until(lambda: _arm(plane, target, "v2").total >= 23)
        await asyncio.sleep(1.2)  # one more reading: nothing may follow
        after = _arm(plane, target, "v2")
        stable = _arm(plane, target, "v1")
        lines = [line for line in edge.lines() if line["status"] == 503]

    assert {(reply.status, reply.headers["x-correlation-id"]) for reply in made_up} == {(503, "c-1")}
    assert asked == 20
    assert min(waited_s) >= 0.29  # Envoy counts whole milliseconds
    assert (before.total, before.failed, after.total, after.failed) == (20, 0, 23, 0)
    assert (stable.total, v1.total) == (0, 0)
    bounds_s = plane.counters(target).bounds_s
    slow = [number for number, bound_s in zip(after.buckets[1:], bounds_s, strict=True) if bound_s >= 0.25]
    assert sum(slow) == 0
    assert (len(lines), {line["flags"] for line in lines}) == (50, {"FI"})


async def test_a_stranger_asks_in_vain(edge: Edge, other_edge: Edge) -> None:
    """From an address that the edge does not trust, or through a proxy, nothing happens, and no service sees the headers."""
    wanted = [(ABORT, "503"), (DELAY, "2000"), ("x-envoy-internal", "true")]
    async with serving(Upstream("v1")) as (v1,):
        other_edge.trusted = ("192.0.2.0/24",)
        async with planned(other_edge) as plane:
            await set_up(other_edge, plane, shop(v1))
            took_s = await _took_s(other_edge, *wanted)
            seen = set(v1.head)
        async with planned(edge) as plane:
            await set_up(edge, plane, shop(v1))
            through_a_proxy = await _statuses(edge, *wanted, ("x-forwarded-for", "9.9.9.9"))
            trusted = await _statuses(edge, *wanted[:1])
            await edge.ask(headers=[(DELAY, "1"), (f"{ABORT}-percentage", "0"), (ABORT, "503")])
            seen |= set(v1.head)

    assert took_s < 1.0
    assert (through_a_proxy, trusted) == ({200}, {503})
    assert not [name for name in seen if "fault" in name]


OUT_OF_BOUNDS: Sequence[Headers] = (
    [(ABORT, "600")],
    [(ABORT, "199")],
    [(ABORT, "503"), (ABORT, "503")],
    [(ABORT, "503"), (f"{ABORT}-percentage", "101")],
    [(ABORT, "503"), (f"{ABORT}-percentage", "")],
    [(ABORT, "503"), (DELAY, "10001")],
    [(DELAY, "10001")],
    [(DELAY, "1e3")],
    [(DELAY, "-1")],
    [("x-envoy-fault-abort-grpc-request", "14")],
    [("x-envoy-fault-throughput-response", "1")],
)


async def test_what_is_out_of_bounds_does_nothing(shared: Edge) -> None:
    """Not even the part that would fit: the request goes on as if nothing had been asked."""
    for headers in OUT_OF_BOUNDS:
        assert await _took_s(shared, *headers) < 1.0, headers


async def test_a_part_of_the_requests_can_fail(shared: Edge) -> None:
    """20 % of 500: within six standard deviations."""
    replies = await shared.ask(500, headers=[(ABORT, "418"), (f"{ABORT}-percentage", "20")])
    failed = sum(reply.status == 418 for reply in replies)

    assert 46 <= failed <= 154
    assert {reply.status for reply in replies} == {200, 418}


@pytest.mark.long
async def test_only_so_many_wait_at_once(shared: Edge) -> None:
    """Beyond the bound a request goes on at once: faults cannot hold every connection."""
    more = 10
    took_s = await asyncio.gather(*(_took_s(shared, (DELAY, "1500")) for _ in range(MOST_AT_ONCE + more)))

    assert sum(one_s < 1.4 for one_s in took_s) == more
