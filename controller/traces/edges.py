"""Who called whom, from the spans themselves. Pure.

Before it: the memory store. After it: `ServiceMap`. The rules, which SQL must meet too:

* A span S **enters from** a span P when P is its parent (same trace), or S is a consumer that links to P (any trace);
  and P is of another service, or P is a client or producer and S a server or consumer (a service that calls itself).
* P is looked for among spans that started at most 10 minutes before S, or at most 10 s after it (clocks differ).
* Every pair (P, S) is one call from P's version to S's version, counted when S started and with S's duration and status.
  It is a message when S is a consumer or P a producer. A link to the span that is the parent too is no second pair.
* A client or producer span with a **peer** (`peer_of`) is a call to that peer, without a version, counted when it
  started and with its own duration and status; a message when it is a producer. In the answer, the peers of one
  caller's version that a counted pair of the same kind went through (P had that peer) are left out: the callee speaks
  for itself.
* Time ranges are widened to whole buckets of 10 s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.model.insight import Edge, ServiceMap
from controller.model.searching import Range, Search
from controller.model.trace import Span, text
from controller.traces import adding, selecting
from controller.traces.tally import Tally, in_range, widened

BEFORE_NS = 600_000_000_000
AFTER_NS = 10_000_000_000
"""A caller started at most so long before, or after, the span that it called."""
CALLERS = ("client", "producer")
QUEUE = "messaging.destination.name"
PEERS = ("peer.service", "server.address", "net.peer.name", QUEUE)
MOST_TRACES_OF_MAP = 1_000
AROUND_NS = 3_600_000_000_000
"""A map of found traces looks at spans that started at most so long before or after the newest one that fits."""


@dataclass(frozen=True, slots=True, order=True)
class Hop:
    """From whom to whom.

    Args:
        callee: A service, or a peer when `is_peer`.
        via: The peer that the caller named, "" when it named none. Not part of an edge.
    """

    caller: str
    caller_version: str
    callee: str
    callee_version: str
    kind: str
    via: str
    is_peer: bool


def service_map(spans: Sequence[Span], within: Range) -> ServiceMap:
    """Return the services of a time, and who called whom."""
    counted = _hops(in_range(spans, widened(within)), by_id(spans))
    return ServiceMap(adding.services(spans, within), edges_of(counted))


def map_of(spans: Sequence[Span], search: Search) -> ServiceMap:
    """Return the same of the newest 1 000 traces with a span that fits, by the start of the newest that fits.

    Of each, spans that started within an hour of that span count.
    """
    newest: dict[str, int] = {}
    for span in spans:
        if selecting.fits(search, span):
            newest[span.trace_id] = max(newest.get(span.trace_id, 0), span.start_ns)
    chosen = sorted(newest.items(), key=lambda one: (one[1], one[0]), reverse=True)[:MOST_TRACES_OF_MAP]
    around = dict(chosen)
    found = [
        span
        for span in spans
        if span.trace_id in around and abs(span.start_ns - around[span.trace_id]) <= AROUND_NS
    ]
    return ServiceMap(adding.services(found, Range()), edges_of(_hops(found, by_id(spans))))


def edges_of(counted: Mapping[Hop, Tally]) -> tuple[Edge, ...]:
    """Return edges from counted hops: peers whose calls reached a service go, then `via` is dropped and counts merge.

    By caller, its version, callee, its version, kind.
    """
    reached = {
        (hop.caller, hop.caller_version, hop.via, hop.kind) for hop in counted if not hop.is_peer and hop.via
    }
    found: dict[tuple[str, str, str, str, str], Tally] = defaultdict(Tally)
    for hop, mine in counted.items():
        if not hop.is_peer or (hop.caller, hop.caller_version, hop.callee, hop.kind) not in reached:
            found[hop.caller, hop.caller_version, hop.callee, hop.callee_version, hop.kind].merge(mine)
    return tuple(Edge(*ends, mine.red()) for ends, mine in sorted(found.items()))


def by_id(spans: Sequence[Span]) -> dict[tuple[str, str], Span]:
    """Return spans by trace id and span id."""
    return {(span.trace_id, span.span_id): span for span in spans}


def callers_of(span: Span, known: Mapping[tuple[str, str], Span]) -> Iterator[Span]:
    """Return the spans that a span enters from, each once."""
    wanted = [(span.trace_id, span.parent_span_id)] if span.parent_span_id else []
    if span.kind == "consumer":
        wanted += [(link.trace_id, link.span_id) for link in span.links]
    for key in dict.fromkeys(wanted):
        caller = known.get(key)
        if caller is not None and enters(span, caller):
            yield caller


def enters(span: Span, caller: Span) -> bool:
    """Whether a parent or linked span is its caller."""
    return -AFTER_NS <= span.start_ns - caller.start_ns <= BEFORE_NS and (
        caller.service != span.service or (caller.kind in CALLERS and span.kind in adding.SERVED)
    )


def peer_of(span: Span) -> str:
    """Return what a span says that it called, "" when it says nothing.

    The first of `PEERS` that is text and not empty; of a producer or consumer, first of all its queue.
    """
    names = (QUEUE, *PEERS) if span.kind in ("producer", "consumer") else PEERS
    return next((found for name in names if (found := text(span.attributes, name))), "")


def kind_of(span: Span, caller: Span) -> str:
    """Return message or call."""
    return "message" if span.kind == "consumer" or caller.kind == "producer" else "call"


def _hops(spans: Sequence[Span], known: Mapping[tuple[str, str], Span]) -> dict[Hop, Tally]:
    found: dict[Hop, Tally] = defaultdict(Tally)
    for span in spans:
        for caller in callers_of(span, known):
            via = peer_of(caller) if caller.kind in CALLERS else ""
            hop = Hop(
                caller.service, caller.version, span.service, span.version, kind_of(span, caller), via, False
            )
            found[hop].take(span)
        if span.kind in CALLERS and (peer := peer_of(span)):
            kind = "message" if span.kind == "producer" else "call"
            found[Hop(span.service, span.version, peer, "", kind, "", True)].take(span)
    return found
