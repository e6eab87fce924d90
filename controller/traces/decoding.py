"""OTLP messages to the values of `controller.model.trace`, and back without loss. Pure.

Before it: raw bodies of a store, or rows put together again. After it: `Trace` and `Span`; on the way back the bytes
that cross from the telemetry process to the controller, and the Jaeger API's v3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as WireResource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from controller.model.trace import (
    KINDS,
    STATUSES,
    Attributes,
    Resource,
    Scope,
    Span,
    SpanEvent,
    SpanLink,
    Value,
)


def spans(body: bytes) -> Iterator[Span]:
    """Decode every span of a valid `ExportTraceServiceRequest`, in its order."""
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _resource(group)
        for part in group.scope_spans:
            scope = _scope(part)
            for one in part.spans:
                yield span(one, resource, scope)


def span(one: WireSpan, resource: Resource, scope: Scope) -> Span:
    """Decode one span."""
    return Span(
        trace_id=one.trace_id.hex(),
        span_id=one.span_id.hex(),
        parent_span_id=one.parent_span_id.hex(),
        name=one.name,
        kind=_named(KINDS, one.kind),
        start_ns=one.start_time_unix_nano,
        duration_ns=max(0, one.end_time_unix_nano - one.start_time_unix_nano),
        status=_named(STATUSES, one.status.code),
        status_message=one.status.message,
        trace_state=one.trace_state,
        flags=one.flags,
        attributes=attributes(one.attributes),
        events=tuple(
            SpanEvent(
                event.name, event.time_unix_nano, attributes(event.attributes), event.dropped_attributes_count
            )
            for event in one.events
        ),
        links=tuple(_link(link) for link in one.links),
        resource=resource,
        scope=scope,
        dropped=(one.dropped_attributes_count, one.dropped_events_count, one.dropped_links_count),
    )


def encode(found: Iterable[Span]) -> bytes:
    """Return an `ExportTraceServiceRequest` with these spans; those of one resource and scope in a row share it."""
    message = ExportTraceServiceRequest()
    group: ResourceSpans | None = None
    part: ScopeSpans | None = None
    resource: Resource | None = None
    scope: Scope | None = None
    for one in found:
        if group is None or one.resource != resource:
            group, part, resource = message.resource_spans.add(), None, one.resource
            _fill_resource(group, one.resource)
        if part is None or one.scope != scope:
            part, scope = group.scope_spans.add(), one.scope
            _fill_scope(part, one.scope)
        _fill_span(part.spans.add(), one)
    return message.SerializeToString()


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    """Decode attributes; a key that comes twice counts as it came first."""
    found: dict[str, Value] = {}
    for pair in pairs:
        found.setdefault(pair.key, value(pair.value))
    return found


def value(found: AnyValue) -> Value:
    """Decode one value."""
    match found.WhichOneof("value"):
        case "string_value":
            return found.string_value
        case "bool_value":
            return found.bool_value
        case "int_value":
            return found.int_value
        case "double_value":
            return found.double_value
        case "bytes_value":
            return found.bytes_value
        case "array_value":
            return [value(item) for item in found.array_value.values]
        case "kvlist_value":
            return {pair.key: value(pair.value) for pair in found.kvlist_value.values}
        case _:
            return None


def _named(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else names[0]


def _resource(group: ResourceSpans) -> Resource:
    found: WireResource = group.resource
    return Resource(attributes(found.attributes), group.schema_url, found.dropped_attributes_count)


def _scope(part: ScopeSpans) -> Scope:
    found: InstrumentationScope = part.scope
    return Scope(
        found.name,
        found.version,
        attributes(found.attributes),
        part.schema_url,
        found.dropped_attributes_count,
    )


def _link(link: WireSpan.Link) -> SpanLink:
    return SpanLink(
        link.trace_id.hex(),
        link.span_id.hex(),
        attributes(link.attributes),
        link.trace_state,
        link.flags,
        link.dropped_attributes_count,
    )


def _fill_resource(group: ResourceSpans, found: Resource) -> None:
    group.schema_url = found.schema_url
    group.resource.dropped_attributes_count = found.dropped
    _fill(group.resource.attributes, found.attributes)


def _fill_scope(part: ScopeSpans, found: Scope) -> None:
    part.schema_url = found.schema_url
    part.scope.name, part.scope.version = found.name, found.version
    part.scope.dropped_attributes_count = found.dropped
    _fill(part.scope.attributes, found.attributes)


def _fill_span(wire: WireSpan, found: Span) -> None:
    wire.trace_id, wire.span_id = bytes.fromhex(found.trace_id), bytes.fromhex(found.span_id)
    wire.parent_span_id = bytes.fromhex(found.parent_span_id)
    wire.name, wire.trace_state, wire.flags = found.name, found.trace_state, found.flags
    wire.kind = WireSpan.SpanKind.ValueType(KINDS.index(found.kind))
    wire.start_time_unix_nano = found.start_ns
    wire.end_time_unix_nano = found.start_ns + found.duration_ns
    wire.status.message = found.status_message
    wire.status.code = type(wire.status).StatusCode.ValueType(STATUSES.index(found.status))
    wire.dropped_attributes_count, wire.dropped_events_count, wire.dropped_links_count = found.dropped
    _fill(wire.attributes, found.attributes)
    for event in found.events:
        made = wire.events.add(
            name=event.name, time_unix_nano=event.at_ns, dropped_attributes_count=event.dropped
        )
        _fill(made.attributes, event.attributes)
    for link in found.links:
        linked = wire.links.add(
            trace_id=bytes.fromhex(link.trace_id),
            span_id=bytes.fromhex(link.span_id),
            trace_state=link.trace_state,
            flags=link.flags,
            dropped_attributes_count=link.dropped,
        )
        _fill(linked.attributes, link.attributes)


def _fill(pairs: object, found: Attributes) -> None:
    for key, one in found.items():
        _set(pairs.add(key=key).value, one)  # type: ignore[attr-defined]  # a repeated field of KeyValue


def _set(wire: AnyValue, found: Value) -> None:
    match found:
        case bool():
            wire.bool_value = found
        case str():
            wire.string_value = found
        case int():
            wire.int_value = found
        case float():
            wire.double_value = found
        case bytes():
            wire.bytes_value = found
        case list():
            wire.array_value.SetInParent()
            for item in found:
                _set(wire.array_value.values.add(), item)
        case dict():
            wire.kvlist_value.SetInParent()
            _fill(wire.kvlist_value.values, found)
