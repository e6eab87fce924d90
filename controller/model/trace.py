"""Spans as the trace port returns them: decoded on read, kept raw until then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened inside a span."""

    name: str
    at_ns: int
    attributes: Mapping[str, Scalar | list[Scalar]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span.

    Args:
        trace_id: 32 lower-case hex digits.
        span_id: 16 lower-case hex digits.
        parent_span_id: 16 hex digits, "" for a root.
        service: `service.name` of its resource.
        version: `service.version` of its resource, "" when not set.
        name: The operation.
        kind: server, client, producer, consumer or internal.
        start_ns: Nanoseconds since 1970 (UTC).
        duration_ns: Nanoseconds.
        status: unset, ok or error.
        status_message: As the service wrote it.
        attributes: Of the span.
        events: In the order they came.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    service: str
    version: str
    name: str
    kind: str
    start_ns: int
    duration_ns: int
    status: str
    status_message: str = ""
    attributes: Mapping[str, Scalar | list[Scalar]] = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """All known spans of one trace, by start time."""

    trace_id: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One line of a search answer.

    Args:
        failed: How many of its spans have status error.
    """

    trace_id: str
    root_service: str
    root_name: str
    start_ns: int
    duration_ns: int
    spans: int
    failed: int
    correlation_id: str = ""
