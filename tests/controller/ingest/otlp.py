"""OTLP bodies by hand, for the tests of the receivers."""

from __future__ import annotations

from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # ships no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # ships no stubs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE, SPAN = b"t" * 16, b"s" * 8
START = 1_700_000_000_000_000_000


def a_span() -> tuple[ExportTraceServiceRequest, Span]:
    """A request with one good span, and that span, to be spoilt."""
    made = ExportTraceServiceRequest()
    span = (
        made.resource_spans.add()
        .scope_spans.add()
        .spans.add(
            trace_id=TRACE,
            span_id=SPAN,
            name="x",
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=START,
            end_time_unix_nano=START + 1,
        )
    )
    return made, span


def many(spans: int, *, filler: int = 0) -> bytes:
    """A body of spans that differ by id, each with some bytes of text."""
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for number in range(spans):
        span = scope.spans.add(
            trace_id=TRACE,
            span_id=(number + 1).to_bytes(8, "big"),
            name="x",
            start_time_unix_nano=START,
            end_time_unix_nano=START + 1,
        )
        if filler:
            span.attributes.add(key="filler").value.string_value = "f" * filler
    return made.SerializeToString()


def a_log(**fields: object) -> bytes:
    """A body of one log record."""
    made = ExportLogsServiceRequest()
    record = (
        made.resource_logs.add()
        .scope_logs.add()
        .log_records.add(**{"time_unix_nano": START, "severity_number": 9, **fields})
    )
    record.body.string_value = "hello"
    return made.SerializeToString()


def a_point(*, name: str = "requests", at_ns: int = START) -> bytes:
    """A body of one counter with one data point."""
    made = ExportMetricsServiceRequest()
    metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name=name)
    metric.sum.is_monotonic = True
    metric.sum.data_points.add(time_unix_nano=at_ns, as_int=7)
    return made.SerializeToString()


def retry_delay_s(status: Status) -> float:
    """Seconds after which a refusal asks to come again; 0 when it does not."""
    for detail in status.details:
        retry = RetryInfo()
        if detail.Unpack(retry):
            return float(retry.retry_delay.ToTimedelta().total_seconds())
    return 0.0
