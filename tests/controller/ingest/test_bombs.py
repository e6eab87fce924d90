"""Parts that are too many, too long, too deep or out of time: left out alone, or cut and marked; and cheap to find."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controller.ingest.bodies import JSON, PROTOBUF, BodyRefused
from controller.ingest.otlp import Batch, accept
from controller.model.telemetry import CLIPPED, Signal
from controller.traces import decoding
from tests.controller.ingest import otlp

LATEST = 2**63 - 1


def spoilt(spoil: Callable[[Span], object]) -> Batch:
    """What becomes of one good span after something was done to it."""
    message, span = otlp.a_span()
    spoil(span)
    return accept(message.SerializeToString(), PROTOBUF)


def only(batch: Batch) -> Span:
    return ExportTraceServiceRequest.FromString(batch.body).resource_spans[0].scope_spans[0].spans[0]


def marks(batch: Batch) -> str:
    """The mark of the only span; "" when it has none."""
    found = [pair.value.string_value for pair in only(batch).attributes if pair.key == CLIPPED]
    assert len(found) <= 1
    return found[0] if found else ""


@pytest.mark.parametrize("start", [0, 1, 999_999_999, otlp.START, LATEST - 1])
def test_times_that_a_store_can_keep_are_kept(start: int) -> None:
    """1970 is odd, and 2262 is far, but both can be found again."""

    def spoil(span: Span) -> None:
        span.start_time_unix_nano = span.end_time_unix_nano = start

    batch = spoilt(spoil)

    assert (batch.items, batch.told, only(batch).start_time_unix_nano) == (1, "", start)


@pytest.mark.parametrize("start", [LATEST, 2**63, 2**64 - 1])
def test_start_beyond_64_bits_is_left_out(start: int) -> None:
    """The sender hears which time is meant; nothing wraps around into the past."""

    def spoil(span: Span) -> None:
        span.start_time_unix_nano = span.end_time_unix_nano = start

    batch = spoilt(spoil)

    assert (batch.items, batch.rejected, batch.body) == (0, 1, b"")
    assert "2262" in batch.told


@pytest.mark.parametrize(
    ("field", "value", "kept", "mark"),
    [
        ("end_time_unix_nano", otlp.START - 1, otlp.START, "end_time"),
        ("end_time_unix_nano", 0, otlp.START, "end_time"),
        ("end_time_unix_nano", 2**64 - 1, LATEST, "end_time"),
        ("parent_span_id", b"abc", b"", "parent_span_id"),
        ("parent_span_id", b"abcdefghi", b"", "parent_span_id"),
        ("parent_span_id", bytes(8), b"", "parent_span_id"),
        ("kind", 6, 0, "kind"),
        ("kind", -1, 0, "kind"),
        ("kind", 2**31 - 1, 0, "kind"),
        ("name", "n" * 2000, "n" * 1024, "name"),
        ("name", "é" * 1500, "é" * 512, "name"),
        ("trace_state", "t" * 5000, "t" * 1024, "trace_state"),
    ],
)
def test_impossible_field_is_put_right_and_marked(field: str, value: object, kept: object, mark: str) -> None:
    """What no store or reader could handle is replaced; the span stays, and says so."""
    batch = spoilt(lambda span: setattr(span, field, value))

    assert (getattr(only(batch), field), marks(batch)) == (kept, mark)
    assert (batch.items, batch.rejected, batch.clipped) == (1, 0, 1)
    assert "clipped" in batch.told


def test_links_without_proper_ids_are_dropped_and_counted() -> None:
    """A link that leads nowhere goes; the others stay."""

    def spoil(span: Span) -> None:
        for trace_id in (b"", bytes(16), b"u" * 16, b"u" * 17):
            span.links.add(trace_id=trace_id, span_id=b"v" * 8)

    batch = spoilt(spoil)

    assert [link.trace_id for link in only(batch).links] == [b"u" * 16]
    assert (only(batch).dropped_links_count, marks(batch)) == (3, "links")


@pytest.mark.parametrize(
    ("number", "kept", "mark"), [(1024, 1024, ""), (1025, 1024, "x"), (10_000, 1024, "x")]
)
def test_too_many_attributes_events_or_links_are_cut(number: int, kept: int, mark: str) -> None:
    """The first 1 024 stay, the counters of what was dropped say how many are gone."""

    def spoil(span: Span) -> None:
        for index in range(number):
            span.attributes.add(key=f"k{index}").value.int_value = index
            span.events.add(name="e", time_unix_nano=index)
            span.links.add(trace_id=b"u" * 16, span_id=b"v" * 8)

    batch = spoilt(spoil)

    span = only(batch)
    assert (len(span.events), len(span.links)) == (kept, kept)
    assert len(span.attributes) == kept + bool(mark)
    assert span.dropped_attributes_count == span.dropped_events_count == number - kept
    assert marks(batch) == ("attributes,events,links" if mark else "")


def test_long_values_keep_their_beginning() -> None:
    """Text, bytes, lists and maps are cut to 64 KiB wherever they are; text stays whole characters."""

    def spoil(span: Span) -> None:
        span.attributes.add(key="text").value.string_value = "ü" * 100_000
        span.attributes.add(key="bytes").value.bytes_value = b"b" * 100_000
        items = span.attributes.add(key="list").value.array_value.values
        for _ in range(10):
            items.add().string_value = "l" * 10_000
        span.attributes.add(key="short").value.string_value = "short"
        span.events.add(name="boom").attributes.add(key="exception.stacktrace").value.string_value = (
            "s" * 70_000
        )
        span.status.message = "m" * 70_000

    batch = spoilt(spoil)

    (span,) = decoding.spans(batch.body)
    assert span.attributes["text"] == "ü" * 32_768
    assert span.attributes["bytes"] == b"b" * 65_536
    assert span.attributes["list"] == ["l" * 10_000] * 6
    assert span.attributes["short"] == "short"
    assert span.events[0].attributes["exception.stacktrace"] == "s" * 65_536
    assert span.status_message == "m" * 65_536
    assert span.attributes[CLIPPED] == "message,values"


def test_long_resource_is_cut_and_marked_there() -> None:
    """A resource is shared by all its spans, so the mark is on the resource."""
    message, _ = otlp.a_span()
    resource = message.resource_spans[0].resource
    resource.attributes.add(key="process.command_line").value.string_value = "x" * 1_000_000

    batch = accept(message.SerializeToString(), PROTOBUF)

    (span,) = decoding.spans(batch.body)
    assert len(str(span.resource.attributes["process.command_line"])) == 65_536
    assert span.resource.attributes[CLIPPED] == "values"
    assert (batch.items, batch.clipped) == (1, 1)


def test_forged_mark_does_not_pass_for_ours() -> None:
    """A sender's own mark is replaced when we clip."""

    def spoil(span: Span) -> None:
        span.attributes.add(key=CLIPPED).value.string_value = "nothing at all"
        span.kind = 99  # type: ignore[assignment]  # on purpose

    assert marks(spoilt(spoil)) == "kind"


