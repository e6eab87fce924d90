"""What Jaeger's first query API answers: traces as a list of spans with tags, references and numbered processes. Pure.

Before it: `routes` with values of the trace store. After it: JSON, for Grafana's Jaeger source above all. Times are
microseconds, so the nanoseconds of OTLP are cut; what Jaeger has no field for becomes a tag as its own OTLP reader makes it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from controller.model.insight import Edge
from controller.model.trace import Attributes, Resource, Span, SpanEvent, Trace, Value

NAMELESS = "unknown_service"
"""Service of a span whose resource has no name; OpenTelemetry's own word for it."""


def envelope(data: Any, *, total: int = 0, limit: int = 0, errors: Sequence[Any] = ()) -> dict[str, Any]:
    """Wrap an answer.

    Args:
        data: The answer, None when there is none.
        total: How many there are.
        limit: How many were asked for at most, as far as we give so many.
        errors: What is missing, made by `error`.
    """
    return {"data": data, "total": total, "limit": limit, "offset": 0, "errors": list(errors) or None}


def error(code: int, message: str, trace_id: str = "") -> dict[str, Any]:
    """Say what is wrong, and of which trace if it is one."""
    found = {"code": code, "msg": message}
    return {**found, "traceID": trace_id} if trace_id else found


def trace(found: Trace) -> dict[str, Any]:
    """Return one trace."""
    numbers: dict[int, str] = {}
    processes: dict[str, Any] = {}
    known: list[Resource] = []
    spans = []
    for one in found.spans:
        # Spans of one body share the object; equal ones of several bodies are looked up.
        if (name := numbers.get(id(one.resource))) is None:
            if one.resource not in known:
                known.append(one.resource)
            name = numbers[id(one.resource)] = f"p{known.index(one.resource) + 1}"
            processes.setdefault(name, _process(one.resource, one.service))
        spans.append(_span(one, name))
    return {"traceID": found.trace_id, "spans": spans, "processes": processes, "warnings": None}


def dependencies(edges: Iterable[Edge]) -> list[dict[str, Any]]:
    """Return who called whom how often, all versions together."""
    calls: dict[tuple[str, str], int] = {}
    for edge in edges:
        if edge.caller and edge.callee:
            key = (edge.caller, edge.callee)
            calls[key] = calls.get(key, 0) + edge.red.calls
    return [
        {"parent": caller, "child": callee, "callCount": count}
        for (caller, callee), count in sorted(calls.items())
    ]


def _process(resource: Resource, service: str) -> dict[str, Any]:
    rest = {key: value for key, value in resource.attributes.items() if key != "service.name"}
    return {"serviceName": service or NAMELESS, "tags": _tags(rest)}


def _span(one: Span, process: str) -> dict[str, Any]:
    parents = [("CHILD_OF", one.trace_id, one.parent_span_id)] if one.parent_span_id else []
    links = [("FOLLOWS_FROM", link.trace_id, link.span_id) for link in one.links]
    return {
        "traceID": one.trace_id,
        "spanID": one.span_id,
        "flags": one.flags & 0xFF,
        "operationName": one.name,
        "references": [
            {"refType": kind, "traceID": trace_id, "spanID": span_id}
            for kind, trace_id, span_id in (*parents, *links)
        ],
        "startTime": one.start_ns // 1_000,
        "duration": one.duration_ns // 1_000,
        "tags": [*_tags(one.attributes), *_tags(_fields(one))],
        "logs": [_log(event) for event in one.events],
        "processID": process,
        "warnings": _warnings(one),
    }


def _fields(one: Span) -> Attributes:
    """Return what a span has beside its attributes, under the names that Jaeger gives it."""
    found: dict[str, Value] = {
        "span.kind": one.kind if one.kind != "unspecified" else "",
        "otel.status_code": one.status.upper() if one.status != "unset" else "",
        "otel.status_description": one.status_message,
        "otel.scope.name": one.scope.name,
        "otel.scope.version": one.scope.version,
        "w3c.tracestate": one.trace_state,
    }
    shown = {key: value for key, value in found.items() if value and key not in one.attributes}
    if one.status == "error" and "error" not in one.attributes:
        shown["error"] = True
    return shown


def _warnings(one: Span) -> list[str] | None:
    names = ("attributes", "events", "links")
    lost = [f"{number} {name}" for number, name in zip(one.dropped, names, strict=True) if number]
    return [f"the SDK left out {', '.join(lost)}"] if lost else None


def _log(event: SpanEvent) -> dict[str, Any]:
    name: list[dict[str, Any]] = []
    if "event" not in event.attributes:
        name = [{"key": "event", "type": "string", "value": event.name}]
    return {"timestamp": event.at_ns // 1_000, "fields": [*name, *_tags(event.attributes)]}


def _tags(attributes: Attributes) -> list[dict[str, Any]]:
    return [_tag(key, value) for key, value in attributes.items()]


def _tag(key: str, value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"key": key, "type": "bool", "value": value}
        case int():
            return {"key": key, "type": "int64", "value": value}
        case float() if math.isfinite(value):
            return {"key": key, "type": "float64", "value": value}
        case bytes():
            return {"key": key, "type": "binary", "value": base64.b64encode(value).decode()}
        case str():
            return {"key": key, "type": "string", "value": value}
        case None:
            return {"key": key, "type": "string", "value": ""}
        case _:  # lists, maps, and the floats that JSON does not have
            return {"key": key, "type": "string", "value": json.dumps(_plain(value), ensure_ascii=False)}


def _plain(value: Value) -> Any:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case list():
            return [_plain(one) for one in value]
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case _:
            return value
