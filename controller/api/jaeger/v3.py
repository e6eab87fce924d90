"""What Jaeger's third query API answers: spans as OTLP in JSON, and short forms of traces. Pure.

Before it: `routes` with values of the trace store. After it: JSON. Ids are hex and enumerations numbers, as OTLP says, where
protobuf's own JSON has base64 and names. protobuf's writer would take 17 s for a trace of 50 000 spans, in the API's process;
a test holds this one against it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any

from controller.api.jaeger import v1
from controller.model.insight import Edge
from controller.model.trace import (
    KINDS,
    STATUSES,
    Attributes,
    Outline,
    Resource,
    Scope,
    Span,
    SpanEvent,
    SpanLink,
    TraceSummary,
    Value,
)

_ENDLESS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def spans(found: Iterable[Span]) -> dict[str, Any]:
    """Return spans of one or several traces; those of one resource and scope in a row share it."""
    groups: list[dict[str, Any]] = []
    resource: Resource | None = None
    scope: Scope | None = None
    for one in found:
        if one.resource is not resource and (resource is None or one.resource != resource):
            resource, scope = one.resource, None
            groups.append(_resource(resource))
        if scope is None or (one.scope is not scope and one.scope != scope):
            scope = one.scope
            groups[-1]["scopeSpans"].append(_scope(scope))
        groups[-1]["scopeSpans"][-1]["spans"].append(_span(one))
    return {"result": {"resourceSpans": groups}}


def summary(found: TraceSummary, outline: Outline | None) -> dict[str, Any]:
    """Return one line about a trace.

    Args:
        found: From a search.
        outline: Its spans, for the counts by service; None when they are gone meanwhile.
    """
    shown = outline.spans if outline is not None else ()
    known = {span.span_id for span in shown}
    orphans = sum(bool(span.parent_span_id) and span.parent_span_id not in known for span in shown)
    services: dict[str, list[int]] = {name: [0, 0] for name in found.services}
    for span in shown:
        counts = services.setdefault(span.service, [0, 0])
        counts[0] += 1
        counts[1] += span.status == "error"
    return {
        "traceId": found.trace_id,
        "rootServiceName": found.root_service,
        "rootOperationName": found.root_name,
        "minStartTimeUnixNano": str(found.start_ns),
        "maxEndTimeUnixNano": str(found.start_ns + found.duration_ns),
        "spanCount": found.spans,
        "errorSpanCount": found.failed,
        "orphanSpanCount": orphans,
        "services": [
            {"name": name, "spanCount": total, "errorSpanCount": failed}
            for name, (total, failed) in sorted(services.items())
        ],
    }


def dependencies(edges: Iterable[Edge]) -> list[dict[str, Any]]:
    """Return who called whom how often, all versions together; large numbers are text in protobuf's JSON."""
    return [{**one, "callCount": str(one["callCount"]), "source": "traces"} for one in v1.dependencies(edges)]


def error(code: int, message: str) -> dict[str, Any]:
    """Say what is wrong."""
    return {"error": {"httpCode": code, "message": message}}


def _resource(found: Resource) -> dict[str, Any]:
    inner = {"attributes": _attributes(found.attributes), "droppedAttributesCount": found.dropped}
    return {"resource": _set(inner), "scopeSpans": [], **_set({"schemaUrl": found.schema_url})}


def _scope(found: Scope) -> dict[str, Any]:
    inner = {
        "name": found.name,
        "version": found.version,
        "attributes": _attributes(found.attributes),
        "droppedAttributesCount": found.dropped,
    }
    return {"scope": _set(inner), "spans": [], **_set({"schemaUrl": found.schema_url})}


def _span(one: Span) -> dict[str, Any]:
    return _set(
        {
            "traceId": one.trace_id,
            "spanId": one.span_id,
            "parentSpanId": one.parent_span_id,
            "traceState": one.trace_state,
            "flags": one.flags,
            "name": one.name,
            "kind": KINDS.index(one.kind),
            "startTimeUnixNano": _long(one.start_ns),
            "endTimeUnixNano": _long(one.start_ns + one.duration_ns),
            "attributes": _attributes(one.attributes),
            "droppedAttributesCount": one.dropped[0],
            "events": [_event(event) for event in one.events],
            "droppedEventsCount": one.dropped[1],
            "links": [_link(link) for link in one.links],
            "droppedLinksCount": one.dropped[2],
        }
    ) | {"status": _set({"message": one.status_message, "code": STATUSES.index(one.status)})}


def _event(found: SpanEvent) -> dict[str, Any]:
    return _set(
        {
            "timeUnixNano": _long(found.at_ns),
            "name": found.name,
            "attributes": _attributes(found.attributes),
            "droppedAttributesCount": found.dropped,
        }
    )


def _link(found: SpanLink) -> dict[str, Any]:
    return _set(
        {
            "traceId": found.trace_id,
            "spanId": found.span_id,
            "traceState": found.trace_state,
            "attributes": _attributes(found.attributes),
            "droppedAttributesCount": found.dropped,
            "flags": found.flags,
        }
    )


def _attributes(found: Attributes) -> list[dict[str, Any]]:
    return [
        _set({"key": key}) if value is None else {**_set({"key": key}), "value": _value(value)}
        for key, value in found.items()
    ]


def _value(value: Value) -> dict[str, Any]:
    match value:
        case str():
            return {"stringValue": value}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _ENDLESS[str(value)]}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case list():
            return {"arrayValue": _set({"values": [_value(one) for one in value]})}
        case dict():
            return {"kvlistValue": _set({"values": _attributes(value)})}
        case _:
            return {}


def _long(number: int) -> str:
    """Write a 64-bit number: text, as JSON's numbers are not that precise."""
    return str(number) if number else ""


def _set(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are not as protobuf has them by default: it does not write those."""
    return {name: value for name, value in fields.items() if value}
