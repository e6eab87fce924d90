"""Spans to OTLP and back: nothing is lost, and numbers from the future do not break reading."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.model.trace import KINDS, STATUSES, Resource, Scope, Span, SpanEvent, SpanLink, Value
from controller.traces import decoding

TEXT = st.text(max_size=8)
SMALL = st.integers(0, 2**32 - 1)
SCALARS: st.SearchStrategy[Value] = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(max_size=8),
    st.none(),
)
VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=3)


def ids(size: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).map(bytes.hex)


MOMENTS = st.integers(0, 2**63 - 1)
SPANS = st.builds(
    Span,
    trace_id=ids(16),
    span_id=ids(8),
    parent_span_id=st.one_of(st.just(""), ids(8)),
    name=TEXT,
    kind=st.sampled_from(KINDS),
    start_ns=MOMENTS,
    duration_ns=st.integers(0, 2**63),
    status=st.sampled_from(STATUSES),
    status_message=TEXT,
    trace_state=TEXT,
    flags=SMALL,
    attributes=ATTRIBUTES,
    events=st.lists(st.builds(SpanEvent, TEXT, MOMENTS, ATTRIBUTES, SMALL), max_size=2).map(tuple),
    links=st.lists(st.builds(SpanLink, ids(16), ids(8), ATTRIBUTES, TEXT, SMALL, SMALL), max_size=2).map(
        tuple
    ),
    resource=st.builds(Resource, ATTRIBUTES, TEXT, SMALL),
    scope=st.builds(Scope, TEXT, TEXT, ATTRIBUTES, TEXT, SMALL),
    dropped=st.tuples(SMALL, SMALL, SMALL),
)


@given(st.lists(SPANS, max_size=4))
def test_spans_come_back_as_they_went(spans: list[Span]) -> None:
    """Every field and type of value survives the way to bytes and back, in its order."""
    # NaN is not equal to itself.
    assert repr(list(decoding.spans(decoding.encode(spans)))) == repr(spans)


def test_spans_of_one_resource_share_it() -> None:
    """Ten spans of one service in a row say once what service it is."""
    many = [
        Span("1" * 32, f"{n:016x}", "", "x", "server", 1, 1, resource=Resource({"service.name": "a"}))
        for n in range(10)
    ]

    message = ExportTraceServiceRequest.FromString(decoding.encode(many))

    assert len(message.resource_spans) == 1


def test_what_is_not_known_reads_as_the_least() -> None:
    """An unknown kind or status, a span that ends before it starts, and a key that comes twice."""
    message = ExportTraceServiceRequest()
    wire = message.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    wire.kind = 77  # type: ignore[assignment]
    wire.status.code = 9  # type: ignore[assignment]
    wire.start_time_unix_nano, wire.end_time_unix_nano = 10, 3
    for number in (1, 2):
        wire.attributes.add(key="k").value.int_value = number

    (span,) = decoding.spans(message.SerializeToString())

    assert (span.kind, span.status, span.duration_ns) == ("unspecified", "unset", 0)
    assert span.attributes == {"k": 1}
