"""OTLP over HTTP, in one process: statuses, bodies and bounds of all three signals."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # ships no stubs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from controller.errors import TracesUnavailable
from controller.ingest.app import create_app
from controller.model.telemetry import Signal
from controller.traces.memory import MemoryTraces
from tests.controller.ingest import otlp
from tests.controller.ingest.otlp import retry_delay_s

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json; charset=utf-8"}
TRACE = "74" * 16


def body(*, spans: int = 1, invalid: int = 0, name: str = "x") -> bytes:
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for number in range(spans):
        span = scope.spans.add(trace_id=b"t" * 16, span_id=(number + 1).to_bytes(8, "big"), name=name)
        span.attributes.add(key="correlation.id").value.string_value = "cid-1"
    for _ in range(invalid):
        scope.spans.add(name="nobody")
    return made.SerializeToString()


class FullStore(MemoryTraces):
    """A store that takes nothing."""

    async def ingest(self, bodies: Sequence[bytes]) -> None:
        raise TracesUnavailable("the disk is full")


def speak_to(
    store: MemoryTraces, *, max_body_bytes: int = 10_000, deadline_s: float = 5.0
) -> httpx.AsyncClient:
    app = create_app(store, max_body_bytes=max_body_bytes, body_deadline_s=deadline_s)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:4318")


async def test_accepted_body_is_in_the_store_at_once() -> None:
    """200 with an empty ExportTraceServiceResponse, and the span is there."""
    store = MemoryTraces()
    async with speak_to(store) as http:
        answer = await http.post("/v1/traces", content=body(), headers=PROTOBUF)

    trace = await store.get(TRACE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()
    assert trace is not None
    assert [span.name for span in trace.spans] == ["x"]


async def test_gzip_and_json_are_taken() -> None:
    """Both encodings of OTLP/HTTP and its compression go in; JSON is answered in JSON."""
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "y"}
    tree = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    store = MemoryTraces()
    async with speak_to(store) as http:
        squeezed = await http.post(
            "/v1/traces", content=gzip.compress(body()), headers=PROTOBUF | {"content-encoding": "gzip"}
        )
        written = await http.post("/v1/traces", content=json.dumps(tree), headers=JSON)

    assert (squeezed.status_code, written.status_code, written.json()) == (200, 200, {})
    assert [await store.get(trace_id) is not None for trace_id in (TRACE, "ab" * 16)] == [True, True]


@pytest.mark.parametrize(
    ("signal", "sent", "answered"),
    [
        (Signal.LOGS, otlp.a_log(), ExportLogsServiceResponse()),
        (Signal.METRICS, otlp.a_point(), ExportMetricsServiceResponse()),
    ],
)
async def test_logs_and_metrics_are_kept_apart(signal: Signal, sent: bytes, answered: Message) -> None:
    """The other two signals have their own paths, responses and places; a span's body there is nothing of theirs."""
    store = MemoryTraces()
    async with speak_to(store) as http:
        taken = await http.post(f"/v1/{signal.value}", content=sent, headers=PROTOBUF)
        as_json = await http.post(f"/v1/{signal.value}", content="{}", headers=JSON)
        lines = (await http.get("/metrics")).text.splitlines()

    assert (taken.status_code, taken.content) == (200, answered.SerializeToString())
    assert (as_json.status_code, as_json.json()) == (200, {})
    assert store.others(signal) == (sent,)
    assert (await store.size()).size_bytes == 0
    assert f'serinus_otlp_items_total{{outcome="accepted",signal="{signal.value}"}} 1.0' in lines


async def test_invalid_spans_are_told_as_partial_success() -> None:
    """The sender learns how many spans were left out and why."""
    async with speak_to(MemoryTraces()) as http:
        answer = await http.post("/v1/traces", content=body(invalid=2), headers=PROTOBUF)

    told = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert answer.status_code == 200
    assert told.rejected_spans == 2
    assert "zero" in told.error_message


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"\xff\xff", PROTOBUF, 400, 3),
        (b"{", JSON, 400, 3),
        (b"x", PROTOBUF | {"content-encoding": "gzip"}, 400, 3),
        (b"x", PROTOBUF | {"content-encoding": "br"}, 415, 3),
        (b"x", {"content-type": "text/html"}, 415, 3),
        (b"x", {}, 415, 3),
        (bytes(10_001), PROTOBUF, 413, 8),
        (gzip.compress(bytes(1 << 20)), PROTOBUF | {"content-encoding": "gzip"}, 413, 8),
    ],
)
async def test_refusals_are_status_messages(
    content: bytes, headers: dict[str, str], status: int, code: int
) -> None:
    """Each kind of bad body has its status, and a google.rpc.Status in the sender's own encoding."""
    async with speak_to(MemoryTraces()) as http:
        answer = await http.post("/v1/traces", content=content, headers=headers)

    if headers == JSON:
        told = answer.json()
    else:
        parsed = Status.FromString(answer.content)
        told = {"code": parsed.code, "message": parsed.message}
    assert (answer.status_code, told["code"]) == (status, code)
    assert told["message"]


