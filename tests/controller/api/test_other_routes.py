"""Targets, status, metrics and documentation over HTTP."""

from __future__ import annotations

from tests.controller.releases.world import CATALOG, KEY, a_world

BODY = {"stable": "v1", "versions": {"v1": ["127.0.0.1:9000"], "v2": ["127.0.0.1:9001"]}}
TRAFFIC = {
    "shield": False,
    "identity": {"cookie": "shop_id"},
    "matches": [{"headers": {"x-country": "ch"}, "query": {"beta": "*"}}, {"cookies": {"group": "b"}}],
    "mirror": {"version": "v2", "percent": 0.07},
    "preview": True,
    "timeout_s": 0.5,
}
MORE = {"plan": "demo", "policy": "demo", **TRAFFIC}
"""Everything about a target that may be left out."""


async def test_a_target_can_be_put_read_and_put_back() -> None:
    """201 when it is new, 200 afterwards, and what GET shows can be sent back unchanged."""
    async with a_world(has_catalog=False) as world, world.client() as client:
        new = await client.put("/v1/targets/catalog", json={**BODY, **MORE})
        shown = (await client.get("/v1/targets/catalog")).json()
        again = await client.put("/v1/targets/catalog", json=shown)

        assert (new.status_code, again.status_code) == (201, 200)
        assert again.json() == shown == new.json()
        assert shown["hosts"] == ["catalog.localhost"]
        assert [step["share"] for step in shown["plan"]["steps"]] == [10, 30, 60]
        assert [one.key for one in await world.keeper.targets()] == [KEY]
        assert {key: shown[key] for key in TRAFFIC} == TRAFFIC


async def test_environments_are_apart() -> None:
    """The same name in two environments is two targets."""
    async with a_world() as world, world.client() as client:
        other = {**BODY, "environment": "staging", "hosts": ["catalog.staging.localhost"]}

        await client.put("/v1/targets/catalog", json=other)
        deleted = await client.delete("/v1/targets/catalog", params={"environment": "staging"})
        left = (await client.get("/v1/targets")).json()["targets"]

        assert deleted.status_code == 204
        assert [one["environment"] for one in left] == ["local"]


async def test_the_answer_says_what_was_not_followed() -> None:
    """After a promotion an old file keeps the new stable version, and the answer's note says so."""
    async with a_world() as world, world.client() as client:
        await world.keeper.promote(KEY, "rel-1", "v2")

        kept = (await client.put("/v1/targets/catalog", json=BODY)).json()
        moved = await client.put("/v1/targets/catalog", params={"move_stable": "true"}, json=BODY)

        assert kept["stable"] == "v2"
        assert "move_stable" in kept["note"]
        assert (moved.json()["stable"], "note" in moved.json()) == ("v1", False)


async def test_a_busy_target_is_not_deleted() -> None:
    """409 with the release that uses it."""
    async with a_world() as world, world.client() as client:
        release = await world.start()

        answer = await client.delete("/v1/targets/catalog")

        assert (answer.status_code, answer.json()["release"]) == (409, release.order.id)


async def test_a_host_belongs_to_one_target() -> None:
    """A second target with a host of the first is refused with the field."""
    async with a_world() as world, world.client() as client:
        answer = await client.put("/v1/targets/other", json={**BODY, "hosts": ["catalog.localhost"]})

        assert (answer.status_code, answer.json()["field"]) == (422, "hosts")


async def test_a_router_that_is_down_is_503_and_a_refusing_proxy_502() -> None:
    """Nothing is written, and the two are told apart."""
    async with a_world() as world, world.client() as client:
        world.keeper.is_down = True
        down = await client.put("/v1/targets/other", json=BODY)
        world.keeper.is_down = False
        world.plane.mischief.refusal = "no such thing"
        refused = await client.put("/v1/targets/other", json=BODY)

        assert (down.status_code, refused.status_code) == (503, 502)
        assert (await world.use_cases.declaring.list()) == (CATALOG,)


async def test_status_never_fails() -> None:
    """With everything down the status is still 200, says what is down, and does not claim that nothing is active."""
    async with a_world() as world, world.client() as client:
        release = await world.start()
        well = (await client.get("/v1/status")).json()
        world.store.is_down = world.keeper.is_down = world.runner.is_down = True
        unwell = await client.get("/v1/status")
        ready = await client.get("/ready")
        health = await client.get("/health")

        assert (well["is_well"], well["active_releases"]) == (True, [release.order.id])
        assert unwell.status_code == 200
        assert unwell.json()["active_releases"] is None
        assert {part["name"]: part["code"] for part in unwell.json()["parts"]} == {
            "ledger": "store_unavailable",
            "router": "router_unavailable",
            "orchestrator": "orchestrator_unavailable",
            "traces": "",
        }
        assert (ready.status_code, health.status_code) == (503, 200)


async def test_metrics_have_bounded_labels() -> None:
    """Requests are counted by route template; unknown paths and methods are one label each."""
    async with a_world() as world, world.client() as client:
        for path in ("/v1/releases/rel-1", "/v1/releases/rel-2", "/nothing/1", "/nothing/2"):
            await client.get(path)
        await client.request("BREW", "/v1/releases")

        text = (await client.get("/metrics")).text
        counts = [
            line
            for line in text.splitlines()
            if line.startswith("http_server_request_duration_seconds_count")
        ]

        assert sum('http_route="/v1/releases/{release_id}"' in line for line in counts) == 1
        assert sum('http_route="unmatched"' in line and '"GET"' in line for line in counts) == 1
        assert sum('http_request_method="_OTHER"' in line for line in counts) == 1
        assert "rel-1" not in text
        assert "nothing" not in text


async def test_the_documentation_works_offline() -> None:
    """The page names every operation and loads nothing from anywhere; the policy forbids scripts."""
    async with a_world() as world, world.client() as client:
        answer = await client.get("/docs")

        assert "/v1/releases/{release_id}/abort" in answer.text
        assert "<script" not in answer.text
        assert "http://" not in answer.text
        assert "https://" not in answer.text
        assert "script-src" not in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
