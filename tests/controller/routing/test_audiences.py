"""A real Envoy whose canary is for few: who meets it, and that nobody else does while the audience changes under load."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from controller.model.traffic import Identity, Match
from controller.routing.envoy.plane import EnvoyPlane
from controller.routing.port import Shares
from tests.controller.routing.edge import CATALOG, Edge, Hand, Upstream, planned, serving, set_up, shop

pytestmark = pytest.mark.process

Headers = Sequence[tuple[str, str]]
INSIDE, PILOTS = Match(headers={"x-internal": "1"}), Match(cookies={"group": "pilot"})
ONE_OF_US: Headers = (("x-internal", "1"),)
A_PILOT: Headers = (("cookie", "group=pilot"),)
ANYBODY: Headers = ()


async def give(hand: Hand, plane: EnvoyPlane, share: int, *matches: Match) -> None:
    """Let an audience have a share from now on."""
    hand.shares = {CATALOG: Shares("v2", "rel-1", share, matches)}
    await plane.push()


@dataclass(slots=True)
class Load:
    """What users of one kind met, over two connections that never rest."""

    edge: Edge
    headers: Headers
    met: Counter[tuple[int, str]] = field(default_factory=Counter)
    is_over: bool = False

    async def run(self) -> None:
        """Ask until it is over."""
        while not self.is_over:
            replies = await self.edge.ask(20, headers=self.headers)
            self.met.update((reply.status, reply.version) for reply in replies)

    @property
    def canary(self) -> int:
        """Requests that met the canary."""
        return self.met[200, "v2"]


@asynccontextmanager
async def under_load(edge: Edge, *kinds: Headers) -> AsyncIterator[list[Load]]:
    """Send requests of each kind all the time."""
    loads = [Load(edge, kind) for kind in kinds]
    running = [asyncio.create_task(load.run()) for load in loads for _ in range(2)]
    try:
        yield loads
    finally:
        for load in loads:
            load.is_over = True
        await asyncio.gather(*running)


async def test_everybody_outside_stays_on_stable_while_the_audience_changes_under_load(edge: Edge) -> None:
    """Forty changes between few (100 %) and everybody (0.01 %), in both directions: no request is lost, and everybody's
    part stays at 0.01 %. With one key for both audiences Envoy opened the old routes with the new share: 100 %."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, shop(v1, v2))
        async with under_load(edge, ANYBODY, ONE_OF_US) as (anybody, inside):
            for _ in range(20):
                await give(hand, plane, 10_000, INSIDE)
                await asyncio.sleep(0.03)
                await give(hand, plane, 1)
                await asyncio.sleep(0.03)

    assert {status for status, _ in anybody.met + inside.met} == {200}
    assert anybody.met.total() > 1_000
    assert anybody.canary <= 5  # 0.01 % of a few thousand
    assert 0.1 < inside.canary / inside.met.total() < 0.9


async def test_one_audience_gives_way_to_another(edge: Edge) -> None:
    """Twenty changes between two audiences at 100 %: each meets the canary, the requests of neither never do."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, shop(v1, v2))
        async with under_load(edge, ANYBODY, ONE_OF_US, A_PILOT) as (anybody, inside, pilots):
            for _ in range(10):
                await give(hand, plane, 10_000, INSIDE)
                await asyncio.sleep(0.03)
                await give(hand, plane, 10_000, PILOTS)
                await asyncio.sleep(0.03)
        met_last = [(await edge.ask(headers=kind))[0].version for kind in (ONE_OF_US, A_PILOT)]

    assert {status for load in (anybody, inside, pilots) for status, _ in load.met} == {200}
    assert (anybody.canary, inside.canary > 0, pilots.canary > 0) == (0, True, True)
    assert met_last == ["v1", "v2"]


@pytest.mark.parametrize("shield", [True, False])
async def test_both_the_target_and_the_step_narrow(edge: Edge, shield: bool) -> None:
    """Only who fits one match of the target and one of the step meets the canary, whatever the method."""
    who: dict[str, Headers] = {
        "both": (("x-country", "ch"), ("x-internal", "1")),
        "both, the other way": (("x-country", "at"), ("cookie", "group=pilot")),
        "the target's": (("x-country", "ch"),),
        "the step's": (("x-internal", "1"),),
        "neither": (),
    }
    countries = tuple(Match(headers={"x-country": country}) for country in ("ch", "at"))
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, replace(shop(v1, v2), matches=countries, shield=shield))
        await give(hand, plane, 10_000, INSIDE, PILOTS)
        met = {
            (name, method): (await edge.ask(headers=headers, method=method))[0].version
            for name, headers in who.items()
            for method in ("GET", "POST")
        }

    assert {name for (name, _), version in met.items() if version == "v2"} == {"both", "both, the other way"}
    assert len(set(met.items())) == 2 * len(who)


async def test_as_many_conditions_as_there_may_be_are_taken(edge: Edge) -> None:
    """Sixteen matches of the target and sixteen of the step, eight long conditions each, with shield and identity."""
    value = "v" * 200

    def many(kind: str) -> tuple[Match, ...]:
        return tuple(
            Match(headers={f"x-{kind}-{number}-{place}": value for place in range(8)}) for number in range(16)
        )

    fitting = [(f"x-{kind}-15-{place}", value) for kind in ("target", "step") for place in range(8)]
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        target = replace(shop(v1, v2), matches=many("target"), identity=Identity(header="x-user-id"))
        hand = await set_up(edge, plane, target)
        await give(hand, plane, 10_000, *many("step"))
        met = [(await edge.ask(headers=headers))[0].version for headers in (fitting, fitting[1:])]
        refusals = [node.refusal for node in plane.nodes()]

    assert (met, refusals) == (["v2", "v1"], [""])