async def test_full_store_asks_to_try_again() -> None:
    """A store that cannot take is 503, with Retry-After for exporters."""
    async with speak_to(FullStore()) as http:
        refused = await http.post("/v1/traces", content=body(), headers=PROTOBUF)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert retry_delay_s(Status.FromString(refused.content)) == 1


async def test_slow_body_is_given_up() -> None:
    """A sender that stalls in mid-body gets 408 and holds nothing."""

    async def stall() -> AsyncIterator[bytes]:
        yield body()
        await asyncio.Event().wait()

    async with speak_to(MemoryTraces(), deadline_s=0.05) as http:
        answer = await http.post("/v1/traces", content=stall(), headers=PROTOBUF)

    assert answer.status_code == 408


async def test_bytes_under_way_are_bounded_over_all_requests() -> None:
    """When four bodies' worth of bytes hang in unfinished requests, the next is told to wait; then all is well again."""
    release = asyncio.Event()
    part = body(spans=150)
    assert 8_000 < len(part) < 10_000

    held_up = 0

    async def hold() -> AsyncIterator[bytes]:
        nonlocal held_up
        yield part
        held_up += 1  # The receiver has read what was sent, and asks for more.
        await release.wait()

    async with speak_to(MemoryTraces()) as http:
        held = [
            asyncio.create_task(http.post("/v1/traces", content=hold(), headers=PROTOBUF)) for _ in range(4)
        ]
        while held_up < 4:
            await asyncio.sleep(0)
        refused = await http.post("/v1/traces", content=part, headers=PROTOBUF)
        release.set()
        finished = await asyncio.gather(*held)
        after = await http.post("/v1/traces", content=part, headers=PROTOBUF)

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert retry_delay_s(Status.FromString(refused.content)) == 1
    assert [answer.status_code for answer in finished] == [200] * 4
    assert after.status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:4318", "127.0.0.1.evil.example", ""])
async def test_foreign_host_is_refused(host: str) -> None:
    """A page that points its own name at loopback reaches nothing."""
    async with speak_to(MemoryTraces()) as http:
        answer = await http.get("/health", headers={"host": host})

    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["localhost:4318", "127.0.0.1", "[::1]:4318"])
async def test_own_hosts_are_served(host: str) -> None:
    """Loopback by any of its names is us, with or without a port."""
    async with speak_to(MemoryTraces()) as http:
        answer = await http.get("/health", headers={"host": host})

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/traces", 405), ("/v1/profiles", 404), ("/elsewhere", 404)]
)
async def test_wrong_paths_have_client_errors(path: str, status: int) -> None:
    """What is not served is said so."""
    async with speak_to(MemoryTraces()) as http:
        answer = await http.get(path)

    assert answer.status_code == status


async def test_metrics_count_what_came_and_what_is_held() -> None:
    """Requests by status, spans by outcome, bytes held and bodies dropped are on /metrics."""
    wire = body(spans=3, invalid=1)
    store = MemoryTraces(len(wire) + 10)
    async with speak_to(store) as http:
        for content in (wire, wire, b"\xff"):
            await http.post("/v1/traces", content=content, headers=PROTOBUF)
        lines = (await http.get("/metrics")).text.splitlines()

    assert 'serinus_otlp_requests_total{signal="traces",status="200",transport="http"} 2.0' in lines
    assert 'serinus_otlp_requests_total{signal="traces",status="400",transport="http"} 1.0' in lines
    assert 'serinus_otlp_items_total{outcome="accepted",signal="traces"} 6.0' in lines
    assert 'serinus_otlp_items_total{outcome="rejected",signal="traces"} 2.0' in lines
    assert f"serinus_traces_held_bytes {float(store.held_bytes)}" in lines
    assert "serinus_traces_dropped_bodies 1.0" in lines
