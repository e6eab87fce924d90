"""Why a release was taken back: verdict, failing traces, differences and changes; the verdict never waits for traces."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from controller.model.release import Change, Outcome, State
from controller.releases.why import Explaining, Traces
from tests.controller.releases.world import BAD_NEWS, World, a_world
from tests.controller.traces.recorded import a_bad_canary, a_request


async def rolled_back(world: World, *, slower_than_s: float | None = None) -> str:
    """Return the id of a release that ended 10 s after it was ordered."""
    release = (await world.start()).order.id
    world.now += 10
    verdict = replace(BAD_NEWS, slower_than_s=slower_than_s)
    change = Change(
        state=State.DONE, outcome=Outcome.ROLLED_BACK, reason="it failed", ended_at=world.now, verdict=verdict
    )
    await world.note(release, "rolled_back", change)
    return release


async def test_failing_traces_their_cause_and_the_change_are_one_answer() -> None:
    """The newest failing requests of the canary, the attribute they share, the new error, the slower operation."""
    async with a_world() as world, world.client() as client:
        await world.traces.put(a_bad_canary())
        release = await rolled_back(world)

        found = (await client.get(f"/v1/releases/{release}/why")).json()

    assert (found["reason"], found["outcome"], found["traces"]) == ("it failed", "rolled_back", "ok")
    assert [one["correlation_id"] for one in found["failing_traces"]] == [
        f"cor-{number}" for number in range(2_020, 2_015, -1)
    ]
    assert found["differences"][0]["sentence"] == (
        "payment.method=invoice: 20 of 20 failing, 10 of 300 in v1"
    )
    assert all(one["is_symptom"] for one in found["differences"][1:])
    assert found["changes"][0] == (
        "new in v2: GET /products/{id} fails with InvoiceMissing, 20 times (never in v1)"
    )
    assert found["changes"][1].startswith("GET /products/{id} is slower: median ")
    assert found["changed"]["errors"][0]["is_new"]


async def test_its_links_ask_the_explorer_for_more() -> None:
    """Each can be followed as it is, and holds the time of the release."""
    async with a_world() as world, world.client() as client:
        await world.traces.put(a_bad_canary())
        release = await rolled_back(world)
        links = (await client.get(f"/v1/releases/{release}/why")).json()["links"]

        answers = {name: await client.get(link) for name, link in links.items()}

    assert {name: one.status_code for name, one in answers.items()} == dict.fromkeys(links, 200)
    assert len(answers["failing_traces"].json()["traces"]) == 20
    asked = parse_qs(urlsplit(links["failing_traces"]).query)
    assert asked["since"] == ["1970-01-01T00:16:40.000000000Z"]
    assert asked["until"] == ["1970-01-01T00:16:52.000000000Z"]


async def test_a_verdict_about_latency_shows_slow_traces() -> None:
    """Those above the bound that was judged; nothing failed."""
    async with a_world() as world, world.client() as client:
        for number in range(3):
            await world.traces.put(a_request(number + 1, "v2", start_ms=number, ms=10 + 100 * number))
        release = await rolled_back(world, slower_than_s=0.1)

        found = (await client.get(f"/v1/releases/{release}/why")).json()

    assert [one["trace_id"][-1] for one in found["failing_traces"]] == ["3", "2"]
    assert "min_duration=100000000ns" in found["links"]["failing_traces"]


async def test_spans_of_another_time_are_not_shown() -> None:
    """An earlier release of the same version has its own failures."""
    async with a_world() as world, world.client() as client:
        await world.traces.put(a_request(1, "v2", error="Old"))
        world.now += 60
        release = await rolled_back(world)

        found = (await client.get(f"/v1/releases/{release}/why")).json()

    assert (found["failing_traces"], found["differences"], found["changes"]) == ([], [], [])


async def test_without_traces_the_verdict_answers_at_once() -> None:
    """Down is known at once; hung is cut off; both say so."""
    async with a_world() as world:
        release = await rolled_back(world)
        explaining = Explaining(
            store=world.store, traces=world.traces, clock=lambda: world.now, patience_s=0.05
        )
        world.traces.is_down = True
        down = await explaining.why(release)
        world.traces.is_down, world.traces.is_hung = False, True
        began = time.monotonic()
        hung = await explaining.why(release)

    assert time.monotonic() - began < 2
    assert (down.traces, hung.traces) == (Traces.UNAVAILABLE, Traces.UNAVAILABLE)
    assert down.sentence == hung.sentence == "it failed"


async def test_a_running_release_is_explained_so_far() -> None:
    """Up to now."""
    async with a_world() as world, world.client() as client:
        release = (await world.start()).order.id
        await world.traces.put(a_request(1, "v2", error="Boom", start_ms=500))
        world.now += 5

        found = (await client.get(f"/v1/releases/{release}/why")).json()

    assert (found["outcome"], found["reason"], len(found["failing_traces"])) == (None, "", 1)
    assert found["until"] == "1970-01-01T00:16:47.000000000Z"


async def test_an_unknown_release_is_404_and_a_dead_ledger_503() -> None:
    """As for the release itself."""
    async with a_world() as world, world.client() as client:
        unknown = await client.get("/v1/releases/rel-none/why")
        strange = await client.get("/v1/releases/..%2f/why")
        world.store.is_down = True
        dead = await client.get("/v1/releases/rel-none/why")

    assert (unknown.status_code, strange.status_code, dead.status_code) == (404, 404, 503)
