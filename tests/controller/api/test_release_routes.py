"""The release API as its callers see it: statuses, headers, JSON, idempotency, and what happens when parts are down."""

from __future__ import annotations

import asyncio
import re

import pytest

from controller.model.machine import Phase, Position
from controller.model.notice import Notice
from controller.model.release import Change, JournalEvent, Outcome, Progress, State
from controller.model.share import EVERYTHING, BasisPoints
from controller.model.traffic import Match
from tests.controller.releases.world import BAD_NEWS, KEY, World, a_world

START = {"target": "catalog", "version": "v2", "plan": "demo", "policy": "demo"}


async def a_step(world: World) -> str:
    """Return a release in its first step."""
    release = await world.start()
    world.runner.put(KEY, Position(phase=Phase.STEPPING))
    await world.note(release.order.id, "step_started", Change(state=State.STEPPING))
    return release.order.id


async def test_a_start_is_accepted_with_its_location() -> None:
    """202, Location, and a release that says everything, with the caller's correlation ID on it and on its event."""
    async with a_world() as world, world.client() as client:
        answer = await client.post("/v1/releases", json=START, headers={"X-Correlation-ID": "corr-9"})
        found = (await client.get(answer.headers["location"])).json()

        assert answer.status_code == 202
        assert found == answer.json()
        assert found["correlation_id"] == "corr-9"
        assert (found["target"], found["stable"], found["version"]) == ("catalog", "v1", "v2")
        assert (found["state"], found["outcome"], found["steps"], found["share_percent"]) == (
            "starting",
            None,
            3,
            0,
        )
        assert found["created_at"] == "1970-01-01T00:16:40.000Z"
        assert found["actor"] == "api-token"
        assert found["plan"]["name"] == found["policy"]["name"] == "demo"
        assert found["links"]["temporal_ui"].endswith("/namespaces/default/workflows/canary.local.catalog")
        assert (await world.store.events(found["id"]))[0].correlation_id == "corr-9"


async def test_a_written_plan_is_what_runs() -> None:
    """A plan in the request reaches the runner, and is shown again as it was written."""
    async with a_world() as world, world.client() as client:
        plan = {"name": "mine", "steps": [{"share": 0.01, "hold_s": 1}, {"share": 33.33, "gate": True}]}

        found = (await client.post("/v1/releases", json={**START, "plan": plan})).json()

        assert [step.share for step in world.runner.orders[0].plan.steps] == [1, 3_333]
        assert [step["share"] for step in found["plan"]["steps"]] == [0.01, 33.33]


async def test_a_plan_may_begin_with_few() -> None:
    """An audience reaches the runner; the answer says of which steps nobody can say how much of the traffic they see."""
    inside = [{"headers": {"x-internal": "1"}}]
    steps = [{"share": 100, "matches": inside}, {"share": 5}]
    async with a_world() as world, world.client() as client:
        found = (await client.post("/v1/releases", json={**START, "plan": {"steps": steps}})).json()

        assert world.runner.orders[0].plan.steps[0].matches == (Match(headers={"x-internal": "1"}),)
        assert [step["matches"] for step in found["plan"]["steps"]] == [inside, []]
        assert found["has_audience"] == [True, False]
        assert found["audience"] is None  # no share yet
        await world.note(found["id"], "step_started", Change(state=State.STEPPING, step=0, share=EVERYTHING))
        few = (await client.get(f"/v1/releases/{found['id']}")).json()
        assert (few["share_percent"], few["audience"]) == (100, "requests with x-internal: 1")
        await world.note(
            found["id"], "step_passed", Change(state=State.STEPPING, step=1, share=BasisPoints(500))
        )
        assert (await client.get(f"/v1/releases/{found['id']}")).json()["audience"] is None


