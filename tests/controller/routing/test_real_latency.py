"""Latencies and histories of a real Envoy against the truth of the upstreams: what its documentation leaves open."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from bisect import bisect_right
from typing import Any

import pytest

from controller.model.look import Arm
from controller.model.target import Target, TargetKey
from controller.model.wealth import Tally
from controller.routing.envoy import admin, latency
from controller.routing.envoy.bootstrap import EnvoyOptions, envoy_arguments, envoy_bootstrap
from controller.routing.envoy.counting import RawReading
from controller.routing.envoy.plane import EnvoyPlane
from controller.routing.envoy.reader import CounterReader
from tests.controller.routing.edge import (
    RESET,
    Edge,
    Upstream,
    accepted,
    free_port,
    planned,
    serving,
    shop,
    until,
)

pytestmark = pytest.mark.process

TYPE = "type.googleapis.com/envoy.extensions."


def slow(milliseconds: dict[int, int]) -> Upstream:
    """Return an upstream that takes so long for each status, in turn; 200 first."""

    def answer(number: int) -> int:
        status = list(milliseconds)[number % len(milliseconds)]
        time.sleep(milliseconds[status] / 1000)
        return status

    return Upstream("v1", answer)


def arm(plane: EnvoyPlane, target: Target, version: str = "v1") -> Arm:
    """Return one version's counters."""
    return plane.counters(target).arms.get(version, Arm())


async def _up(edge: Edge, plane: EnvoyPlane, target: Target) -> None:
    await plane.start(dict)
    await plane.declare([target])
    edge.start()
    await accepted(plane)


async def test_latencies_fall_into_their_buckets_and_survive_a_restart(edge: Edge) -> None:
    """An answer is counted where it belongs, whatever its status; a reset has no latency; kill -9 loses nothing."""
    async with serving(slow({200: 30, 500: 110, RESET: 0})) as (v1,), planned(edge) as plane:
        target = shop(v1)
        await _up(edge, plane, target)
        await edge.ask(15)
        await until(lambda: sum(arm(plane, target).buckets) == 10)
        first = arm(plane, target)
        edge.kill()
        await until(lambda: not plane.nodes())
        edge.start()
        await accepted(plane)
        await edge.ask(3)
        await until(lambda: sum(arm(plane, target).buckets) == 12)
        second = arm(plane, target)
        bounds_s = plane.counters(target).bounds_s

    assert bounds_s == latency.BOUNDS_S
    assert sum(first.buckets[: bisect_right(bounds_s, 0.03)]) == 0
    assert sum(first.buckets[: bisect_right(bounds_s, 0.11)]) == 5
    assert (first.total, first.failed, sum(first.buckets)) == (15, 10, 10)
    assert all(new >= old for old, new in zip(first.buckets, second.buckets, strict=True))
    assert second.total == 18


async def test_a_retried_request_is_one_latency(edge: Edge) -> None:
    """Tries at a dead instance are in the time of the request that another one answered; a dead version has none."""
    dead = f"127.0.0.1:{free_port()}"
    async with serving(Upstream("v1")) as (v1,), planned(edge) as plane:
        target = shop(v1).at("v1", (v1.address, dead))
        nobody = Target(name="nobody", stable="v1", versions={"v1": (dead,)})
        await plane.start(dict)
        await plane.declare([target, nobody])
        edge.start()
        await accepted(plane)
        await edge.ask(40)
        await edge.ask(5, host="nobody.localhost")
        await until(lambda: sum(arm(plane, target).buckets) == 40 and arm(plane, nobody).total == 5)
        found = arm(plane, target)
        empty = arm(plane, nobody)

    assert (found.total, found.failed) == (40, 0)
    assert sum(one.failed for one in found.instances) > 0
    assert (empty.failed, sum(empty.buckets)) == (5, 0)


async def test_a_request_that_waits_for_its_retry_has_not_failed(edge: Edge) -> None:
    """Envoy counts a failed try at once and its retry after a back-off: between the two nothing is a failure."""
    dead = f"127.0.0.1:{free_port()}"
    async with serving(Upstream("v1")) as (v1,), planned(edge) as plane:
        target = shop(v1).at("v1", (v1.address, dead))
        await _up(edge, plane, target)
        asking = asyncio.create_task(edge.ask(300))
        reader = CounterReader(sockets=[edge.admin], clock=time.monotonic)
        reader.declared([target])
        failures = set()
        while not asking.done():
            await reader.read()
            failures.add(reader.reading(target).arms["v1"].failed)
        replies = await asking
        await reader.read()

    assert {reply.status for reply in replies} == {200}
    assert failures == {0}
    assert reader.reading(target).arms["v1"].total == 300


