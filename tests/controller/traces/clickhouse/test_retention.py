"""What is dropped, and what is kept for longer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.model.searching import Page, Search
from controller.traces.clickhouse.schema import PARTITION_NS
from controller.traces.clickhouse.store import ClickHouseTraces
from controller.traces.port import Retention
from tests.controller.traces.made import NEAR

HOUR_S = 3_600.0
NOW = NEAR // PARTITION_NS * PARTITION_NS + 1_000_000_000
"""A second after a partition begins."""
PLENTY = 2**40


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ClickHouseTraces]:
    store = ClickHouseTraces(tmp_path / "traces", now_ns=lambda: NOW)
    yield store
    await store.aclose()


def body(name: str, *, at_ns: int, traces: int = 1, failed: bool = False, track: str = "") -> bytes:
    """Traces of two spans each, the first of a service `name`; the later ones take longer."""
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = name
    spans = group.scope_spans.add().spans
    for number in range(traces):
        trace_id = uuid4().bytes
        for which in range(2):
            span = spans.add(
                trace_id=trace_id,
                span_id=uuid4().bytes[:8],
                name="work",
                start_time_unix_nano=at_ns,
                end_time_unix_nano=at_ns + 1_000 * (number + 1),
            )
            if failed and which:
                span.status.code = span.status.STATUS_CODE_ERROR
            if track:
                span.attributes.add(key="release.track").value.string_value = track
    return message.SerializeToString()


async def spans_of(store: ClickHouseTraces, service: str) -> int:
    page = await store.search(Search(service=service), Page(200))
    return sum(trace.spans for trace in page.traces)


async def test_old_spans_go_and_telling_traces_stay(store: ClickHouseTraces) -> None:
    """After `keep_s` errors, canaries and the slowest 1 % are left, whole; after `keep_telling_s` nothing is."""
    old_ns = NOW - 2 * PARTITION_NS
    await store.ingest([body("plain", at_ns=old_ns, traces=150), body("new", at_ns=NOW - 2_000_000_000)])
    await store.ingest(
        [body("failed", at_ns=old_ns, failed=True), body("canary", at_ns=old_ns, track="canary")]
    )
    retention = Retention(keep_s=HOUR_S, keep_bytes=PLENTY, keep_telling_s=24 * HOUR_S)

    dropped = await store.prune(retention, NOW)
    again = await store.prune(retention, NOW)

    left = {name: await spans_of(store, name) for name in ("plain", "new", "failed", "canary")}
    assert left["new"] == 2
    assert left["failed"] == left["canary"] == 2
    assert 0 < left["plain"] <= 8
    assert (dropped, again) == (300 - left["plain"], 0)

    await store.prune(retention, NOW + 4 * PARTITION_NS)

    assert [await spans_of(store, name) for name in ("plain", "new", "failed", "canary")] == [0, 2 - 2, 0, 0]


async def test_spans_that_come_late_are_told_apart_too(store: ClickHouseTraces) -> None:
    """What was kept for longer stays when more of the same six hours comes in and goes."""
    old_ns = NOW - 2 * PARTITION_NS
    retention = Retention(keep_s=HOUR_S, keep_bytes=PLENTY, keep_telling_s=24 * HOUR_S)
    await store.ingest([body("failed", at_ns=old_ns, failed=True)])
    await store.prune(retention, NOW)
    await store.ingest([body("late", at_ns=old_ns, failed=True)])

    await store.prune(retention, NOW)

    assert [await spans_of(store, name) for name in ("failed", "late")] == [2, 2]


async def test_too_many_bytes_cost_the_oldest_spans(store: ClickHouseTraces) -> None:
    """The newest stay, and what went for room is counted."""
    await store.ingest([body("older", at_ns=NOW - 3 * PARTITION_NS, traces=400)])
    await store.ingest([body("newer", at_ns=NOW - PARTITION_NS, traces=400)])
    kept = (await store.size()).size_bytes

    dropped = await store.prune(Retention(1e9, kept * 2 // 3, 1e9), NOW)
    size = await store.size()

    assert dropped == size.dropped_spans == 800
    assert [await spans_of(store, name) for name in ("older", "newer")] == [0, 400]


async def test_one_partition_that_is_too_large_goes_part_by_part(store: ClickHouseTraces) -> None:
    """A flood within six hours costs what came first."""
    await store._crew.write(lambda connection: connection.fetch("SYSTEM STOP MERGES"))
    for name in ("first", "second", "third"):
        await store.ingest([body(name, at_ns=NOW, traces=100)])
    size = await store._crew.ask(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'spans_v1'"
    )

    dropped = await store.prune(Retention(1e9, size[0][0] - 1, 1e9), NOW)

    assert dropped == 200
    assert [await spans_of(store, name) for name in ("first", "second", "third")] == [0, 200, 200]