async def test_a_release_shows_verdict_facts_and_alerts() -> None:
    """The reason in one sentence, the numbers it stands on, and which alert reached whom."""
    async with a_world() as world, world.client() as client:
        release = await a_step(world)
        notice = Notice(
            id=f"{release}.rolled_back",
            channel="ops",
            kind="release.rolled_back",
            release=release,
            title="t",
            text="t",
            at=1.0,
        )
        await world.store.record(
            JournalEvent(id="e1", release=release, kind="rolled_back", text="x", at=1_001.5),
            Change(
                state=State.DONE,
                outcome=Outcome.ROLLED_BACK,
                verdict=BAD_NEWS,
                ended_at=1_001.5,
                facts={"verdict_at": 1_001.25},
            ),
            [notice],
        )
        await world.store.mark_notice(notice.id, "ops", is_delivered=True)

        found = (await client.get(f"/v1/releases/{release}")).json()

        assert (found["outcome"], found["is_active"], found["ended_at"]) == (
            "rolled_back",
            False,
            "1970-01-01T00:16:41.500Z",
        )
        assert found["reason"] == found["verdict"]["sentence"]
        assert "30 of 40 requests (75.0 %)" in found["reason"]
        assert found["verdict"]["numbers"]["canary_failed"] == 30
        assert found["facts"] == {"verdict_at": 1_001.25}
        assert found["alerts"] == [{"id": notice.id, "channel": "ops", "delivered": True}]


async def test_a_busy_target_is_409_with_the_running_release() -> None:
    """The problem names the release that holds the target."""
    async with a_world() as world, world.client() as client:
        first = (await client.post("/v1/releases", json=START)).json()

        answer = await client.post("/v1/releases", json={**START, "version": "v3"})

        assert (answer.status_code, answer.json()["code"]) == (409, "target_busy")
        assert answer.json()["release"] == first["id"]


async def test_of_many_starts_at_once_one_is_accepted() -> None:
    """Twenty posts at once: one 202, nineteen 409, one order."""
    async with a_world() as world, world.client() as client:
        answers = await asyncio.gather(*(client.post("/v1/releases", json=START) for _ in range(20)))

        assert sorted(one.status_code for one in answers) == [202] + [409] * 19
        assert len(world.runner.orders) == 1


async def test_the_same_key_gives_the_same_answer() -> None:
    """Repeats of a key are 202 with the same release; another body under it is 422; order of members does not matter."""
    async with a_world() as world, world.client() as client:
        headers = {"Idempotency-Key": "k1"}
        first = await client.post("/v1/releases", json=START, headers=headers)
        same = await client.post("/v1/releases", json=dict(reversed(list(START.items()))), headers=headers)
        other = await client.post("/v1/releases", json={**START, "version": "v3"}, headers=headers)

        assert (first.status_code, same.status_code) == (202, 202)
        assert first.json() == same.json()
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_unknown_target_and_version_are_404_with_their_field() -> None:
    """The field says which of the two is not known."""
    async with a_world() as world, world.client() as client:
        target = await client.post("/v1/releases", json={**START, "target": "nobody"})
        version = await client.post("/v1/releases", json={**START, "version": "v9"})

        assert (target.status_code, target.json()["field"]) == (404, "target")
        assert (version.status_code, version.json()["field"]) == (404, "version")
        assert "v9" not in version.text


async def test_a_start_with_temporal_down_is_503_and_leaves_nothing() -> None:
    """503 with Retry-After, no release in the ledger, and the same key works afterwards."""
    async with a_world() as world, world.client() as client:
        headers = {"Idempotency-Key": "k1"}
        world.runner.is_down = True
        down = await client.post("/v1/releases", json=START, headers=headers)
        left = (await client.get("/v1/releases")).json()
        world.runner.is_down = False

        up = await client.post("/v1/releases", json=START, headers=headers)

        assert (down.status_code, down.json()["code"]) == (503, "orchestrator_unavailable")
        assert down.headers["retry-after"] == "1"
        assert left == {"releases": [], "next": None}
        assert up.status_code == 202


async def test_an_abort_with_temporal_down_is_202_and_final() -> None:
    """The share is gone before the answer, stays gone, and the command arrives when Temporal is back."""
    async with a_world() as world, world.client() as client:
        release = await a_step(world)
        await world.lease(release)
        await world.note(release, "share_set", Change(share=BasisPoints(1_000)))
        world.runner.is_down = True
        answer = await client.post(
            f"/v1/releases/{release}/abort", json={"reason": "bad feeling"}, headers={"Idempotency-Key": "k1"}
        )
        shares = world.keeper.shares()
        world.runner.is_down = False
        await world.use_cases.courier.run_once()

        assert (answer.status_code, answer.json()["share_percent"]) == (202, 0)
        assert shares == {}
        assert [(one.id, one.reason) for one in world.runner.told] == [("k1", "bad feeling")]


