"""A real Envoy with a shielded canary: users see what stable answers, the judge sees what the canary did."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest

from controller.model.look import Arm
from controller.model.target import Target
from controller.routing.envoy.clusters import EJECT_AFTER
from controller.routing.envoy.plane import EnvoyPlane
from tests.controller.routing.edge import (
    RESET,
    Edge,
    Reply,
    Upstream,
    planned,
    serving,
    set_up,
    shop,
    until,
)

pytestmark = pytest.mark.process

SEEN_WITHIN_S = 2.0


def _arm(plane: EnvoyPlane, target: Target, version: str) -> Arm:
    return plane.counters(target).arms.get(version, Arm())


async def _counted(plane: EnvoyPlane, target: Target, version: str, total: int) -> Arm:
    await until(lambda: _arm(plane, target, version).total >= total)
    return _arm(plane, target, version)


class Users:
    """Sixteen callers who ask one thing after another until they are told to stop."""

    def __init__(self, edge: Edge, method: str = "GET", callers: int = 16) -> None:
        self.statuses: Counter[int] = Counter()
        self._edge, self._method = edge, method
        self._is_over = False
        self._callers = [asyncio.create_task(self._ask()) for _ in range(callers)]

    async def _ask(self) -> None:
        while not self._is_over:
            replies = await self._edge.ask(10, method=self._method)
            self.statuses.update(reply.status for reply in replies)

    async def finish(self) -> None:
        """Wait for the answers that are due."""
        self._is_over = True
        await asyncio.gather(*self._callers)


async def test_a_killed_canary_costs_no_user_anything_and_is_seen(edge: Edge) -> None:
    """At 50 % under load the canary dies: no request of any kind fails, and within 2 s the arm says that it is gone."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        target = shop(v1, v2)
        hand = await set_up(edge, plane, target)
        await hand.set(plane, 5_000)
        users = [Users(edge), Users(edge, "OPTIONS", callers=4)]
        await until(lambda: v2.total > 200)
        before = _arm(plane, target, "v2").ready
        await v2.stop()
        died_s = time.monotonic()
        await until(lambda: not _arm(plane, target, "v2").ready)
        seen_s = time.monotonic() - died_s
        await until(lambda: users[0].statuses.total() > 2_000)
        for one in users:
            await one.finish()
        arm = _arm(plane, target, "v2")

    assert before
    assert seen_s <= SEEN_WITHIN_S
    assert [set(one.statuses) for one in users] == [{200}, {200}]
    assert arm.failed >= 5
    assert [one.ready for one in arm.instances] == [False]


@pytest.mark.parametrize("answer", [500, RESET])
async def test_what_the_canary_fails_counts_though_the_user_got_an_answer(edge: Edge, answer: int) -> None:
    """30 % failures: users see none, the counts are the canary's own, stable's are its users' and nothing more."""
    v2 = Upstream("v2", lambda number: answer if number % 10 in (0, 3, 6) else 200)
    async with serving(Upstream("v1"), v2) as (v1, _), planned(edge) as plane:
        target = shop(v1, v2)
        hand = await set_up(edge, plane, target)
        await hand.set(plane, 5_000)
        replies = [reply for part in await _ask_all(edge, 2_000) for reply in part]
        canary = await _counted(plane, target, "v2", v2.total)
        stable = await _counted(plane, target, "v1", len(replies) - v2.total)

    assert {reply.status for reply in replies} == {200}
    assert (canary.total, canary.failed) == (v2.total, v2.failed)
    assert abs(canary.failed / canary.total - 0.3) <= 0.02
    assert (stable.total, stable.failed) == (len(replies) - v2.total, 0)
    assert v1.total == len(replies) - v2.total + v2.failed
    assert canary.ready


async def _ask_all(edge: Edge, requests: int) -> list[list[Reply]]:
    return await asyncio.gather(*(edge.ask(requests // 4) for _ in range(4)))


async def test_a_canary_that_fails_everything_goes_on_being_asked(edge: Edge) -> None:
    """100 % of 500s: users see none of them, and the evidence does not stop."""
    v2 = Upstream("v2", lambda number: 500)
    async with serving(Upstream("v1"), v2) as (v1, _), planned(edge) as plane:
        target = shop(v1, v2)
        hand = await set_up(edge, plane, target)
        await hand.set(plane, 5_000)
        for _ in range(3):
            replies = await edge.ask(400)
            assert {reply.status for reply in replies} == {200}
        canary = await _counted(plane, target, "v2", v2.total)

    assert 480 <= v2.total <= 720
    assert (canary.total, canary.failed, canary.ready) == (v2.total, v2.total, True)


async def test_an_unsafe_request_is_not_sent_twice(edge: Edge) -> None:
    """A POST that the canary answered, or may have seen, is never repeated; one that never reached it is."""
    bad = Upstream("v2", lambda number: (500, RESET)[number % 2])
    async with serving(Upstream("v1"), bad) as (v1, v2), planned(edge) as plane:
        target = shop(v1, v2)
        hand = await set_up(edge, plane, target)
        await hand.set(plane, 10_000)
        seen = await edge.ask(20, method="POST")
        asked = v1.total
        await v2.stop()
        unsent = await edge.ask(20, method="POST")
        canary = await _counted(plane, target, "v2", 20 + EJECT_AFTER - 1)

    assert {reply.status for reply in seen} == {500, 503}
    assert asked == 0
    assert {reply.status for reply in unsent} == {200}
    # The last of the twenty was cut as well, which is the first of the row that ejects.
    assert canary.failed == canary.total == 20 + EJECT_AFTER - 1


async def test_without_a_shield_users_see_the_canary_as_it_is(edge: Edge) -> None:
    """The switch of the target: nothing is repeated, and a service that must not be asked twice is not."""
    async with (
        serving(Upstream("v1"), Upstream("v2", lambda number: 500)) as (v1, v2),
        planned(edge) as plane,
    ):
        hand = await set_up(edge, plane, replace(shop(v1, v2), shield=False))
        await hand.set(plane, 10_000)
        replies = await edge.ask(20)

    assert {reply.status for reply in replies} == {500}
    assert v1.total == 0


async def test_a_dead_instance_is_named_and_the_others_serve(edge: Edge) -> None:
    """One of two instances of the canary dies: the arm is ready, the instance is not."""
    async with (
        serving(Upstream("v1"), Upstream("v2"), Upstream("v2b")) as (v1, v2, other),
        planned(edge) as plane,
    ):
        target = shop(v1, v2).at("v2", (v2.address, other.address))
        hand = await set_up(edge, plane, target)
        await hand.set(plane, 10_000)
        await other.stop()
        users = Users(edge)
        await until(lambda: not all(one.ready for one in _arm(plane, target, "v2").instances))
        await users.finish()
        arm = _arm(plane, target, "v2")

    assert set(users.statuses) == {200}
    assert arm.ready
    assert {one.id: one.ready for one in arm.instances} == {v2.address: True, other.address: False}