@pytest.mark.parametrize("signal", list(Signal))
def test_text_that_is_no_text_is_refused(signal: Signal) -> None:
    """Invalid UTF-8 in a name is 400 for the body, by protobuf and by JSON; nothing else could be read back."""
    good = {
        Signal.TRACES: otlp.many(1),
        Signal.LOGS: otlp.a_log(severity_text="x"),
        Signal.METRICS: otlp.a_point(name="x"),
    }
    at = good[signal].rindex(b"\x01x")
    bad = good[signal][: at + 1] + b"\xff" + good[signal][at + 2 :]
    lone = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\ud800"}]}]}]}).encode()

    with pytest.raises(BodyRefused) as caught:
        accept(bad, PROTOBUF, signal)
    with pytest.raises(BodyRefused) as caught_json:
        accept(lone, JSON)

    assert (caught.value.status, caught_json.value.status) == (400, 400)


@pytest.mark.parametrize(
    ("field", "value", "kept", "mark"),
    [
        ("trace_id", b"short", b"", "trace_id"),
        ("trace_id", bytes(16), b"", ""),
        ("span_id", b"longer than 8", b"", "span_id"),
        ("severity_number", 25, 0, "severity_number"),
    ],
)
def test_impossible_field_of_a_log_record_is_put_right(
    field: str, value: object, kept: object, mark: str
) -> None:
    """A log record without a proper trace id is still a log record; zeros mean that there is none."""
    batch = accept(otlp.a_log(**{field: value}), PROTOBUF, Signal.LOGS)

    record = ExportLogsServiceRequest.FromString(batch.body).resource_logs[0].scope_logs[0].log_records[0]
    assert getattr(record, field) == kept
    assert [pair.value.string_value for pair in record.attributes] == ([mark] if mark else [])


