"""OTLP made by Hypothesis: every field, every type of attribute, and few enough values that searches find something."""

from __future__ import annotations

from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

LATEST = 2**63 - 1
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
keys = st.sampled_from(("a", "b.c", "service.name", "http.route", "", "ä 'x\"\\")) | words
scalars = st.one_of(
    st.builds(lambda value: AnyValue(string_value=value), words),
    st.builds(lambda value: AnyValue(bool_value=value), st.booleans()),
    st.builds(lambda value: AnyValue(int_value=value), st.integers(-(2**63), LATEST)),
    st.builds(lambda value: AnyValue(double_value=value), st.floats(allow_nan=False)),
    st.builds(lambda value: AnyValue(bytes_value=value), st.binary(max_size=6)),
    st.just(AnyValue()),
)


def _holders(inner: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    lists = st.lists(inner, max_size=3)
    return st.builds(lambda found: AnyValue(array_value=ArrayValue(values=found)), lists) | st.builds(
        lambda found: AnyValue(
            kvlist_value=KeyValueList(values=[KeyValue(key=str(i), value=one) for i, one in enumerate(found)])
        ),
        lists,
    )


values = st.recursive(scalars, _holders, max_leaves=5)


def pairs(of: st.SearchStrategy[AnyValue] = values) -> st.SearchStrategy[list[KeyValue]]:
    made = st.builds(lambda key, value: KeyValue(key=key, value=value), keys, of)
    return st.lists(made, max_size=4, unique_by=lambda pair: pair.key)


ids = st.binary(min_size=8, max_size=8).filter(any)
trace_ids = st.binary(min_size=16, max_size=16).filter(any)
counts = st.integers(0, 2**32 - 1)
NEAR = 1_795_860_000_000_000_000
"""Most spans are of one hour: each far one is a partition of its own, and a dozen files."""
times = st.one_of(*[st.integers(NEAR, NEAR + 3_600_000_000_000)] * 5, st.sampled_from((0, 1, LATEST)))
events = st.builds(
    Span.Event, time_unix_nano=times, name=words, attributes=pairs(), dropped_attributes_count=counts
)
links = st.builds(
    Span.Link,
    trace_id=trace_ids,
    span_id=ids,
    trace_state=words,
    attributes=pairs(),
    dropped_attributes_count=counts,
    flags=counts,
)
spans = st.builds(
    Span,
    trace_id=trace_ids,
    span_id=ids,
    parent_span_id=st.just(b"") | ids,
    name=words,
    kind=st.integers(0, 5).map(Span.SpanKind.ValueType),
    start_time_unix_nano=times,
    end_time_unix_nano=times,
    attributes=pairs(),
    events=st.lists(events, max_size=2),
    links=st.lists(links, max_size=2),
    status=st.builds(Status, message=words, code=st.integers(0, 2).map(Status.StatusCode.ValueType)),
    trace_state=words,
    flags=counts,
    dropped_attributes_count=counts,
    dropped_events_count=counts,
    dropped_links_count=counts,
)
scopes = st.builds(
    ScopeSpans,
    scope=st.builds(
        InstrumentationScope,
        name=words,
        version=words,
        attributes=pairs(),
        dropped_attributes_count=counts,
    ),
    spans=st.lists(spans, min_size=1, max_size=3),
    schema_url=words,
)
resources = st.builds(
    ResourceSpans,
    resource=st.builds(Resource, attributes=pairs(), dropped_attributes_count=counts),
    scope_spans=st.lists(scopes, min_size=1, max_size=2),
    schema_url=words,
)
requests = st.builds(ExportTraceServiceRequest, resource_spans=st.lists(resources, min_size=1, max_size=2))
