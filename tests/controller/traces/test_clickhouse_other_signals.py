"""Logs and metrics in the real engine: every kind of data comes out as it went in; and no bomb breaks the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from controller.ingest.bodies import PROTOBUF
from controller.ingest.intake import Intake
from controller.model.telemetry import Signal
from controller.traces.clickhouse.connection import Row
from controller.traces.clickhouse.store import ClickHouseTraces
from tests.controller.ingest import otlp

AT = otlp.START


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ClickHouseTraces]:
    opened = ClickHouseTraces(tmp_path / "traces")
    yield opened
    await opened.aclose()


def tell(resource: Resource) -> None:
    for key, value in (
        ("service.name", "orders"),
        ("service.version", "v2"),
        ("service.instance.id", "orders-1"),
    ):
        resource.attributes.add(key=key).value.string_value = value


def say(pairs: object, **attributes: str) -> None:
    for key, value in attributes.items():
        pairs.add(key=key.replace("_", ".")).value.string_value = value  # type: ignore[attr-defined]


async def asked(store: ClickHouseTraces, statement: str) -> list[Row]:
    return await store._crew.ask(statement)


async def test_log_records_come_out_as_they_went_in(store: ClickHouseTraces) -> None:
    """Time, service, version, severity, body, ids and attributes each have a column."""
    made = ExportLogsServiceRequest()
    group = made.resource_logs.add()
    tell(group.resource)
    records = group.scope_logs.add().log_records
    record = records.add(
        time_unix_nano=AT + 1,
        severity_number=17,
        severity_text="ERROR",
        trace_id=otlp.TRACE,
        span_id=otlp.SPAN,
    )
    record.body.string_value = "payment declined"
    say(record.attributes, correlation_id="cid-1", http_route="/pay")
    other = records.add(observed_time_unix_nano=AT + 2, event_name="paid")
    other.body.kvlist_value.values.append(KeyValue(key="amount"))

    await store.ingest_other(Signal.LOGS, [made.SerializeToString(), otlp.a_log()])

    rows = await asked(
        store,
        "SELECT toUnixTimestamp64Nano(time), service, version, severity, body, hex(trace_id), hex(span_id), "
        "correlation_id, attrs, event, body_kind FROM logs_v1 ORDER BY time DESC",
    )
    assert rows[0][:4] == [AT + 2, "orders", "v2", 0]
    assert rows[0][9:] == ["paid", "m"]
    assert rows[1] == [
        AT + 1,
        "orders",
        "v2",
        17,
        "payment declined",
        otlp.TRACE.hex().upper(),
        otlp.SPAN.hex().upper(),
        "cid-1",
        {"correlation.id": "cid-1", "http.route": "/pay"},
        "",
        "s",
    ]
    assert rows[2][1:5] == ["", "", 9, "hello"]


def every_kind() -> bytes:
    made = ExportMetricsServiceRequest()
    group = made.resource_metrics.add()
    tell(group.resource)
    metrics = group.scope_metrics.add().metrics
    for number in (1.5, -0.5):
        metrics.add(name="gauge", unit="s").gauge.data_points.add(time_unix_nano=AT, as_double=number)
    total = metrics.add(name="sum").sum
    total.is_monotonic, total.aggregation_temporality = True, total.aggregation_temporality.__class__(2)
    point = total.data_points.add(time_unix_nano=AT, start_time_unix_nano=AT - 9, as_int=2**53 + 1)
    say(point.attributes, http_route="/pay")
    metrics.add(name="histogram").histogram.data_points.add(
        time_unix_nano=AT, count=3, sum=4.5, min=0.5, max=2, bucket_counts=[1, 0, 2], explicit_bounds=[1, 2]
    )
    wide = metrics.add(name="exponential").exponential_histogram.data_points.add(
        time_unix_nano=AT, count=6, scale=-3, zero_count=1
    )
    wide.positive.offset, wide.negative.offset = -2, 4
    wide.positive.bucket_counts.extend([1, 2])
    wide.negative.bucket_counts.append(2)
    summary = metrics.add(name="summary").summary.data_points.add(time_unix_nano=AT, count=9, sum=1.25)
    for quantile in (0.5, 0.99):
        summary.quantile_values.add(quantile=quantile, value=quantile * 2)
    return made.SerializeToString()


async def test_every_kind_of_metric_comes_out_as_it_went_in(store: ClickHouseTraces) -> None:
    """Gauges, sums, histograms of both kinds and summaries, with absent numbers told from zero."""
    await store.ingest_other(Signal.METRICS, [every_kind()])

    rows = await asked(
        store,
        "SELECT name, kind, service, version, instance, value, whole, count, sum, min, max, bounds, buckets, values, "
        "temporality, monotonic, attrs FROM metrics_v1 ORDER BY name, value",
    )
    who = ["orders", "v2", "orders-1"]
    assert rows == [
        [
            "exponential",
            "exponential_histogram",
            *who,
            None,
            None,
            6,
            None,
            None,
            None,
            [],
            [1, 2],
            [],
            0,
            False,
            {},
        ],
        ["gauge", "gauge", *who, -0.5, None, 0, None, None, None, [], [], [], 0, False, {}],
        ["gauge", "gauge", *who, 1.5, None, 0, None, None, None, [], [], [], 0, False, {}],
        ["histogram", "histogram", *who, None, None, 3, 4.5, 0.5, 2, [1, 2], [1, 0, 2], [], 0, False, {}],
        [
            "sum",
            "sum",
            *who,
            2**53,
            2**53 + 1,
            0,
            None,
            None,
            None,
            [],
            [],
            [],
            2,
            True,
            {"http.route": "/pay"},
        ],
        [
            "summary",
            "summary",
            *who,
            None,
            None,
            9,
            1.25,
            None,
            None,
            [0.5, 0.99],
            [],
            [1, 1.98],
            0,
            False,
            {},
        ],
    ]
    [[wide]] = await asked(store, "SELECT exponential FROM metrics_v1 WHERE name = 'exponential'")
    assert wide == {"scale": -3, "zero": 1, "offset": -2, "below_offset": 4, "below": [2]}


def bombs() -> list[bytes]:
    """Bodies that a receiver accepts in part, each with something that a store could choke on."""
    made: list[bytes] = []
    for field, value in (
        ("start_time_unix_nano", 0),
        ("start_time_unix_nano", 2**63 - 2),
        ("end_time_unix_nano", 2**64 - 1),
        ("end_time_unix_nano", 0),
        ("parent_span_id", b"abc"),
        ("kind", 2**31 - 1),
        ("kind", -1),
        ("name", "n" * 1_000_000),
        ("name", "\x00'; DROP TABLE spans_v1; --"),
        ("trace_state", "t" * 100_000),
    ):
        message, span = otlp.a_span()
        setattr(span, field, value)
        made.append(message.SerializeToString())
    message, span = otlp.a_span()
    span.end_time_unix_nano = span.start_time_unix_nano
    for index in range(10_000):
        span.attributes.add(key=f"k{index}").value.int_value = index
        span.links.add(trace_id=bytes(index % 20), span_id=b"v" * 8)
        span.events.add(time_unix_nano=2**64 - 1, name="e")
    span.attributes.add(key="nan").value.double_value = float("nan")
    made.append(message.SerializeToString())
    deep, span = otlp.a_span()
    inner = span.attributes.add(key="deep").value
    for _ in range(40):
        inner = inner.array_value.values.add()
    made.append(deep.SerializeToString())
    scattered = ExportTraceServiceRequest()
    spans = scattered.resource_spans.add().scope_spans.add().spans
    for month in range(3_000):
        at = month * 31 * 86_400 * 10**9
        spans.add(trace_id=otlp.TRACE, span_id=otlp.SPAN, start_time_unix_nano=at, end_time_unix_nano=at)
    made.append(scattered.SerializeToString())
    return made


async def test_no_bomb_breaks_the_store(store: ClickHouseTraces) -> None:
    """Whatever passes the receiver is kept by the engine, and what comes afterwards is kept as ever."""
    intake = Intake(store, max_body_bytes=16 << 20, linger_s=0.05)
    taken = [intake.take(body, PROTOBUF, Signal.TRACES) for body in bombs()]
    batches = await asyncio.gather(*taken)
    batches.append(await intake.take(otlp.many(10), PROTOBUF, Signal.TRACES))

    [[found, oldest, newest]] = await asked(
        store,
        "SELECT count(), min(toUnixTimestamp64Nano(start)), max(toUnixTimestamp64Nano(start)) FROM spans_v1",
    )
    assert (found, oldest, newest) == (sum(batch.items for batch in batches), 0, 2**63 - 2)
    assert all(batch.items for batch in batches)


async def test_bad_body_in_a_batch_is_refused_alone(store: ClickHouseTraces) -> None:
    """Should the engine not read what our parser did, only that body is refused, and its neighbours are kept."""
    intake = Intake(store, max_body_bytes=1 << 20, linger_s=0.05)
    batcher = intake._batchers[Signal.LOGS]

    found = await asyncio.gather(
        batcher.add(otlp.a_log(), 1),
        batcher.add(b"\x0a\x05garbage", 1),
        batcher.add(otlp.a_log(), 1),
        return_exceptions=True,
    )

    assert [found[0], found[2]] == [None, None]
    assert isinstance(found[1], Exception)
    assert await asked(store, "SELECT count() FROM logs_v1") == [[2]]
