"""The reader among many targets: who is looked at is read at once, and what it reads is what Envoy counted."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from controller.model.look import Arm, SourceState
from controller.model.share import basis_points
from controller.model.target import Target
from controller.model.traffic import Mirror
from controller.routing.envoy import admin
from controller.routing.envoy.reader import FRESH_WITHIN_S, CounterReader
from controller.routing.envoy.resources import shielded
from tests.controller.routing.edge import Edge, Upstream, planned, serving, set_up, until


@dataclass(slots=True)
class Admin:
    """An admin interface whose clusters all have one host with the same number of requests."""

    targets: list[Target]
    served: int = 5
    is_silent: bool = False
    asked: Counter[str] = field(default_factory=Counter)

    def answer(self, path: str) -> bytes:
        """Return a page."""
        if not path.startswith("/clusters"):
            return b""
        wanted = re.compile(parse_qs(urlsplit(path).query)["filter"][0])
        names = [f"{one.key}/{version}" for one in self.targets for version in one.versions]
        found = [name for name in names if wanted.search(name)]
        self.asked.update(name.partition("/")[0] for name in found)
        host = {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 7001}},
            "stats": [
                {"name": "rq_success", "value": self.served},
                {"name": "rq_error"},
                {"name": "rq_active"},
            ],
        }
        each = [{"name": name, "added_via_api": True, "host_statuses": [host]} for name in found]
        return json.dumps({"cluster_statuses": each}).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question, or end the connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        if not self.is_silent:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + self.answer(head.split()[1].decode()))
        writer.close()


@asynccontextmanager
async def reading(folder: Path, told: Admin) -> AsyncIterator[CounterReader]:
    """Run a reader of an admin interface."""
    server = await asyncio.start_unix_server(told.serve, str(folder / "a.sock"))
    reader = CounterReader(sockets=[folder / "a.sock"], clock=time.monotonic)
    reader.declared(told.targets)
    reader.start()
    try:
        yield reader
    finally:
        await reader.aclose()
        server.close()
        await server.wait_closed()


def many(number: int = 1_000) -> list[Target]:
    """Return so many targets that not all of them are read in one round."""
    return [Target(f"s{one}", "v1", {"v1": ("127.0.0.1:7001",)}) for one in range(number)]


async def test_who_nobody_looked_at_is_read_as_soon_as_somebody_does(short_folder: Path) -> None:
    """The last of a thousand targets has no counts yet; who asks for them gets new ones, and waits less than 0.7 s."""
    told = Admin(many())
    last = told.targets[-1]
    async with reading(short_folder, told) as reader:
        await until(lambda: told.asked.total() >= 100)
        before = reader.reading(last)
        began_s = time.monotonic()
        await asyncio.gather(*(reader.look(last) for _ in range(5)))
        took_s, after = time.monotonic() - began_s, reader.reading(last)

    assert (before.source, dict(before.arms)) == (SourceState.DOWN, {})
    assert (after.source, after.arms["v1"].total) == (SourceState.OK, 5)
    assert after.age_s < FRESH_WITHIN_S
    assert took_s < FRESH_WITHIN_S


async def test_nobody_waits_for_an_envoy_that_is_silent(short_folder: Path) -> None:
    """Its counts are as old as they say, and that is said at once."""
    told = Admin(many(), is_silent=True)
    async with reading(short_folder, told) as reader:
        await until(lambda: not all(reader.answering().values()))
        began_s = time.monotonic()
        await reader.look(told.targets[-1])
        took_s, found = time.monotonic() - began_s, reader.reading(told.targets[-1])

    assert found.source is SourceState.DOWN
    assert took_s < FRESH_WITHIN_S / 2


async def test_a_round_asks_for_those_with_a_share_and_some_others(short_folder: Path) -> None:
    """Nobody asks Envoy for everybody: a page about a thousand would hold up its pushes."""
    told = Admin(many())
    shared = {told.targets[-1].key}
    server = await asyncio.start_unix_server(told.serve, str(short_folder / "a.sock"))
    reader = CounterReader(sockets=[short_folder / "a.sock"], clock=time.monotonic, shared=lambda: shared)
    reader.declared(told.targets)
    for _ in range(3):
        await reader.read()
    server.close()
    await server.wait_closed()

    assert told.asked[told.targets[-1].key] == 3
    assert told.asked.total() == 3 + 3 * 100
    assert max(told.asked[one.key] for one in told.targets[:-1]) == 1


async def test_an_envoy_is_asked_without_a_target_too(short_folder: Path) -> None:
    """A fleet that is still empty says whether its Envoys answer."""
    told = Admin([], is_silent=True)
    async with reading(short_folder, told) as reader:
        await until(lambda: not any(reader.answering().values()))
        told.is_silent = False
        await until(lambda: all(reader.answering().values()))


@pytest.mark.process
async def test_a_page_about_some_says_what_the_page_about_all_says(edge: Edge) -> None:
    """Under shield and mirror, failures and retries among it: hosts, retries and latencies are the same numbers."""
    upstreams = (Upstream("v1"), Upstream("v2", lambda number: 500 if number % 3 else 200))
    async with serving(*upstreams) as (one, two), planned(edge) as plane:
        target = Target(
            "catalog",
            "v1",
            {"v1": (one.address, "127.0.0.1:1"), "v2": (two.address,), "v2.1": (two.address,)},
            mirror=Mirror("v2.1", basis_points(5_000)),
        )
        other = replace(target, name="catalog-2", hosts=("other.localhost",))
        hand = await set_up(edge, plane, target, other)
        await hand.set(plane, 5_000)
        await edge.ask(100)
        await edge.ask(20, host="other.localhost")
        # Histograms are merged once a second.
        await until(lambda: sum(plane.counters(target).arms.get("v2", Arm()).buckets) > 0)
        everything = "/stats?usedonly&histogram_buckets=disjoint&filter=upstream_rq_(retry|time)$"
        pages = [await admin.get(edge.admin, path) for path in ("/clusters?format=json", everything)]
        (all_,) = admin.parse([(None, pages[0])], pages[1:])
        hosts = await admin.get(edge.admin, admin.hosts_of([target.key]))
        some = [await admin.get(edge.admin, path) for path in admin.statistics_of([target.key])]
        (found,) = admin.parse([([target.key], hosts)], some)

    names = {f"local.catalog/{version}" for version in target.versions}
    assert found.hosts == {name: all_.hosts[name] for name in names}
    assert found.retries == {name: count for name, count in all_.retries.items() if shielded(name) in names}
    assert found.latencies == {name: count for name, count in all_.latencies.items() if name in names}
    assert found.retries["local.catalog/v1"] > 0
    assert sum(found.latencies["local.catalog/v2"]) > 0
    assert sum(host.error for host in found.hosts["local.catalog/v2"].values()) > 0