@pytest.mark.parametrize("command", ["pause", "resume", "promote", "abort"])
async def test_a_dead_ledger_is_503(command: str) -> None:
    """Without the ledger every command and question is 503, never 500."""
    async with a_world() as world, world.client() as client:
        release = await a_step(world)
        world.store.is_down = True

        for answer in (
            await client.post(f"/v1/releases/{release}/{command}"),
            await client.get(f"/v1/releases/{release}"),
            await client.get(f"/v1/releases/{release}/events"),
            await client.get("/v1/releases"),
            await client.post("/v1/releases", json=START),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


async def test_commands_answer_with_the_release() -> None:
    """Pause and promote are 202 with the release; resume of one that is not paused is 409 with the reason."""
    async with a_world() as world, world.client() as client:
        release = await a_step(world)

        refused = await client.post(f"/v1/releases/{release}/resume", json={})
        paused = await client.post(f"/v1/releases/{release}/pause", json={"reason": "lunch"})
        promoted = await client.post(f"/v1/releases/{release}/promote")

        assert (refused.status_code, refused.json()["code"]) == (409, "command_refused")
        assert (paused.status_code, promoted.status_code) == (202, 202)
        assert paused.json()["id"] == release


async def test_lists_are_paged_newest_first() -> None:
    """`next` walks through all releases without a gap or a repeat; filters narrow the list."""
    async with a_world() as world, world.client() as client:
        made = []
        for _ in range(5):
            release = await world.start()
            await world.conclude(release.order.id, Outcome.ABORTED)
            made.append(release.order.id)
        running = (await world.start()).order.id

        seen: list[str] = []
        query: dict[str, str] | None = {"limit": "2"}
        while query is not None:
            page = (await client.get("/v1/releases", params=query)).json()
            seen.extend(one["id"] for one in page["releases"])
            query = {"limit": "2", "before": page["next"]} if page["next"] else None
        active = (await client.get("/v1/releases", params={"active": "true"})).json()
        other = (await client.get("/v1/releases", params={"target": "shop"})).json()

        assert seen == [running, *reversed(made)]
        assert [one["id"] for one in active["releases"]] == [running]
        assert other["releases"] == []


async def test_progress_shows_share_and_numbers() -> None:
    """A report of the judge is seen by the next question."""
    async with a_world() as world, world.client() as client:
        release = await a_step(world)
        await world.store.report(
            Progress(release=release, step=0, share=BasisPoints(1_050), verdict=BAD_NEWS, at=1.0)
        )

        found = (await client.get(f"/v1/releases/{release}")).json()

        assert found["share_percent"] == 10.5
        assert found["verdict"]["ground"] == "rail_failing"


async def test_operation_ids_are_stable() -> None:
    """Generated clients depend on these names; a change of this list is a change of the API."""
    async with a_world() as world:
        document = world.app.openapi()
        found = {
            operation["operationId"]
            for methods in document["paths"].values()
            for operation in methods.values()
        }

        assert found == {
            "startRelease",
            "listReleases",
            "getRelease",
            "streamReleaseEvents",
            "pauseRelease",
            "resumeRelease",
            "promoteRelease",
            "abortRelease",
            "putTarget",
            "getTarget",
            "listTargets",
            "deleteTarget",
            "explainRelease",
            "findTraces",
            "getTrace",
            "getSpan",
            "listTraceKeys",
            "listTraceValues",
            "getCorrelation",
            "listServices",
            "listOperations",
            "compareVersions",
            "getServiceMap",
            "listDifferences",
            "getStatus",
            "getHealth",
            "getReadiness",
            "getMetrics",
        }


async def test_the_openapi_document_has_no_dangling_reference() -> None:
    """Every $ref in the document leads somewhere."""
    async with a_world() as world, world.client() as client:
        text = (await client.get("/openapi.json")).text
        document = world.app.openapi()

        for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
            assert name in document["components"]["schemas"]
