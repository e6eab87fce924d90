"""OTLP in JSON, as Jaeger's third API answers it, held against protobuf's own writer."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.api.jaeger import v3
from controller.model.trace import KINDS, STATUSES, Resource, Scope, Span, SpanEvent, SpanLink
from controller.traces import decoding

TEXT = st.text(max_size=6)
COUNT = st.integers(0, 3)
TIMES = st.integers(0, 2**62)
SCALARS = st.one_of(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(max_size=4))
VALUES = st.recursive(
    SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=4)


def ids(length: int) -> st.SearchStrategy[str]:
    """Ids that may stand in a span, hex."""
    return st.binary(min_size=length, max_size=length).map(bytes.hex)


SPANS = st.builds(
    Span,
    ids(16),
    ids(8),
    st.just("") | ids(8),
    TEXT,
    st.sampled_from(KINDS),
    TIMES,
    TIMES,
    status=st.sampled_from(STATUSES),
    status_message=TEXT,
    trace_state=TEXT,
    flags=st.integers(0, 2**32 - 1),
    attributes=ATTRIBUTES,
    events=st.lists(st.builds(SpanEvent, TEXT, TIMES, ATTRIBUTES, COUNT), max_size=2).map(tuple),
    links=st.lists(
        st.builds(SpanLink, ids(16), ids(8), ATTRIBUTES, TEXT, st.integers(0, 2**32 - 1), COUNT), max_size=2
    ).map(tuple),
    resource=st.builds(Resource, ATTRIBUTES, TEXT, COUNT),
    scope=st.builds(Scope, TEXT, TEXT, ATTRIBUTES, TEXT, COUNT),
    dropped=st.tuples(COUNT, COUNT, COUNT),
)


def protobufs(found: list[Span]) -> list[dict[str, Any]]:
    """Return what protobuf's own writer says, with ids in hex."""
    message = ExportTraceServiceRequest.FromString(decoding.encode(found))
    tree = MessageToDict(message, use_integers_for_enums=True)
    for group in tree.get("resourceSpans", ()):
        for part in group["scopeSpans"]:
            for span in part["spans"]:
                for holder in (span, *span.get("links", ())):
                    for name in {"traceId", "spanId", "parentSpanId"} & holder.keys():
                        holder[name] = base64.b64decode(holder[name]).hex()
    groups: list[dict[str, Any]] = tree.get("resourceSpans", [])
    return groups


@settings(max_examples=60, deadline=None)
@given(found=st.lists(SPANS, min_size=1, max_size=3))
def test_it_is_what_protobuf_writes(found: list[Span]) -> None:
    """Field by field, with every kind of value, and it is JSON that anybody can read."""
    written = v3.spans(found)["result"]["resourceSpans"]

    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert written == protobufs(found)
