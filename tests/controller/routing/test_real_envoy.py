"""A real Envoy on our plane: splits, ids, counts, refusals, ends. What the documentation promises is not enough."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from dataclasses import replace

import pytest

from controller.model.lease import ClosureKind, Renewal, Standing
from controller.model.look import Arm
from controller.observability import CORRELATION_ID
from controller.routing.book import IN_MEMORY, Book
from controller.routing.envoy.plane import EnvoyPlane
from controller.routing.keeper import Keeper
from controller.routing.process import boot_clock
from tests.controller.routing.edge import (
    RESET,
    Edge,
    Reply,
    Upstream,
    accepted,
    applied,
    free_port,
    planned,
    serving,
    set_up,
    shop,
    until,
)
from tests.controller.routing.keeping import KEY, asking

pytestmark = pytest.mark.process


async def test_the_split_is_right_and_no_caller_chooses_it(edge: Edge) -> None:
    """At 1, 10 and 50 % the canary's part is within six standard deviations, whatever ids the caller sends."""
    fixed = [
        ("x-request-id", "11111111-1111-4111-8111-111111111111"),
        ("x-serinus-draw", "chosen"),
        ("x-serinus-draw", "twice"),
        ("x-correlation-id", "chosen"),
    ]
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, shop(v1, v2))
        seen = {}
        for share in (100, 1_000, 5_000):
            await hand.set(plane, share)
            replies = await edge.ask(2_000, headers=fixed)
            seen[share] = sum(reply.version == "v2" for reply in replies)

    assert 1 <= seen[100] <= 47
    assert 120 <= seen[1_000] <= 280
    assert 866 <= seen[5_000] <= 1_134


async def test_each_release_draws_anew_and_never_from_another(edge: Edge) -> None:
    """The share of one release is nothing for the route of another: without its own key it gets no request."""
    async with (
        serving(Upstream("v1"), Upstream("v2"), Upstream("v3")) as (v1, v2, v3),
        planned(edge) as plane,
    ):
        hand = await set_up(edge, plane, shop(v1, v2, v3))
        await hand.set(plane, 10_000, version="v2", release="rel-1")
        first = await edge.split(100)
        await hand.set(plane, 5_000, version="v3", release="rel-2")
        second = await edge.split(400)

    assert first == {"v2": 100}
    assert set(second) == {"v1", "v3"}


async def test_correlation_ids_are_kept_or_made_never_repaired(edge: Edge) -> None:
    """A well-formed id comes through and back; a malformed, doubled or missing one is replaced by a fresh one."""
    longest = "a" * 128
    bad = [[("x-correlation-id", value)] for value in ("a b", "x" * 129, 'q"uote', "ümlaut", "")]
    bad += [[("x-correlation-id", "one"), ("x-correlation-id", "two")], []]
    async with serving(Upstream("v1")) as (v1,), planned(edge) as plane:
        await set_up(edge, plane, shop(v1))
        good = {}
        for value in ("abc-1._Z", longest):
            (reply,) = await edge.ask(headers=[("x-correlation-id", value)])
            good[value] = (reply.headers["x-correlation-id"], v1.head["x-correlation-id"])
        made = []
        for headers in bad:
            (reply,) = await edge.ask(headers=headers)
            assert reply.headers["x-correlation-id"] == v1.head["x-correlation-id"]
            made.append(reply.headers["x-correlation-id"])
        (unknown,) = await edge.ask(host="nobody.localhost", headers=[("x-correlation-id", "abc")])

    assert good == {value: (value, value) for value in good}
    assert all(CORRELATION_ID.fullmatch(one) for one in made)
    assert len(set(made)) == len(made)
    assert not {"one", "two", "one,two"} & set(made)
    assert (unknown.status, unknown.headers["x-correlation-id"]) == (404, "abc")


async def test_only_the_route_says_what_is_canary(edge: Edge) -> None:
    """The canary gets baggage from its route instead of the caller's; stable gets the caller's; nobody sees the draw."""
    sent = [("baggage", "release.track=canary,release.id=mine"), ("x-correlation-id", "c-1")]
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, shop(v1, v2))
        await edge.ask(headers=sent)
        stable = dict(v1.head)
        await hand.set(plane, 10_000, release="rel-7")
        await edge.ask(headers=sent)
        canary = dict(v2.head)

    assert canary["baggage"] == "correlation.id=c-1,release.id=rel-7,release.track=canary"
    assert stable["baggage"] == "release.track=canary,release.id=mine"
    assert not {"x-serinus-draw"} & (set(stable) | set(canary))


