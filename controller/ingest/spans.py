"""Spans that a store can keep: the others are left out, or clipped and marked.

Before it: `otlp`, with a parsed body. After it: the trace store, which trusts that ids have their length and times fit
into 64 bits. Left out: an id that is missing, zero or of a wrong length; a start at or after 2262-04-11; the starts of
more than 12 months in one body. Clipped: an end before the start or too late, times of events that are too late, a
parent id of a wrong length, a kind that OTLP does not know, links without proper ids, too many or too long
parts (`clipping`). Values are looked at only where the wire form is long.
"""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controller.ingest.clipping import (
    LONGEST_NAME,
    LONGEST_VALUE,
    MOST_ATTRIBUTES,
    clip_attributes,
    clip_holder_in,
    clip_text,
    mark,
)
from controller.ingest.floods import LONG
from controller.ingest.outcome import Outcome

TOO_LATE_NS = 2**63 - 1
"""2262-04-11; a store keeps nanoseconds in 64 bits with a sign."""
_ZERO_TRACE, _ZERO_SPAN = bytes(16), bytes(8)
_LAST_KIND = 5
BAD_ID = "trace id or span id is missing, zero or of a wrong length"
_WINDOW_NS = 30 * 86_400 * 1_000_000_000
MOST_WINDOWS = 12
"""Months of one body: a store files spans by time, and each month costs it files of its own."""
SCATTERED = f"the starts of one body are scattered over more than {MOST_WINDOWS} months"
BAD_TIME = "the start is in the year 2262 or later; expected nanoseconds since 1970"


def clean(message: ExportTraceServiceRequest, outcome: Outcome, *, closely: bool) -> None:
    """Take out and cut what cannot be kept.

    Args:
        message: Changed in place.
        outcome: Counts spans.
        closely: Something in it is long on the wire.
    """
    windows: set[int] = set()
    for group in message.resource_spans:
        if closely:
            clip_holder_in(group.resource, outcome)
        for part in group.scope_spans:
            if closely:
                clip_holder_in(part.scope, outcome)
            bad = []
            for index, span in enumerate(part.spans):
                reason = _wrong(span) or _scattered(span, windows)
                if reason:
                    bad.append(index)
                    outcome.reject(reason)
                    continue
                names = _repaired(span)
                if closely and span.ByteSize() > LONG:
                    _clip(span, names)
                if names:
                    mark(span.attributes, names)
                    outcome.clip()
            for index in reversed(bad):
                del part.spans[index]
            outcome.kept += len(part.spans)


def _wrong(span: Span) -> str:
    trace_id, span_id = span.trace_id, span.span_id
    if len(trace_id) != 16 or len(span_id) != 8 or trace_id == _ZERO_TRACE or span_id == _ZERO_SPAN:
        return BAD_ID
    return BAD_TIME if span.start_time_unix_nano >= TOO_LATE_NS else ""


def _scattered(span: Span, windows: set[int]) -> str:
    window = span.start_time_unix_nano // _WINDOW_NS
    if window in windows:
        return ""
    if len(windows) >= MOST_WINDOWS:
        return SCATTERED
    windows.add(window)
    return ""


def _repaired(span: Span) -> set[str]:
    """Put right what no store could read, and return the names of what was changed."""
    names: set[str] = set()
    end = span.end_time_unix_nano
    if end < span.start_time_unix_nano:
        span.end_time_unix_nano = span.start_time_unix_nano
        names.add("end_time")
    elif end > TOO_LATE_NS:
        span.end_time_unix_nano = TOO_LATE_NS
        names.add("end_time")
    parent = span.parent_span_id
    if parent and (len(parent) != 8 or parent == _ZERO_SPAN):
        span.parent_span_id = b""
        names.add("parent_span_id")
    if not 0 <= span.kind <= _LAST_KIND:
        span.kind = Span.SPAN_KIND_UNSPECIFIED
        names.add("kind")
    if span.links:
        _repair_links(span, names)
    if span.events:
        for event in span.events:
            if event.time_unix_nano > TOO_LATE_NS:
                event.time_unix_nano = TOO_LATE_NS
                names.add("events")
    return names


def _repair_links(span: Span, names: set[str]) -> None:
    bad = [
        index
        for index, link in enumerate(span.links)
        if len(link.trace_id) != 16 or len(link.span_id) != 8 or link.trace_id == _ZERO_TRACE
    ]
    for index in reversed(bad):
        del span.links[index]
    if bad:
        span.dropped_links_count = min(span.dropped_links_count + len(bad), 2**32 - 1)
        names.add("links")


def _clip(span: Span, names: set[str]) -> None:
    for field, dropped in (("events", "dropped_events_count"), ("links", "dropped_links_count")):
        items = getattr(span, field)
        over = len(items) - MOST_ATTRIBUTES
        if over > 0:
            del items[MOST_ATTRIBUTES:]
            setattr(span, dropped, min(getattr(span, dropped) + over, 2**32 - 1))
            names.add(field)
    clip_text(span, "name", LONGEST_NAME, names)
    clip_text(span, "trace_state", LONGEST_NAME, names)
    clip_text(span.status, "message", LONGEST_VALUE, names)
    clip_attributes(span, names)
    for event in span.events:
        clip_text(event, "name", LONGEST_NAME, names)
        clip_attributes(event, names)
    for link in span.links:
        clip_text(link, "trace_state", LONGEST_NAME, names)
        clip_attributes(link, names)
