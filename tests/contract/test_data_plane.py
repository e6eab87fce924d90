"""What every data plane does: shares become traffic, and come back from it."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from controller.errors import DataPlaneRefused
from controller.model.target import Target, TargetKey
from controller.model.traffic import Asked, Match
from controller.routing.memory import ANYBODY, MemoryPlane
from controller.routing.port import DataPlane, Shares
from tests.controller.routing.edge import Edge, Upstream, accepted, planned, serving, shop, until

SEND = 400
INTERNAL = {"x-internal": "1"}
INSIDE = Match(headers=INTERNAL)


@dataclass(slots=True)
class Bench:
    """A plane that serves v1 (stable) and v2, and what it is told."""

    plane: DataPlane
    target: Target
    send: Callable[[], Awaitable[Counter[str]]]
    """Send 400 requests; who answered how many."""
    send_inside: Callable[[], Awaitable[Counter[str]]]
    """The same with the header `x-internal: 1`."""
    counted: Callable[[int], Awaitable[None]]
    """Wait until so many requests are in the counters."""
    provoke: Callable[[], Awaitable[None]]
    """Declare what the proxy refuses."""
    shares: dict[TargetKey, Shares] = field(default_factory=dict)

    def share(self, basis_points: int, *matches: Match) -> None:
        """Let v2 have a share from now on, of an audience if there is one."""
        self.shares[self.target.key] = Shares("v2", "rel-1", basis_points, matches)


@pytest.fixture(params=["memory", pytest.param("envoy", marks=pytest.mark.process)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each data plane."""
    async with AsyncExitStack() as stack:
        made = await (_memory() if request.param == "memory" else _envoy(stack))
        await made.plane.start(lambda: dict(made.shares))
        await made.plane.declare([made.target])
        await accepted(made.plane)
        yield made
        await made.plane.aclose()


async def _memory() -> Bench:
    plane = MemoryPlane()
    target = shop(Upstream("v1"), Upstream("v2"))

    async def send(asked: Asked = ANYBODY) -> Counter[str]:
        def totals() -> Counter[str]:
            return Counter({name: arm.total for name, arm in plane.counters(target).arms.items()})

        before = totals()
        plane.serve(target.key, SEND, asked=asked)
        return totals() - before

    async def counted(total: int) -> None:
        assert sum(arm.total for arm in plane.counters(target).arms.values()) == total

    async def provoke() -> None:
        plane.mischief.refusal = "it does not like this"
        try:
            await plane.declare([target, replace(target, name="orders")])
        finally:
            plane.mischief.refusal = ""

    return Bench(plane, target, send, lambda: send(Asked(headers=INTERNAL)), counted, provoke)


async def _envoy(stack: AsyncExitStack) -> Bench:
    folder = Path(tempfile.mkdtemp(prefix="srn"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    edge = Edge(folder)
    upstreams = await stack.enter_async_context(serving(Upstream("v1"), Upstream("v2")))
    plane = await stack.enter_async_context(planned(edge))
    target = shop(*upstreams)
    edge.start()

    async def counted(total: int) -> None:
        await until(lambda: sum(arm.total for arm in plane.counters(target).arms.values()) == total)

    async def provoke() -> None:
        # The keeper would have refused two targets with one host; Envoy refuses the whole table.
        await plane.declare([target, replace(target, name="orders")])

    async def send_inside() -> Counter[str]:
        replies = await edge.ask(SEND, headers=tuple(INTERNAL.items()))
        return Counter(reply.version for reply in replies)

    return Bench(plane, target, lambda: edge.split(SEND), send_inside, counted, provoke)


async def test_without_a_share_everything_is_stable(bench: Bench) -> None:
    """A declared version gets nothing before it has a share."""
    assert await bench.send() == {"v1": SEND}


async def test_a_share_becomes_traffic(bench: Bench) -> None:
    """After a push the canary gets its part: 50 % of 400, within six standard deviations."""
    bench.share(5_000)
    await bench.plane.push()

    served = await bench.send()

    assert served.total() == SEND
    assert 140 <= served["v2"] <= 260


async def test_everything_can_go_to_the_canary(bench: Bench) -> None:
    """10 000 basis points are all requests."""
    bench.share(10_000)
    await bench.plane.push()

    assert await bench.send() == {"v2": SEND}


async def test_a_share_of_an_audience_is_for_nobody_else(bench: Bench) -> None:
    """All of those who fit, and none of the others; the next share may be for everybody."""
    bench.share(10_000, INSIDE)
    await bench.plane.push()
    assert (await bench.send_inside(), await bench.send()) == ({"v2": SEND}, {"v1": SEND})

    bench.share(5_000)
    await bench.plane.push()
    assert 140 <= (await bench.send())["v2"] <= 260
    assert 140 <= (await bench.send_inside())["v2"] <= 260


async def test_an_audience_has_its_part_and_both_must_hold(bench: Bench) -> None:
    """A half of those who fit the share's matches; none when the target's own let them not in."""
    bench.share(5_000, INSIDE)
    await bench.plane.push()
    assert 140 <= (await bench.send_inside())["v2"] <= 260

    await bench.plane.declare([replace(bench.target, matches=(Match(query={"beta": "*"}),))])
    assert await bench.send_inside() == {"v1": SEND}


async def test_a_share_that_ended_is_gone_with_the_next_push(bench: Bench) -> None:
    """The plane remembers no share: what is not said any more is taken back."""
    bench.share(10_000)
    await bench.plane.push()
    bench.shares.clear()
    await bench.plane.push()

    assert await bench.send() == {"v1": SEND}


async def test_a_new_stable_version_serves_everybody(bench: Bench) -> None:
    """Declaring the target with another stable version moves all traffic."""
    await bench.plane.declare([bench.target.with_stable("v2")])

    assert await bench.send() == {"v2": SEND}


async def test_a_share_without_an_address_stays_on_stable(bench: Bench) -> None:
    """A canary that lost its addresses gets nothing, whatever its lease says."""
    bench.share(5_000)
    await bench.plane.declare([bench.target.at("v2", ())])
    await bench.plane.push()

    assert await bench.send() == {"v1": SEND}


async def test_a_refused_configuration_leaves_the_last_good_one(bench: Bench) -> None:
    """The proxy's refusal is raised with its words, and what it had before goes on, shares included."""
    with pytest.raises(DataPlaneRefused) as caught:
        await bench.provoke()
    bench.share(10_000)
    await bench.plane.push()

    assert len(caught.value.message) > 20
    assert await bench.send() == {"v2": SEND}
    assert [node.acknowledged for node in bench.plane.nodes()] == [True]


async def test_renewals_grant_nothing(bench: Bench) -> None:
    """A renewal extends what was pushed; it never brings a share that was not pushed."""
    await bench.plane.renew()

    assert await bench.send() == {"v1": SEND}
    assert bench.plane.events().get("lapsed", 0) == 0
    assert [node.lapses for node in bench.plane.nodes()] == [0]


async def test_counters_are_what_was_served(bench: Bench) -> None:
    """Both versions' counters equal what answered, exactly."""
    bench.share(5_000)
    await bench.plane.push()
    served = await bench.send()
    await bench.counted(SEND)

    reading = bench.plane.counters(bench.target)

    assert {name: arm.total for name, arm in reading.arms.items()} == served
    assert all(arm.failed == 0 for arm in reading.arms.values())


async def test_capabilities_say_what_holds(bench: Bench) -> None:
    """Both planes acknowledge, count and tell audiences apart, down to one basis point."""
    able = bench.plane.capabilities()

    assert (able.acknowledges, able.counts, able.finest_share, able.narrows) == (True, True, 1, True)
