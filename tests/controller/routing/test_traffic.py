"""A real Envoy that tells requests apart: users who stay, audiences, copies, previews."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest

from controller.model.look import Arm
from controller.model.share import BasisPoints
from controller.model.target import Target
from controller.model.traffic import Identity, Match, Mirror
from tests.controller.routing.edge import Edge, Hand, Reply, Upstream, planned, serving, set_up, shop, until

pytestmark = pytest.mark.process

Headers = Sequence[tuple[str, str]]
BY_HEADER, BY_COOKIE = Identity(header="x-user-id"), Identity(cookie="shop_id")


async def _sides(edge: Edge, users: Sequence[Headers]) -> list[str]:
    """Return the version that each user met; four connections."""
    size = -(-len(users) // 4)
    parts = [users[start : start + size] for start in range(0, len(users), size)]
    found = await asyncio.gather(*(edge.ask_each(part) for part in parts))
    return [reply.version for part in found for reply in part]


def _who(number: int, identity: Identity) -> Headers:
    if identity.header:
        return [(identity.header, f"user-{number}")]
    known = uuid.UUID(int=number * 2**64 + number, version=4)
    return [("cookie", f"theme=dark; {identity.cookie}={known}; other={number}")]


@pytest.mark.parametrize("identity", [BY_HEADER, BY_COOKIE], ids=["header", "cookie"])
async def test_nobody_leaves_while_the_share_grows(edge: Edge, identity: Identity) -> None:
    """3 000 users at 1, 20 and 50 %: who was in stays in, the parts are right, and another release draws others."""
    users = [_who(number, identity) for number in range(3_000)]
    inside: dict[tuple[str, int], set[int]] = {}
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, replace(shop(v1, v2), identity=identity))
        for release, share in (("rel-1", 100), ("rel-1", 2_000), ("rel-1", 5_000), ("rel-2", 2_000)):
            await hand.set(plane, share, release=release)
            sides = await _sides(edge, users)
            inside[release, share] = {number for number, side in enumerate(sides) if side == "v2"}

    first, second, third = (inside["rel-1", share] for share in (100, 2_000, 5_000))
    assert first <= second <= third
    assert [low <= len(found) <= high for found, low, high in _bounds(first, second, third)] == [True] * 3
    # Independent draws of 20 % share 4 % of the users.
    assert 60 <= len(second & inside["rel-2", 2_000]) <= 190


def _bounds(*found: set[int]) -> list[tuple[set[int], int, int]]:
    """Six standard deviations around 1, 20 and 50 % of 3 000."""
    return list(zip(found, (1, 468, 1_335), (63, 732, 1_665), strict=True))


async def test_two_envoys_agree_about_every_user(edge: Edge, other_edge: Edge) -> None:
    """The same users are in the canary at every edge: nothing is remembered, everything is computed."""
    users = [_who(number, BY_COOKIE) for number in range(400)]
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2):
        sides = []
        for one in (edge, other_edge):
            async with planned(one) as plane:
                hand = await set_up(one, plane, replace(shop(v1, v2), identity=BY_COOKIE))
                await hand.set(plane, 3_000)
                sides.append(await _sides(one, users))

    assert sides[0] == sides[1]
    assert 60 <= sides[0].count("v2") <= 180


async def test_the_edge_makes_the_cookie_and_believes_only_its_own_form(edge: Edge) -> None:
    """A newcomer gets a cookie and stays on the side of the first request; what is no id of ours is replaced."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, replace(shop(v1, v2), identity=BY_COOKIE))
        await hand.set(plane, 5_000)
        newcomers = await edge.ask(40)
        cookies = [reply.headers["set-cookie"].partition(";")[0] for reply in newcomers]
        again = await edge.ask_each([[("cookie", cookie)] for cookie in cookies])
        forged = await edge.ask(20, headers=[("cookie", "shop_id=v2"), ("x-serinus-draw", "mine")])
        seen = dict(v1.head)

    assert len(set(cookies)) == len(cookies)
    assert re.fullmatch(
        r"shop_id=[0-9a-f-]{36}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax",
        newcomers[0].headers["set-cookie"],
    )
    assert [one.version for one in again] == [one.version for one in newcomers]
    assert {one.version for one in newcomers} == {"v1", "v2"}
    assert not any("set-cookie" in one.headers for one in again)
    assert {one.version for one in forged} == {"v1", "v2"}
    assert all("set-cookie" in one.headers for one in forged)
    assert "x-serinus-draw" not in seen


