"""Spans for the contract suite of trace stores: one by hand, and random sets of them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from controller.model.insight import LADDER_NS
from controller.model.trace import CORRELATION, KINDS, STATUSES, Resource, Span, SpanEvent, SpanLink, Value
from controller.traces import decoding

SECOND_NS = 1_000_000_000
NOON_NS = 1_790_000_000 * SECOND_NS
"""Some moment, at the begin of a bucket of 10 s, about the time of writing."""


def trace_id(number: int) -> str:
    return f"{number:032x}"


def span_id(number: int) -> str:
    return f"{number:016x}"


def span(
    number: int,
    *,
    trace: int = 1,
    parent: int = 0,
    service: str = "catalog",
    version: str = "v1",
    name: str = "GET /products",
    kind: str = "server",
    at_s: float = 0,
    took_ms: float = 5,
    failed: bool = False,
    message: str = "",
    links: Sequence[tuple[int, int]] = (),
    attributes: dict[str, Value] | None = None,
    resource: dict[str, Value] | None = None,
    events: Sequence[SpanEvent] = (),
) -> Span:
    """Return a span; ids are numbers, links pairs of trace and span, times seconds after `NOON_NS`."""
    return Span(
        trace_id=trace_id(trace),
        span_id=span_id(number),
        parent_span_id=span_id(parent) if parent else "",
        name=name,
        kind=kind,
        start_ns=NOON_NS + round(at_s * SECOND_NS),
        duration_ns=round(took_ms * 1_000_000),
        status="error" if failed else "unset",
        status_message=message,
        attributes=attributes or {},
        links=tuple(SpanLink(trace_id(of), span_id(one)) for of, one in links),
        events=tuple(events),
        resource=Resource({"service.name": service, "service.version": version, **(resource or {})}),
    )


def bodies(spans: Sequence[Span], *, size: int = 1_000) -> list[bytes]:
    """Return OTLP bodies with at most so many spans each."""
    return [decoding.encode(spans[at : at + size]) for at in range(0, len(spans), size)]


VALUES = st.one_of(
    st.sampled_from(["", "t1", "t2", "ä ✓", "503", "12.5"]),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([0.0, 0.5, -2.25, 3.0, 1e6]),
    st.sampled_from([b"", b"\x00\xff"]),
    st.just(["x", 1]),
    st.just({"a": 1}),
    st.none(),
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["tenant", "http.status", "retry", "release.id", CORRELATION, "odd key\n"]),
    VALUES,
    max_size=4,
)
PEERS = st.dictionaries(
    st.sampled_from(["peer.service", "server.address", "messaging.destination.name"]),
    st.sampled_from(["orders", "db", "a", ""]),
    max_size=2,
)
DURATIONS = st.one_of(
    st.sampled_from([0, 1, LADDER_NS[0], LADDER_NS[0] + 1, LADDER_NS[-1], LADDER_NS[-1] + 1, 2**62]),
    st.sampled_from(LADDER_NS),
    st.integers(0, 10**10),
)
MESSAGES = st.sampled_from(["", "order o-12 not found", " 7 ", "timeout after 30ms", "ä" * 300, "no stock"])
EVENTS = st.lists(
    st.builds(
        SpanEvent,
        st.sampled_from(["exception", "log"]),
        st.integers(0, 2**63 - 1),
        st.dictionaries(st.just("exception.type"), st.sampled_from(["KeyError", "", "Http2Error"])),
    ),
    max_size=2,
)


@st.composite
def span_sets(draw: st.DrawFn, *, most: int = 12) -> list[Span]:
    """Draw spans of a few traces, services and minutes: parents, links and orphans among them, each id once."""
    count = draw(st.integers(0, most))
    identities = [(draw(st.integers(1, 3)), number) for number in range(1, count + 1)]
    choices = [*identities, (1, 99)]
    found = []
    for trace, number in identities:
        service = draw(st.sampled_from(["a", "b", "c"]))
        parent = draw(st.sampled_from([0, *(one for of, one in choices if of == trace and one != number)]))
        failed = draw(st.sampled_from(STATUSES))
        attributes = {**draw(ATTRIBUTES), **draw(PEERS)}
        resource: dict[str, Value] = {
            "service.name": service,
            "service.version": draw(st.sampled_from(["v1", "v2"])),
        }
        if draw(st.booleans()):
            resource["pod"] = draw(VALUES)
        found.append(
            Span(
                trace_id=trace_id(trace),
                span_id=span_id(number),
                parent_span_id=span_id(parent) if parent else "",
                name=draw(st.sampled_from(["GET /", "POST /", "ä"])),
                kind=draw(st.sampled_from(KINDS)),
                start_ns=NOON_NS
                + draw(st.integers(-5, 40)) * 2 * SECOND_NS
                + draw(st.sampled_from([0, 1, -1])),
                duration_ns=draw(DURATIONS),
                status=failed,
                status_message=draw(MESSAGES) if failed == "error" else "",
                attributes=attributes,
                events=tuple(draw(EVENTS)),
                links=tuple(
                    SpanLink(trace_id(of), span_id(one))
                    for of, one in draw(st.lists(st.sampled_from(choices), max_size=2))
                ),
                resource=Resource(resource),
            )
        )
    return found