def test_long_log_record_is_cut() -> None:
    """A body of a megabyte keeps its first 64 KiB."""
    message = ExportLogsServiceRequest.FromString(otlp.a_log())
    message.resource_logs[0].scope_logs[0].log_records[0].body.string_value = "b" * 1_000_000

    batch = accept(message.SerializeToString(), PROTOBUF, Signal.LOGS)

    record = ExportLogsServiceRequest.FromString(batch.body).resource_logs[0].scope_logs[0].log_records[0]
    assert len(record.body.string_value) == 65_536


@pytest.mark.parametrize(
    ("body", "signal", "reason"),
    [
        (otlp.a_log(time_unix_nano=2**64 - 1), Signal.LOGS, "2262"),
        (otlp.a_log(observed_time_unix_nano=2**63), Signal.LOGS, "2262"),
        (otlp.a_point(at_ns=2**63), Signal.METRICS, "2262"),
        (otlp.a_point(name=""), Signal.METRICS, "name"),
        (otlp.a_point(name="n" * 2000), Signal.METRICS, "name"),
    ],
)
def test_records_and_points_that_cannot_be_kept_are_left_out(
    body: bytes, signal: Signal, reason: str
) -> None:
    """As with spans: one is left out alone, and the sender hears why."""
    batch = accept(body, PROTOBUF, signal)

    assert (batch.body, batch.items, batch.rejected) == (b"", 0, 1)
    assert reason in batch.told


def test_metric_of_an_unknown_kind_is_left_out() -> None:
    """Its neighbour stays."""
    message = ExportMetricsServiceRequest.FromString(otlp.a_point())
    message.resource_metrics[0].scope_metrics[0].metrics.add(name="of tomorrow")

    batch = accept(message.SerializeToString(), PROTOBUF, Signal.METRICS)

    assert (batch.items, batch.rejected) == (1, 1)


def test_starts_scattered_over_centuries_are_left_out() -> None:
    """12 months in one body are more than any SDK sends; a store would have to open files for each of 3 500."""
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for month in range(100):
        for _ in range(2):
            start = month * 30 * 86_400 * 10**9
            scope.spans.add(
                trace_id=otlp.TRACE, span_id=otlp.SPAN, start_time_unix_nano=start, end_time_unix_nano=start
            )

    batch = accept(message.SerializeToString(), PROTOBUF)

    assert (batch.items, batch.rejected) == (24, 176)
    assert "months" in batch.told


TIMES = st.integers(0, 2**64 - 1) | st.sampled_from([0, LATEST - 1, LATEST, 2**63, 2**64 - 1])


@given(
    st.lists(
        st.builds(
            Span,
            trace_id=st.just(otlp.TRACE) | st.binary(max_size=17),
            span_id=st.just(otlp.SPAN) | st.binary(max_size=9),
            parent_span_id=st.binary(max_size=9),
            start_time_unix_nano=TIMES,
            end_time_unix_nano=TIMES,
            kind=st.integers(-(2**31), 2**31 - 1),
            events=st.lists(st.builds(Span.Event, time_unix_nano=TIMES), max_size=2),
            links=st.lists(
                st.builds(Span.Link, trace_id=st.binary(max_size=17), span_id=st.binary(max_size=9)),
                max_size=2,
            ),
        ),
        max_size=4,
    )
)
def test_whatever_is_kept_is_sound(spans: list[Span]) -> None:
    """No mixture of oddities leaves a span that a store could choke on, none is lost uncounted, and a second look
    changes nothing more."""
    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.extend(spans)

    batch = accept(message.SerializeToString(), PROTOBUF)

    assert batch.items + batch.rejected == len(spans)
    for group in ExportTraceServiceRequest.FromString(batch.body).resource_spans:
        for span in group.scope_spans[0].spans:
            assert (len(span.trace_id), len(span.span_id)) == (16, 8)
            assert len(span.parent_span_id) in (0, 8)
            assert span.start_time_unix_nano <= span.end_time_unix_nano <= LATEST
            assert 0 <= span.kind <= 5
            assert all(event.time_unix_nano <= LATEST for event in span.events)
            assert all((len(link.trace_id), len(link.span_id)) == (16, 8) for link in span.links)
    assert accept(batch.body, PROTOBUF) == Batch(batch.body, batch.items)