async def test_a_user_without_the_header_is_drawn_by_the_request(edge: Edge) -> None:
    """Anonymous requests get their part as well; nobody is always out."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, replace(shop(v1, v2), identity=BY_HEADER))
        await hand.set(plane, 5_000)
        anonymous = await edge.split(400)

    assert 140 <= anonymous["v2"] <= 260


MATCHES = (
    Match(headers={"x-country": "ch"}, query={"beta": "*"}),
    Match(cookies={"group": "b.1"}),
)


FITTING: Sequence[tuple[Headers, str]] = (
    ([("x-country", "ch")], "/?beta=1"),
    ([("x-country", "ch")], "/?other=1&beta=x"),
    ([("cookie", "group=b.1")], "/"),
    ([("cookie", "a=1; group=b.1; c=2")], "/"),
)
OTHERS: Sequence[tuple[Headers, str]] = (
    ([("x-country", "ch")], "/?beta"),
    ([("x-country", "ch")], "/"),
    ([("x-country", "chx")], "/?beta=1"),
    ([("cookie", "mygroup=b.1")], "/"),
    ([("cookie", "group=b.12")], "/"),
    ([("cookie", "group=bx1")], "/"),
    ([("cookie", "a=group=b.1x")], "/"),
    ([], "/"),
)


@pytest.mark.parametrize("shield", [True, False])
async def test_only_the_listed_requests_meet_the_canary(edge: Edge, shield: bool) -> None:
    """At 100 % every request that fits goes to the canary, whatever its method, and no other one does."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, replace(shop(v1, v2), matches=MATCHES, shield=shield))
        await hand.set(plane, 10_000)
        met = {
            (index, method, wanted): reply.version
            for cases, wanted in ((FITTING, "v2"), (OTHERS, "v1"))
            for index, (headers, path) in enumerate(cases)
            for method in ("GET", "POST")
            for reply in await edge.ask(headers=headers, path=path, method=method)
        }

    assert met == {case: case[2] for case in met}
    assert len(met) == 2 * (len(FITTING) + len(OTHERS))


async def test_conditions_as_long_as_they_may_be_are_taken(edge: Edge) -> None:
    """What a declaration takes, Envoy must take: the longest names and values of headers, cookies and queries."""
    name, value = "n" * 64, "v." * 100
    longest = (Match(headers={name: value}), Match(cookies={name: value}), Match(query={name: value}))
    fitting = (((name, value),), "/"), ((("cookie", f"a=b; {name}={value}"),), "/"), ((), f"/?{name}={value}")
    near = ((name, value[:-1]),), ((name, f"{value}x"),), (("cookie", f"{name}={value}x"),)
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, replace(shop(v1, v2), matches=longest))
        await hand.set(plane, 10_000)
        met = [(await edge.ask(headers=headers, path=path))[0].version for headers, path in fitting]
        others = [(await edge.ask(headers=headers))[0].version for headers in near]

    assert met == ["v2"] * 3
    assert others == ["v1"] * 3


async def test_a_mirror_copies_safe_requests_and_counts_nothing(edge: Edge) -> None:
    """10 % of stable's GETs reach the other version too, no POST does, users see stable, and the counts are the users'."""
    bad = Upstream("v2", lambda number: 500)
    async with serving(Upstream("v1"), bad) as (v1, v2), planned(edge) as plane:
        target = replace(shop(v1, v2), mirror=Mirror("v2", BasisPoints(1_000)))
        await set_up(edge, plane, target)
        users = await edge.split(3_000)
        posts = await edge.ask(100, method="POST")
        await until(lambda: _arm(plane.counters(target).arms, "v1").total == 3_100)
        copies, host = v2.total, v2.head.get("host")
        arms = plane.counters(target).arms

    assert users == {"v1": 3_000}
    assert {reply.version for reply in posts} == {"v1"}
    assert 200 <= copies <= 400  # six standard deviations; test_exact_split.py is closer
    assert host == "catalog.localhost"
    assert (_arm(arms, "v2").total, _arm(arms, "v1").failed) == (0, 0)


def _arm(arms: object, version: str) -> Arm:
    assert isinstance(arms, dict)
    found = arms.get(version, Arm())
    assert isinstance(found, Arm)
    return found


async def test_a_trusted_caller_sees_a_version_before_anybody_else(edge: Edge, other_edge: Edge) -> None:
    """At share 0 the named version answers, and counts for nobody; strangers and unknown names get stable."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2):
        target = replace(shop(v1, v2), preview=True)
        async with planned(edge) as plane:
            hand = await set_up(edge, plane, target)
            named = [("x-serinus-version", "v2")]
            before = await _versions(edge, named, [], [("x-serinus-version", "v9")])
            await hand.set(plane, 10_000)
            back = await _versions(edge, [("x-serinus-version", "v1")])
            through_a_proxy = await _versions(edge, [*named, ("x-forwarded-for", "9.9.9.9")])
            await asyncio.sleep(1.2)
            counted = _arm(plane.counters(target).arms, "v1").total
        strangers = await _as_a_stranger(other_edge, target)

    assert before == ["v2", "v1", "v1"]
    assert back == ["v1"]
    assert through_a_proxy == ["v2"]  # the canary, at 100 %, not the preview
    assert counted == 2
    assert strangers == ["v1"]


async def _versions(edge: Edge, *each: Headers) -> list[str]:
    replies: list[Reply] = await edge.ask_each(each)
    return [reply.version for reply in replies]


async def _as_a_stranger(edge: Edge, target: Target) -> list[str]:
    edge.trusted = ("192.0.2.0/24",)
    async with planned(edge) as plane:
        await set_up(edge, plane, target)
        return await _versions(edge, [("x-serinus-version", "v2"), ("x-envoy-internal", "true")])


async def test_a_caller_cannot_have_a_request_repeated(edge: Edge) -> None:
    """Envoy's own steering headers come from nobody but us, not even from a trusted address."""
    steering = [
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-max-retries", "5"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
    ]
    async with serving(Upstream("v1", lambda number: 500)) as (v1,), planned(edge) as plane:
        hand: Hand = await set_up(edge, plane, shop(v1))
        await hand.set(plane, 0)
        replies = await edge.ask(5, headers=steering)

    assert [reply.status for reply in replies] == [500] * 5
    assert v1.total == 5
