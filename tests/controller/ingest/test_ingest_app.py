"""The telemetry process over HTTP, in one process: statuses, bodies, bounds and the read side."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # ships no stubs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from controller.errors import TracesUnavailable
from controller.ingest.app import create_app
from controller.model.trace import Trace, TraceSummary
from controller.traces.memory import MemoryTraces

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
    """A store that takes nothing and answers nothing."""

    async def ingest(self, bodies: Sequence[bytes]) -> None:
        raise TracesUnavailable("the disk is full")

    async def find(self, *, correlation_id: str, limit: int = 20) -> tuple[TraceSummary, ...]:
        raise TracesUnavailable("the disk is full")

    async def get(self, trace_id: str) -> Trace | None:
        raise TracesUnavailable("the disk is full")


def speak_to(
    store: MemoryTraces, *, max_body_bytes: int = 10_000, deadline_s: float = 5.0
) -> httpx.AsyncClient:
    app = create_app(store, max_body_bytes=max_body_bytes, body_deadline_s=deadline_s)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:4318")


async def test_accepted_body_can_be_read_back() -> None:
    """200 with an empty ExportTraceServiceResponse, and the span is there at once."""
    async with speak_to(MemoryTraces()) as http:
        answer = await http.post("/v1/traces", content=body(), headers=PROTOBUF)
        found = (await http.get("/internal/traces", params={"correlation_id": "cid-1"})).json()
        trace = (await http.get(f"/internal/traces/{TRACE}")).json()

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()
    assert [line["trace_id"] for line in found["traces"]] == [TRACE]
    assert [span["name"] for span in trace["spans"]] == ["x"]


async def test_gzip_and_json_are_taken() -> None:
    """Both encodings of OTLP/HTTP and its compression go in; JSON is answered in JSON."""
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "y"}
    tree = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    async with speak_to(MemoryTraces()) as http:
        squeezed = await http.post(
            "/v1/traces", content=gzip.compress(body()), headers=PROTOBUF | {"content-encoding": "gzip"}
        )
        written = await http.post("/v1/traces", content=json.dumps(tree), headers=JSON)
        traces = [await http.get(f"/internal/traces/{trace_id}") for trace_id in (TRACE, "ab" * 16)]

    assert (squeezed.status_code, written.status_code, written.json()) == (200, 200, {})
    assert [trace.status_code for trace in traces] == [200, 200]


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
    """A store that cannot take or answer is 503, with Retry-After for exporters; nothing answers 500."""
    async with speak_to(FullStore()) as http:
        refused = await http.post("/v1/traces", content=body(), headers=PROTOBUF)
        found = await http.get("/internal/traces", params={"correlation_id": "x"})
        got = await http.get(f"/internal/traces/{TRACE}")

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (found.status_code, got.status_code) == (503, 503)


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

    async def hold() -> AsyncIterator[bytes]:
        yield part
        await release.wait()

    async with speak_to(MemoryTraces()) as http:
        held = [
            asyncio.create_task(http.post("/v1/traces", content=hold(), headers=PROTOBUF)) for _ in range(4)
        ]
        while (refused := await http.post("/v1/traces", content=part, headers=PROTOBUF)).status_code == 200:
            await asyncio.sleep(0)
        release.set()
        finished = await asyncio.gather(*held)
        after = await http.post("/v1/traces", content=part, headers=PROTOBUF)

    assert refused.status_code == 503
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
    ("path", "status"),
    [
        ("/internal/traces", 422),
        ("/internal/traces?correlation_id=", 422),
        ("/internal/traces?correlation_id=x&limit=0", 422),
        ("/internal/traces?correlation_id=x&limit=201", 422),
        ("/internal/traces?correlation_id=x&limit=%D9%A3", 422),
        ("/internal/traces?correlation_id=" + "x" * 1025, 422),
        ("/internal/traces/nothex", 422),
        ("/internal/traces/" + "AB" * 16, 422),
        ("/internal/traces/" + "ab" * 16, 404),
        ("/v1/traces", 405),
        ("/elsewhere", 404),
    ],
)
async def test_wrong_questions_have_client_errors(path: str, status: int) -> None:
    """No question makes the process fail."""
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

    assert 'serinus_otlp_requests_total{status="200"} 2.0' in lines
    assert 'serinus_otlp_requests_total{status="400"} 1.0' in lines
    assert 'serinus_otlp_spans_total{outcome="accepted"} 6.0' in lines
    assert 'serinus_otlp_spans_total{outcome="rejected"} 2.0' in lines
    assert f"serinus_traces_held_bytes {float(store.held_bytes)}" in lines
    assert "serinus_traces_dropped_bodies 1.0" in lines
