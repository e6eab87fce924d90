"""A real Envoy traces into our gRPC receiver: its spans join the caller's trace and name the route that was taken."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.receivers import receivers
from tests.controller.routing.edge import Edge, Upstream, free_port, planned, serving, set_up, shop

pytestmark = pytest.mark.process

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-correlation-id", "cid-envoy")]


@pytest.fixture
def edge() -> Iterator[Edge]:
    folder = Path(tempfile.mkdtemp(prefix="srn"))
    made = Edge(folder)
    yield made
    made.kill()
    shutil.rmtree(folder, ignore_errors=True)


async def test_envoy_traces_what_it_routes(edge: Edge) -> None:
    """One span for the user's request and one for the call to the canary, with correlation id, release and track."""
    async with receivers() as ours:
        edge.collector = ("127.0.0.1", int(ours.grpc.rpartition(":")[2]))
        async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
            hand = await set_up(edge, plane, shop(v1, v2))
            await hand.set(plane, 10_000)
            (reply,) = await edge.ask(headers=HEADERS)
            async with asyncio.timeout(10):
                while (trace := await ours.store.get(TRACE)) is None or len(trace.spans) < 2:
                    await asyncio.sleep(0.05)

    assert reply.version == "v2"
    spans = {span.kind: span for span in trace.spans}
    server, client = spans["server"], spans["client"]
    assert (server.service, server.parent_span_id, client.parent_span_id) == ("edge", PARENT, server.span_id)
    assert client.span_id in v2.head["traceparent"]
    for span in (server, client):
        assert span.correlation_id == "cid-envoy"
    assert server.attributes["release.track"] == "canary"
    assert server.attributes["serinus.version"] == "v2"
    assert server.attributes["release.id"]


async def test_dead_collector_costs_no_request(edge: Edge) -> None:
    """Nobody listens where the spans go: users are served all the same, and no slower than a moment."""
    edge.collector = ("127.0.0.1", free_port())
    async with serving(Upstream("v1")) as (v1,), planned(edge) as plane:
        await set_up(edge, plane, shop(v1))
        began = time.monotonic()
        replies = await edge.ask(500)
        took_s = time.monotonic() - began

    assert {reply.status for reply in replies} == {200}
    assert took_s < 20
