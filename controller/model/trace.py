"""Spans as a trace store returns them: everything that came in OTLP, decoded on read, and short forms of it.

Before it: an adapter of `controller.traces`. After it: the explorer of the API, `serinus traces`, and the explanation of
a rollback. Times are nanoseconds since 1970 (UTC), ids lower-case hex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Value: TypeAlias = "str | int | float | bool | bytes | list[Value] | dict[str, Value] | None"
"""Whatever an OTLP attribute may hold; None is a value that was not set. NaN and infinity may occur."""
Attributes: TypeAlias = Mapping[str, Value]

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
"""By the number that OTLP gives them."""
STATUSES = ("unset", "ok", "error")
CORRELATION = "correlation.id"
RELEASE = "release.id"
TRACK = "release.track"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened inside a span."""

    name: str
    at_ns: int
    attributes: Attributes = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that this one follows without being its child, such as a message's producer."""

    trace_id: str
    span_id: str
    attributes: Attributes = field(default_factory=dict)
    trace_state: str = ""
    flags: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Resource:
    """What sent a span: service, version, instance and the rest."""

    attributes: Attributes = field(default_factory=dict)
    schema_url: str = ""
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """The library that made a span."""

    name: str = ""
    version: str = ""
    attributes: Attributes = field(default_factory=dict)
    schema_url: str = ""
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """One span, whole.

    Args:
        parent_span_id: "" for a root.
        kind: One of `KINDS`.
        status: One of `STATUSES`.
        status_message: As the service wrote it.
        events: In the order they came; so are links.
        dropped: Attributes, events and links that the SDK left out.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: str
    start_ns: int
    duration_ns: int
    status: str = "unset"
    status_message: str = ""
    trace_state: str = ""
    flags: int = 0
    attributes: Attributes = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    resource: Resource = Resource()
    scope: Scope = Scope()
    dropped: tuple[int, int, int] = (0, 0, 0)

    @property
    def service(self) -> str:
        """`service.name` of its resource, "" when not set."""
        return text(self.resource.attributes, "service.name")

    @property
    def version(self) -> str:
        """`service.version` of its resource, "" when not set."""
        return text(self.resource.attributes, "service.version")

    @property
    def correlation_id(self) -> str:
        """The correlation ID that it carries, "" when none."""
        return text(self.attributes, CORRELATION)


@dataclass(frozen=True, slots=True)
class Trace:
    """All known spans of one trace, by start time."""

    trace_id: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class SpanOutline:
    """A span without its attributes and events, so that a trace of 50 000 stays usable.

    Args:
        linked: Ids of the spans that it links to, in this or another trace.
        error: What failed, in few words: `exception.type`, else `error.type`, else the status message; "" if nothing.
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
    linked: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """Spans of one trace, or of all traces of a correlation ID, by start time.

    Args:
        spans: At most as many as asked for.
        total: How many are known.
    """

    spans: tuple[SpanOutline, ...]
    total: int


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One line of a search answer.

    Args:
        spans: How many are known of the trace.
        failed: How many of them have status error.
        matched: How many of them fit the search.
        services: Names, sorted.
        span_id: The newest span that fits the search; "" when nothing was asked of spans.
    """

    trace_id: str
    root_service: str
    root_name: str
    start_ns: int
    duration_ns: int
    spans: int
    failed: int
    correlation_id: str = ""
    matched: int = 0
    services: tuple[str, ...] = ()
    span_id: str = ""


def text(attributes: Attributes, key: str) -> str:
    """Return an attribute that is text, "" when it is absent or something else."""
    found = attributes.get(key)
    return found if isinstance(found, str) else ""
