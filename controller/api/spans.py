"""Spans, traces and trees as JSON: RFC 3339 times, durations in milliseconds, nothing that JSON cannot hold.

Before it: the routes of traces and correlations. After it: people, `serinus traces`, the console. A tree is a list of
rows, depth first, each with its offset from the trace's begin, so that a bar can be drawn without counting.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from controller.model.insight import TracePage
from controller.model.trace import Attributes, Span, Trace, TraceSummary, Value
from controller.traces.tree import Node, Tree, most_telling, services_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_STRETCHES = 1_000
"""Of a critical path; the longest are kept."""
MOST_FAILURES = 100


def page(found: TracePage) -> dict[str, Any]:
    """Return one page of a search."""
    since_ns = found.searched_since_ns
    return {
        "traces": [summary(one) for one in found.traces],
        "next": found.cursor or None,
        "searched_since": moment(since_ns) if since_ns else None,
    }


def summary(found: TraceSummary) -> dict[str, Any]:
    """Return one line of a search."""
    return {
        "trace_id": found.trace_id,
        "root_service": found.root_service,
        "root_name": found.root_name,
        "started_at": moment(found.start_ns),
        "duration_ms": ms(found.duration_ns),
        "spans": found.spans,
        "failed": found.failed,
        "matched": found.matched,
        "services": list(found.services),
        "correlation_id": found.correlation_id,
        "span_id": found.span_id or None,
        "links": links(found.trace_id, found.correlation_id),
    }


def links(trace_id: str, correlation_id: str) -> dict[str, str]:
    """Return where to go on from a trace."""
    found = {"self": f"/v1/traces/{trace_id}", "full": f"/v1/traces/{trace_id}?full=true"}
    if correlation_id:
        found["correlation"] = f"/v1/correlations/{quote(correlation_id, safe='')}"
    return found


def whole(found: Trace) -> dict[str, Any]:
    """Return all spans of a trace with everything they carry."""
    return {"trace_id": found.trace_id, "spans": [span(one) for one in found.spans]}


def tree(found: Tree, limit: int) -> dict[str, Any]:
    """Return a tree as a summary: rows, critical path, first failures, time by service.

    Args:
        found: The tree.
        limit: Most rows; the most telling ones are shown then, and each says how many below it are not.
    """
    shown = most_telling(found, limit)
    hidden = _hidden(found, shown)
    return {
        "started_at": moment(found.start_ns),
        "duration_ms": ms(found.duration_ns),
        "spans": found.total,
        "shown": len(shown),
        "failed": sum(node.span.status == "error" for node in found.nodes),
        "services": [
            {"service": service, "version": version, "spans": spans, "self_ms": ms(self_ns)}
            for (service, version), (spans, self_ns) in services_of(found).items()
        ],
        "tree": [_row(found, index, hidden[index]) for index in shown],
        "critical_path": _critical(found),
        "failures": [
            {
                **_named(found.nodes[index]),
                "error": found.nodes[index].span.error,
                "offset_ms": ms(found.nodes[index].span.start_ns - found.start_ns),
            }
            for index in found.failures[:MOST_FAILURES]
        ],
    }


def span(found: Span) -> dict[str, Any]:
    """Return one span with everything that it carries."""
    return {
        "trace_id": found.trace_id,
        "span_id": found.span_id,
        "parent_span_id": found.parent_span_id or None,
        "service": found.service,
        "version": found.version,
        "name": found.name,
        "kind": found.kind,
        "started_at": moment(found.start_ns),
        "duration_ms": ms(found.duration_ns),
        "status": found.status,
        "status_message": found.status_message,
        "correlation_id": found.correlation_id,
        "trace_state": found.trace_state,
        "flags": found.flags,
        "attributes": attributes(found.attributes),
        "events": [
            {
                "name": one.name,
                "at": moment(one.at_ns),
                "attributes": attributes(one.attributes),
                "dropped": one.dropped,
            }
            for one in found.events
        ],
        "links": [
            {
                "trace_id": one.trace_id,
                "span_id": one.span_id,
                "attributes": attributes(one.attributes),
                "trace_state": one.trace_state,
                "flags": one.flags,
                "dropped": one.dropped,
            }
            for one in found.links
        ],
        "resource": {
            "attributes": attributes(found.resource.attributes),
            "schema_url": found.resource.schema_url,
            "dropped": found.resource.dropped,
        },
        "scope": {
            "name": found.scope.name,
            "version": found.scope.version,
            "attributes": attributes(found.scope.attributes),
            "schema_url": found.scope.schema_url,
            "dropped": found.scope.dropped,
        },
        "dropped": dict(zip(("attributes", "events", "links"), found.dropped, strict=True)),
    }


def attributes(found: Attributes) -> dict[str, Any]:
    """Return attributes as JSON."""
    return {name: _value(value) for name, value in found.items()}


def moment(at_ns: int) -> str:
    """Say a moment in UTC to the nanosecond (RFC 3339)."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    whole_s = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole_s}.{rest:09d}Z"