async def test_the_log_holds_canary_and_failed_requests_only(edge: Edge) -> None:
    """A good stable request leaves no line; a canary or failed one leaves its ids, its route and no query."""
    async with (
        serving(Upstream("v1"), Upstream("v2", lambda number: 500)) as (v1, v2),
        planned(edge) as plane,
    ):
        hand = await set_up(edge, plane, shop(v1, v2))
        await edge.ask(5)
        before = time.time()
        await hand.set(plane, 10_000)
        await edge.ask(headers=[("x-correlation-id", "c-9")], path="/pay?card=4711", method="POST")
        await hand.set(plane, 0)
        await v1.stop()
        await edge.ask(headers=[("x-correlation-id", "c-10")])
        await until(lambda: len(edge.lines()) >= 2)
        canary, failed = edge.lines()

    assert {key: canary[key] for key in ("correlation_id", "path", "status", "track", "version")} == {
        "correlation_id": "c-9",
        "path": "/pay",
        "status": 500,
        "track": "canary",
        "version": "v2",
    }
    assert (canary["release"], canary["target"], canary["host"]) == ("rel-1", KEY, v2.address)
    assert abs(int(str(canary["start_ms"])) / 1000 - before) < 5
    assert (failed["correlation_id"], failed["status"], failed["track"]) == ("c-10", 503, "stable")


async def test_counts_equal_the_truth(edge: Edge) -> None:
    """Without a shield: errors, resets, a dead version and a rescued request count once each, in the right version."""
    plan = [200, 500, 200, RESET, 503, 200]
    bad = Upstream("v2", lambda number: plan[number % len(plan)])
    dead = f"127.0.0.1:{free_port()}"
    async with serving(Upstream("v1"), bad) as (v1, v2), planned(edge) as plane:
        target = replace(shop(v1, v2, more={"v3": (dead,), "v4": (v1.address, dead)}), shield=False)
        hand = await set_up(edge, plane, target)
        users: Counter[str] = Counter()
        for version in ("v1", "v2", "v3", "v4"):
            await hand.set(plane, 0 if version == "v1" else 10_000, version=version, release=f"rel-{version}")
            replies = await edge.ask(60, method="POST")
            users[version] = sum(reply.status >= 500 for reply in replies)

        def arms() -> dict[str, Arm]:
            return dict(plane.counters(target).arms)

        await until(lambda: sum(arm.total for arm in arms().values()) == 240)
        counted = arms()

    assert {version: (arm.total, arm.failed) for version, arm in counted.items()} == {
        version: (60, users[version]) for version in users
    }
    assert (counted["v2"].failed, bad.failed, counted["v3"].failed, counted["v4"].failed) == (30, 30, 60, 0)
    assert sum(one.failed for one in counted["v4"].instances) >= 1


async def test_a_restarted_envoy_keeps_counting_up(edge: Edge) -> None:
    """Kill -9 of Envoy: the same shares serve again, and no counter goes down or starts over."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        target = shop(v1, v2)
        hand = await set_up(edge, plane, target)
        await hand.set(plane, 10_000)
        await edge.ask(50)
        await until(lambda: plane.counters(target).arms.get("v2", Arm()).total == 50)
        generation = plane.counters(target).generation
        edge.kill()
        await until(lambda: not plane.nodes())
        edge.start()
        await accepted(plane)
        await edge.ask(20)
        await until(lambda: plane.counters(target).arms["v2"].total == 70)

    assert plane.counters(target).generation == generation
    assert v2.total == 70


async def test_a_new_instance_does_not_disturb_the_old_one(edge: Edge) -> None:
    """Adding an address to a version keeps the counters of the one that serves."""
    async with serving(Upstream("v1"), Upstream("v1b")) as (one, two), planned(edge) as plane:
        target = shop(one)
        await set_up(edge, plane, target)
        await edge.ask(40)
        await until(lambda: plane.counters(target).arms.get("v1", Arm()).total == 40)
        both = target.at("v1", (one.address, two.address))
        await plane.declare([both])
        await edge.split(200)
        await until(lambda: plane.counters(both).arms["v1"].total == 240)
        instances = {part.id: part.total for part in plane.counters(both).arms["v1"].instances}

    assert instances == {one.address: one.total, two.address: two.total}
    assert two.total > 0


async def test_an_envoy_that_comes_first_waits_and_then_serves(edge: Edge) -> None:
    """Envoy may start before the router and before any target: it serves as soon as there is something."""
    edge.start()
    async with serving(Upstream("v1")) as (v1,), planned(edge) as plane:
        await plane.start(dict)
        await plane.declare([])
        await edge.answers(404)
        await plane.declare([shop(v1)])
        (served,) = await edge.ask(host="catalog.localhost:1234")
        await plane.declare([])
        await edge.answers(404, within_s=1.0)
        await plane.declare([shop(v1)])
        (again,) = await edge.ask()

    assert [one.status for one in (served, again)] == [200, 200]


async def test_a_close_right_after_a_restart_waits_for_envoy(edge: Edge) -> None:
    """A restarted router takes a resumed share back from an Envoy that has not found it yet, before it answers."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as first:
        hand = await set_up(edge, first, shop(v1, v2))
        await hand.set(first, 10_000)
        await first.aclose()
        still = await edge.split(20)
        second = EnvoyPlane(xds_socket=edge.xds, admin_socket=edge.admin, layer_ttl_s=3.0)
        await second.declare([shop(v1, v2)])
        await second.start(hand)
        await hand.set(second, 0)
        after = await edge.split(20)
        await second.aclose()

    assert (still, after) == ({"v2": 20}, {"v1": 20})