async def test_history_holds_requests_by_instance(edge: Edge) -> None:
    """What a real edge served comes back by instance and adds up, with the tries that were repeated left out."""
    dead = f"127.0.0.1:{free_port()}"
    async with serving(Upstream("v1"), Upstream("v2")) as (one, two), planned(edge) as plane:
        target = Target(name="catalog", stable="v1", versions={"v1": (one.address, two.address, dead)})
        await _up(edge, plane, target)
        await until(lambda: "v1" in plane.counters(target).arms)
        await edge.split(60)
        await until(lambda: sum(plane.history(target, "v1", 3_600.0).buckets) == 60)
        history = plane.history(target, "v1", 3_600.0)

    served = {Tally(one.total, 0), Tally(two.total, 0)}
    assert {tally for tally in history.instances if tally.total} == served
    assert (history.total, history.failed, sum(history.buckets)) == (60, 0, 60)
    assert sum(history.instances, Tally()) == Tally(60, 0)


async def test_what_envoy_counts_under_an_aggregate(edge: Edge) -> None:
    """A rescued request is one latency, of both tries, at the aggregate; the canary's hosts keep each failed try."""
    canary, rescue = slow({200: 0, 500: 20, RESET: 20, 503: 20}), Upstream("rescue")
    config = _aggregate(edge, canary, rescue)
    async with serving(canary, rescue):
        (edge.folder / "envoy.json").write_text(json.dumps(config))
        edge.process = subprocess.Popen(envoy_arguments(edge.folder / "envoy.json", log_level="off"))
        await until(edge.admin.exists)
        replies = [await _ask_when_ready(edge), *await edge.ask(39)]

        async def raw() -> RawReading:
            clusters = json.loads((await admin.get(edge.admin, "/clusters?format=json")).body)
            for one in clusters["cluster_statuses"]:
                one["added_via_api"] = True
            page = admin.Page(0, json.dumps(clusters).encode())
            paths = admin.statistics_of([TargetKey("t")])
            statistics = [admin.Page(0, (await admin.get(edge.admin, path)).body) for path in paths]
            return admin.parse([(None, page)], statistics)[0]

        found = await raw()
        while sum(found.latencies.get("t/aggregate", ())) < 40:
            found = await raw()

    assert {reply.status for reply in replies} == {200}
    (hosts,), (saved,) = found.hosts["t/canary"].values(), found.hosts["t/rescue"].values()
    assert (hosts.success, hosts.error, canary.failed) == (10, 30, 30)
    assert (saved.success, saved.error) == (30, 0)
    assert found.retries == {"t/aggregate": 30}
    assert set(found.latencies) == {"t/aggregate"}
    assert sum(found.latencies["t/aggregate"][bisect_right(latency.BOUNDS_MS, 19) :]) == 30


async def _ask_when_ready(edge: Edge) -> Any:
    while True:
        try:
            return (await edge.ask())[0]
        except OSError:
            continue


def _aggregate(edge: Edge, canary: Upstream, rescue: Upstream) -> dict[str, Any]:
    """Return our bootstrap with a static route to an aggregate cluster: canary first, then the rescue."""
    config = envoy_bootstrap(
        EnvoyOptions(
            listen_port=edge.port,
            xds_socket=edge.xds,
            admin_socket=edge.admin,
            access_log=edge.access_log,
            routes=edge.admin.with_name("routes.json"),
        )
    )
    del config["dynamic_resources"], config["layered_runtime"]
    static = config["static_resources"]
    manager = static["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["rds"]
    priorities = {
        "name": "envoy.retry_priorities.previous_priorities",
        "typed_config": {
            "@type": f"{TYPE}retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            "update_frequency": 1,
        },
    }
    retry = {"retry_on": "connect-failure,reset,5xx", "num_retries": 1, "retry_priority": priorities}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "t/aggregate", "retry_policy": retry}}
    manager["route_config"] = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
    aggregate = {
        "name": "t/aggregate",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{TYPE}clusters.aggregate.v3.ClusterConfig",
                "clusters": ["t/canary", "t/rescue"],
            },
        },
    }
    static["clusters"] = [_cluster("t/canary", canary), _cluster("t/rescue", rescue), aggregate]
    return config


def _cluster(name: str, upstream: Upstream) -> dict[str, Any]:
    place = {"socket_address": {"address": "127.0.0.1", "port_value": upstream.port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": place}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }
