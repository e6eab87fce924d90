"""What every trace store must do: the memory store, and the remote one in front of a real ingest app over loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from controller.errors import InvalidInput
from controller.ingest.app import create_app
from controller.traces.memory import MemoryTraces
from controller.traces.port import TraceStore
from controller.traces.remote import RemoteTraces

TRACE = bytes(range(1, 17))
SECOND_NS = 1_000_000_000
Values = dict[str, AnyValue]


def text(value: str) -> AnyValue:
    return AnyValue(string_value=value)


def body(
    *,
    correlation_id: str = "cid-1",
    trace_id: bytes = TRACE,
    span_id: bytes = b"12345678",
    parent: bytes = b"",
    service: str = "catalog",
    start_s: int = 100,
    more: Values | None = None,
    failed: bool = False,
) -> bytes:
    values = {"correlation.id": text(correlation_id), **(more or {})}
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.add(key="service.name", value=text(service))
    group.resource.attributes.add(key="service.version", value=text("v2"))
    group.scope_spans.add().spans.append(
        Span(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=parent,
            name="GET /products",
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=start_s * SECOND_NS,
            end_time_unix_nano=start_s * SECOND_NS + 5_000_000,
            attributes=[KeyValue(key=key, value=value) for key, value in values.items()],
            status=Status(code=Status.STATUS_CODE_ERROR, message="broken") if failed else Status(),
        )
    )
    return message.SerializeToString()


@dataclass
class Bench:
    """A store, and the way bodies get into it."""

    store: TraceStore
    put: Callable[[Sequence[bytes]], Awaitable[None]]


@contextlib.asynccontextmanager
async def served(store: TraceStore) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        config = uvicorn.Config(
            create_app(store, max_body_bytes=1 << 20), log_config=None, lifespan="off", ws="none"
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server._serve([bound]))
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


@pytest.fixture(params=["memory", "remote"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    kept = MemoryTraces(1 << 22)
    if request.param == "memory":
        yield Bench(kept, kept.ingest)
        return
    async with served(kept) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:

        async def post(bodies: Sequence[bytes]) -> None:
            for one in bodies:
                answer = await http.post(
                    "/v1/traces", content=one, headers={"content-type": "application/x-protobuf"}
                )
                assert answer.status_code == 200

        remote = RemoteTraces(url)
        yield Bench(remote, post)
        await remote.aclose()


async def test_unknown_ids_have_no_answer(bench: Bench) -> None:
    """What nobody sent is an empty answer, never an error, whatever the id looks like."""
    found = await bench.store.find(correlation_id="nobody")
    traces = [await bench.store.get(trace_id) for trace_id in ("0" * 32, "", "../x", "Ä" * 32, "A" * 32)]

    assert found == ()
    assert traces == [None] * 5


async def test_trace_is_found_by_correlation_id_and_by_trace_id(bench: Bench) -> None:
    """Spans of one trace from several bodies and services come together, oldest first."""
    await bench.put(
        [
            body(span_id=b"child-01", parent=b"rootroot", service="catalog", start_s=101, failed=True),
            body(span_id=b"rootroot", service="storefront", start_s=100),
            body(correlation_id="cid-2", trace_id=b"y" * 16),
        ]
    )

    (summary,) = await bench.store.find(correlation_id="cid-1")
    trace = await bench.store.get(summary.trace_id)

    assert summary.trace_id == TRACE.hex()
    assert (summary.root_service, summary.root_name) == ("storefront", "GET /products")
    assert (summary.spans, summary.failed, summary.correlation_id) == (2, 1, "cid-1")
    assert (summary.start_ns, summary.duration_ns) == (100 * SECOND_NS, SECOND_NS + 5_000_000)
    assert trace is not None
    assert [span.span_id for span in trace.spans] == [b"rootroot".hex(), b"child-01".hex()]
    child = trace.spans[1]
    assert (child.service, child.version, child.kind, child.status) == ("catalog", "v2", "server", "error")
    assert (child.status_message, child.parent_span_id) == ("broken", b"rootroot".hex())
    assert child.duration_ns == 5_000_000


async def test_correlation_id_is_matched_as_a_whole(bench: Bench) -> None:
    """A prefix, a longer id, and the same text in another attribute are not the id."""
    await bench.put([body(correlation_id="cid-12", more={"note": text("cid-1")})])

    assert await bench.store.find(correlation_id="cid-1") == ()
    assert await bench.store.find(correlation_id="cid-123") == ()
    assert len(await bench.store.find(correlation_id="cid-12")) == 1


async def test_span_that_was_sent_twice_counts_once(bench: Bench) -> None:
    """An exporter that tries again after a timeout does not double a trace."""
    await bench.put([body(), body()])

    (summary,) = await bench.store.find(correlation_id="cid-1")

    assert summary.spans == 1


async def test_newest_traces_come_first_up_to_the_limit(bench: Bench) -> None:
    """Of ten traces with one correlation ID, a limit of three gives the three that came last."""
    await bench.put([body(trace_id=bytes([n]) * 16, start_s=n) for n in range(1, 11)])

    found = await bench.store.find(correlation_id="cid-1", limit=3)

    assert [summary.start_ns // SECOND_NS for summary in found] == [10, 9, 8]


@pytest.mark.parametrize("limit", [0, -1, 201])
async def test_limit_outside_its_range_is_refused(bench: Bench, limit: int) -> None:
    """A limit below 1 or above 200 is an error that names the field."""
    with pytest.raises(InvalidInput) as caught:
        await bench.store.find(correlation_id="cid-1", limit=limit)

    assert caught.value.field == "limit"


async def test_attributes_keep_their_types(bench: Bench) -> None:
    """Every kind of OTLP value comes back as JSON can hold it: empty, false and zero values included."""
    pairs = KeyValueList(values=[KeyValue(key="a", value=AnyValue(int_value=1))])
    await bench.put(
        [
            body(
                more={
                    "text": text("Zeisig ✓"),
                    "empty": text(""),
                    "yes": AnyValue(bool_value=True),
                    "no": AnyValue(bool_value=False),
                    "int": AnyValue(int_value=-(2**63)),
                    "zero": AnyValue(int_value=0),
                    "double": AnyValue(double_value=0.25),
                    "nan": AnyValue(double_value=float("nan")),
                    "inf": AnyValue(double_value=float("-inf")),
                    "bytes": AnyValue(bytes_value=b"\x00\xff"),
                    "nothing": AnyValue(),
                    "list": AnyValue(
                        array_value=ArrayValue(
                            values=[text("x"), AnyValue(int_value=2), AnyValue(kvlist_value=pairs)]
                        )
                    ),
                    "empty_list": AnyValue(array_value=ArrayValue()),
                    "map": AnyValue(kvlist_value=pairs),
                }
            )
        ]
    )

    trace = await bench.store.get(TRACE.hex())

    assert trace is not None
    assert dict(trace.spans[0].attributes) == {
        "correlation.id": "cid-1",
        "text": "Zeisig ✓",
        "empty": "",
        "yes": True,
        "no": False,
        "int": -(2**63),
        "zero": 0,
        "double": 0.25,
        "nan": "NaN",
        "inf": "-Infinity",
        "bytes": "AP8=",
        "nothing": None,
        "list": ["x", 2, '{"a":1}'],
        "empty_list": [],
        "map": '{"a":1}',
    }


async def test_events_come_back_in_order(bench: Bench) -> None:
    """What happened inside a span is there with its own time and attributes."""
    message = ExportTraceServiceRequest.FromString(body())
    span = message.resource_spans[0].scope_spans[0].spans[0]
    for number in (1, 2):
        event = span.events.add(name=f"event-{number}", time_unix_nano=number)
        event.attributes.add(key="n", value=AnyValue(int_value=number))
    await bench.put([message.SerializeToString()])

    trace = await bench.store.get(TRACE.hex())

    assert trace is not None
    assert [(event.name, event.at_ns, dict(event.attributes)) for event in trace.spans[0].events] == [
        ("event-1", 1, {"n": 1}),
        ("event-2", 2, {"n": 2}),
    ]


@given(correlation_id=st.text(min_size=1, max_size=200))
def test_any_text_is_found_again(correlation_id: str) -> None:
    """Whatever a foreign service put into `correlation.id`, exactly that finds the trace."""

    async def scenario() -> int:
        store = MemoryTraces()
        await store.ingest([body(correlation_id=correlation_id)])
        return len(await store.find(correlation_id=correlation_id))

    assert asyncio.run(scenario()) == 1