async def test_a_version_can_be_named_by_host(edge: Edge) -> None:
    """A host name instead of an address is resolved by Envoy itself."""
    async with serving(Upstream("v1")) as (v1,), planned(edge) as plane:
        target = shop(v1)
        await set_up(edge, plane, target.at("v1", (f"localhost:{v1.port}",)))
        await until(lambda: plane.nodes()[0].acknowledged)

        async def status() -> int:
            return (await edge.ask())[0].status

        while await status() != 200:
            await asyncio.sleep(0.02)

    assert v1.total == 1


async def test_an_unrenewed_layer_ends_by_itself_and_is_sent_again(edge: Edge) -> None:
    """Nobody renews: Envoy is back on stable after the time to live; it refuses a late renewal, which says so and heals."""
    async with (
        serving(Upstream("v1"), Upstream("v2")) as (v1, v2),
        planned(edge, ttl_s=1.0, is_renewed=False) as plane,
    ):
        hand = await set_up(edge, plane, shop(v1, v2))
        await hand.set(plane, 10_000)
        granted_s = time.monotonic()
        while (await edge.ask())[0].version == "v2":
            await asyncio.sleep(0.02)
        took_s = time.monotonic() - granted_s
        await plane.renew()
        await until(lambda: plane.nodes()[0].lapses == 1)
        await accepted(plane)
        again = await edge.split(40)
        while (await edge.ask())[0].version == "v2":
            await asyncio.sleep(0.02)
        hand.shares.clear()
        await plane.renew()
        await asyncio.sleep(0.3)
        ended = await edge.split(40)

    assert 0.8 <= took_s <= 3.0
    assert again == {"v2": 40}
    assert ended == {"v1": 40}


async def test_a_close_ends_the_canary_at_once(edge: Edge) -> None:
    """Under load, no request starts on the canary once the close is answered; renewals are answered CLOSED."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        keeper = Keeper(plane=plane, book=Book.open(IN_MEMORY), boot_clock=boot_clock, wall_clock=time.time)
        await keeper.start()
        await keeper.declare(shop(v1, v2))
        edge.start()
        await applied(keeper, KEY)
        await keeper.grant(asking(share=5_000))
        stop = asyncio.Event()
        starts: list[tuple[float, Reply]] = []

        async def user() -> None:
            while not stop.is_set():
                started_s = time.monotonic()
                starts.append((started_s, (await edge.ask())[0]))

        users = [asyncio.create_task(user()) for _ in range(4)]
        await until(lambda: sum(reply.version == "v2" for _, reply in starts) > 20)
        await keeper.close(KEY, "rel-1", ClosureKind.FAILED, "bad")
        closed_s = time.monotonic()
        await until(lambda: sum(start > closed_s for start, _ in starts) > 100)
        stop.set()
        await asyncio.gather(*users)
        (answer,) = await keeper.renew([Renewal(KEY, "rel-1", 1)])
        await keeper.aclose()

    late = [start - closed_s for start, reply in starts if reply.version == "v2" and start > closed_s + 0.1]
    assert late == []
    assert all(reply.status == 200 for _, reply in starts)
    assert answer.standing is Standing.CLOSED


async def test_a_frozen_envoy_is_named_and_holds_nobody_up_for_long(edge: Edge) -> None:
    """SIGSTOP of Envoy: a push returns after 2 s and the node is not acknowledged; awake, it catches up by itself."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, shop(v1, v2))
        assert edge.process is not None
        edge.process.send_signal(signal.SIGSTOP)
        began_s = time.monotonic()
        await hand.set(plane, 10_000)
        took_s = time.monotonic() - began_s
        (node,) = plane.nodes()
        edge.process.send_signal(signal.SIGCONT)
        await accepted(plane)
        served = await edge.split(20)

    assert 1.9 <= took_s <= 3.0
    assert (node.id, node.acknowledged) == ("edge-1", False)
    assert served == {"v2": 20}