def ms(duration_ns: int) -> float:
    """Say a duration in milliseconds."""
    return duration_ns / 1e6


def _row(found: Tree, index: int, hidden: int) -> dict[str, Any]:
    node = found.nodes[index]
    return {
        **_named(node),
        "trace_id": node.span.trace_id,
        "parent_span_id": node.span.parent_span_id or None,
        "depth": node.depth,
        "joined": node.joined.value,
        "kind": node.span.kind,
        "status": node.span.status,
        "error": node.span.error,
        "offset_ms": ms(node.span.start_ns - found.start_ns),
        "duration_ms": ms(node.span.duration_ns),
        "self_ms": ms(node.self_ns),
        "critical_ms": ms(node.critical_ns),
        "is_first_failure": node.is_first_failure,
        "follows": [found.nodes[one].span.span_id for one in node.follows],
        "hidden": hidden,
    }


def _named(node: Node) -> dict[str, str]:
    return {
        "span_id": node.span.span_id,
        "service": node.span.service,
        "version": node.span.version,
        "name": node.span.name,
    }


def _hidden(found: Tree, shown: Sequence[int]) -> Mapping[int, int]:
    """Return how many spans below each shown one are not shown."""
    below = dict.fromkeys(shown, 0)
    for index in reversed(shown):
        above = found.nodes[index].above
        if above is not None:
            below[above] += 1 + below[index]
    return {index: found.nodes[index].below - count for index, count in below.items()}


def _critical(found: Tree) -> list[dict[str, Any]]:
    longest = sorted(found.critical, key=lambda one: one.from_ns - one.until_ns)[:MOST_STRETCHES]
    nobody: dict[str, str | None] = {"span_id": None, "service": None, "version": None, "name": None}
    return [
        {
            **(nobody if one.index is None else _named(found.nodes[one.index])),
            "offset_ms": ms(one.from_ns - found.start_ns),
            "duration_ms": ms(one.until_ns - one.from_ns),
        }
        for one in sorted(longest, key=lambda one: one.from_ns)
    ]


def traces_of(found: Tree) -> list[dict[str, Any]]:
    """Return the traces that one timeline is made of, by start."""
    nodes: dict[str, list[Node]] = {}
    for node in found.nodes:
        nodes.setdefault(node.span.trace_id, []).append(node)
    rows = [_trace_row(found, trace_id, of_it) for trace_id, of_it in nodes.items()]
    return sorted(rows, key=lambda row: row["offset_ms"])


def _trace_row(found: Tree, trace_id: str, nodes: Sequence[Node]) -> dict[str, Any]:
    first = min(nodes, key=lambda node: (bool(node.span.parent_span_id), node.span.start_ns))
    return {
        "trace_id": trace_id,
        "root_service": first.span.service,
        "root_name": first.span.name,
        "offset_ms": ms(min(node.span.start_ns for node in nodes) - found.start_ns),
        "spans": len(nodes),
        "failed": sum(node.span.status == "error" for node in nodes),
        "links": {"self": f"/v1/traces/{trace_id}"},
    }


def _value(found: Value) -> Any:
    """Say a value as JSON: bytes as base64, and a number that JSON cannot hold as its name (a service may measure NaN)."""
    match found:
        case bytes():
            return base64.b64encode(found).decode()
        case float() if not math.isfinite(found):
            return "NaN" if math.isnan(found) else "Infinity" if found > 0 else "-Infinity"
        case list():
            return _values(found)
        case dict():
            return {name: _value(value) for name, value in found.items()}
        case _:
            return found


def _values(found: Iterable[Value]) -> list[Any]:
    return [_value(one) for one in found]
