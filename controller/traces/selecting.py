"""Whether a span fits a search, and what a search says of the traces it finds. Pure.

Before it: spans of the memory store. After it: summaries, newest first. Stores that speak SQL say the same in SQL; the
contract suite holds them against this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller.errors import InvalidInput
from controller.model import condition
from controller.model.insight import TracePage
from controller.model.searching import Page, Search
from controller.model.trace import RELEASE, TRACK, Outline, Span, SpanOutline, TraceSummary, text

Key = tuple[int, str]
"""Start of the newest span that fits, and trace id: the order of traces in an answer."""


def fits(search: Search, span: Span) -> bool:
    """Whether all conditions of a search hold for a span."""
    wanted = search.condition
    return (
        search.within.since_ns <= span.start_ns < search.within.until_ns
        and all(
            not asked or asked == found
            for asked, found in (
                (search.service, span.service),
                (search.version, span.version),
                (search.operation, span.name),
                (search.kind, span.kind),
                (search.status, span.status),
                (search.release, text(span.attributes, RELEASE)),
                (search.track, text(span.attributes, TRACK)),
                (search.correlation_id, span.correlation_id),
            )
        )
        and span.duration_ns >= search.min_ns
        and (not search.max_ns or span.duration_ns <= search.max_ns)
        and (wanted is None or condition.fits(wanted, span.attributes, span.resource.attributes))
    )


def page_of(traces: Mapping[str, Sequence[Span]], search: Search, page: Page) -> TracePage:
    """Return one page of the traces that have a span that fits."""
    before = read_cursor(page.cursor) if page.cursor else None
    found: list[tuple[Key, TraceSummary]] = []
    for trace_id, spans in traces.items():
        matched = [span for span in spans if fits(search, span)]
        if matched:
            newest = max(matched, key=lambda span: (span.start_ns, span.span_id))
            key = (newest.start_ns, trace_id)
            if before is None or key < before:
                found.append((key, summary(spans, matched=len(matched), span_id=newest.span_id)))
    found.sort(key=lambda one: one[0], reverse=True)
    shown = found[: page.limit]
    cursor = write_cursor(shown[-1][0]) if len(found) > len(shown) else ""
    return TracePage(tuple(one for _, one in shown), cursor, search.within.since_ns)


def summary(spans: Sequence[Span], *, matched: int, span_id: str) -> TraceSummary:
    """Return one line about a trace from all its spans."""
    root = min(spans, key=lambda span: (bool(span.parent_span_id), span.start_ns, span.span_id))
    start_ns = min(span.start_ns for span in spans)
    return TraceSummary(
        trace_id=root.trace_id,
        root_service=root.service,
        root_name=root.name,
        start_ns=start_ns,
        duration_ns=max(span.start_ns + span.duration_ns for span in spans) - start_ns,
        spans=len(spans),
        failed=sum(span.status == "error" for span in spans),
        correlation_id=next((span.correlation_id for span in spans if span.correlation_id), ""),
        matched=matched,
        services=tuple(sorted({span.service for span in spans})),
        span_id=span_id,
    )


def outline_of(spans: Iterable[Span], limit: int) -> Outline:
    """Return spans without attributes, by start, the earliest if there are too many."""
    found = sorted(spans, key=lambda span: (span.start_ns, span.span_id))
    return Outline(tuple(_short(span) for span in found[:limit]), len(found))


def error_of(span: Span) -> str:
    """Say in few words what failed: `exception.type`, else `error.type`, else the message; "" if nothing failed."""
    if span.status != "error":
        return ""
    for event in span.events:
        if kind := text(event.attributes, "exception.type"):
            return kind
    return text(span.attributes, "error.type") or span.status_message


def write_cursor(key: Key) -> str:
    """Say a place in the order."""
    return f"{key[0]}-{key[1]}"


def read_cursor(cursor: str) -> Key:
    """Read a place in the order.

    Raises:
        InvalidInput: It is none.
    """
    start, _, trace_id = cursor.partition("-")
    if not (start.isascii() and start.isdigit() and len(start) < 20 and is_trace_id(trace_id)):
        raise InvalidInput("expected a cursor of an earlier answer", field="cursor")
    return int(start), trace_id


def is_trace_id(found: str) -> bool:
    """Whether it is 32 lower-case hex digits."""
    return len(found) == 32 and set(found) <= set("0123456789abcdef")


def _short(span: Span) -> SpanOutline:
    return SpanOutline(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        service=span.service,
        version=span.version,
        name=span.name,
        kind=span.kind,
        start_ns=span.start_ns,
        duration_ns=span.duration_ns,
        status=span.status,
        linked=tuple(link.span_id for link in span.links),
        error=error_of(span),
    )
