"""The memory store's own promises: bounded, and honest about what it dropped."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.errors import TracesUnavailable
from controller.model.searching import Page, Search
from controller.traces.memory import MemoryTraces


def body(number: int, *, padding: int = 0) -> bytes:
    message = ExportTraceServiceRequest()
    span = (
        message.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name="x" * padding)
    )
    span.attributes.add(key="correlation.id").value.string_value = f"cid-{number}"
    return message.SerializeToString()


async def of(store: MemoryTraces, correlation_id: str, limit: int = 20) -> list[str]:
    page = await store.search(Search(correlation_id=correlation_id), Page(limit))
    return [one.trace_id for one in page.traces]


async def test_oldest_bodies_make_room_and_are_counted() -> None:
    """A store for three bodies that got five holds the last three, and says that two are gone."""
    size = len(body(10))
    store = MemoryTraces(3 * size)

    for number in range(10, 15):
        await store.ingest([body(number)])

    found = [len(await of(store, f"cid-{number}")) for number in range(10, 15)]
    assert found == [0, 0, 1, 1, 1]
    assert (store.dropped, store.held_bytes) == (2, 3 * size)


async def test_batch_larger_than_the_store_is_refused_whole() -> None:
    """What can never fit is an error, and what was there stays."""
    store = MemoryTraces(1000)
    await store.ingest([body(1)])

    with pytest.raises(TracesUnavailable):
        await store.ingest([body(2), body(3, padding=1000)])

    assert len(await of(store, "cid-1")) == 1
    assert await of(store, "cid-2") == []
    assert store.dropped == 0


async def test_span_without_times_or_known_kind_is_still_shown() -> None:
    """Numbers from the future and clocks that run backwards do not break reading."""
    message = ExportTraceServiceRequest.FromString(body(7))
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.kind = 77  # type: ignore[assignment]
    span.status.code = 9  # type: ignore[assignment]
    span.start_time_unix_nano, span.end_time_unix_nano = 10, 3
    store = MemoryTraces()
    await store.ingest([message.SerializeToString()])

    trace = await store.get((7).to_bytes(16, "big").hex())

    assert trace is not None
    assert (trace.spans[0].kind, trace.spans[0].status, trace.spans[0].duration_ns) == (
        "unspecified",
        "unset",
        0,
    )


async def test_many_traces_of_one_id_are_found_together() -> None:
    """More traces than are searched for one by one come back complete."""
    store = MemoryTraces()
    for number in range(1, 41):
        message = ExportTraceServiceRequest.FromString(body(number))
        message.resource_spans[0].scope_spans[0].spans[0].attributes[0].value.string_value = "shared"
        await store.ingest([message.SerializeToString()])

    found = await of(store, "shared", 40)

    assert {int(found_id, 16) for found_id in found} == set(range(1, 41))


def test_capabilities_are_those_of_memory() -> None:
    """It takes bodies and does not pretend to be durable."""
    found = MemoryTraces().capabilities()

    assert (found.can_ingest, found.is_durable) == (True, False)
