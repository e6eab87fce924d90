"""Trace store in memory: keeps the newest raw bodies and decodes them when somebody asks.

Before it: `controller.ingest`, which has validated the bodies. After it: the answers of the telemetry process. For
tests, and for a machine without a disk to spare: nothing is indexed and every question reads everything, on a thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from controller.errors import TracesUnavailable
from controller.model.insight import (
    AttributeKey,
    OperationRow,
    RateRow,
    ServiceMap,
    ServiceRow,
    Share,
    TracePage,
    VersionDifference,
)
from controller.model.searching import Page, Range, Search
from controller.model.trace import Outline, Span, Trace
from controller.traces import adding, decoding, differing, edges, selecting, sharing
from controller.traces.port import (
    ALWAYS,
    FIRST_PAGE,
    MOST_SPANS,
    Retention,
    StoreSize,
    TraceCapabilities,
    TraceStore,
)

Answer = TypeVar("Answer")


class MemoryTraces(TraceStore):
    """Keeps the newest bodies up to a number of bytes.

    Args:
        keep_bytes: When the bodies are larger together, the oldest are dropped and counted.
    """

    def __init__(self, keep_bytes: int = 64 * 1024 * 1024) -> None:
        self._keep_bytes = keep_bytes
        self._bodies: deque[bytes] = deque()
        self._held_bytes = 0
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many bodies were dropped to make room, since the start."""
        return self._dropped

    @property
    def held_bytes(self) -> int:
        """The size of all bodies kept now, bytes."""
        return self._held_bytes

    async def ingest(self, bodies: Sequence[bytes]) -> None:
        """Keep bodies. Never blocks.

        Raises:
            TracesUnavailable: Together they are larger than the whole store; nothing was kept.
        """
        size = sum(map(len, bodies))
        if size > self._keep_bytes:
            raise TracesUnavailable(
                f"a batch of {size} bytes is larger than the store of {self._keep_bytes} bytes"
            )
        self._bodies.extend(bodies)
        self._held_bytes += size
        while self._held_bytes > self._keep_bytes:
            self._held_bytes -= len(self._bodies.popleft())
            self._dropped += 1

    async def search(self, search: Search, page: Page = FIRST_PAGE) -> TracePage:
        """Return the newest traces with a span that fits."""
        return await self._asked(lambda spans: selecting.page_of(_by_trace(spans), search, page))

    async def get(self, trace_id: str) -> Trace | None:
        """Return all known spans of a trace, or None."""
        found = await self._of_trace(trace_id)
        return Trace(trace_id, tuple(found[:MOST_SPANS])) if found else None

    async def span(self, trace_id: str, span_id: str) -> Span | None:
        """Return one span, or None."""
        return next((one for one in await self._of_trace(trace_id) if one.span_id == span_id), None)

    async def outline(self, trace_id: str, limit: int = MOST_SPANS) -> Outline | None:
        """Return the spans of a trace without attributes, or None."""
        found = await self._of_trace(trace_id)
        return selecting.outline_of(found, limit) if found else None

    async def timeline(self, correlation_id: str, limit: int = MOST_SPANS) -> Outline:
        """Return the spans of all traces of a correlation ID."""

        def found(spans: Sequence[Span]) -> Outline:
            wanted = {span.trace_id for span in spans if span.correlation_id == correlation_id}
            return selecting.outline_of((span for span in spans if span.trace_id in wanted), limit)

        return await self._asked(found)

    async def services(self, within: Range = ALWAYS) -> tuple[ServiceRow, ...]:
        """Return every version of every service."""
        return await self._asked(lambda spans: adding.services(spans, within))

    async def operations(self, service: str, within: Range = ALWAYS) -> tuple[OperationRow, ...]:
        """Return the operations of a service."""
        return await self._asked(lambda spans: adding.operations(spans, service, within))

    async def service_map(self, within: Range = ALWAYS) -> ServiceMap:
        """Return who called whom."""
        return await self._asked(lambda spans: edges.service_map(spans, within))

    async def map_of(self, search: Search) -> ServiceMap:
        """Return who called whom in the traces of a search."""
        return await self._asked(lambda spans: edges.map_of(spans, search))

    async def difference(
        self, service: str, base: str, other: str, within: Range = ALWAYS
    ) -> VersionDifference:
        """Return what changed from one version to another."""
        return await self._asked(lambda spans: differing.difference(spans, service, base, other, within))

    async def shares(self, selected: Search, others: Search) -> tuple[Share, ...]:
        """Count attribute values among selected spans and among others."""
        return await self._asked(lambda spans: sharing.shares(spans, selected, others))

    async def keys(self, prefix: str = "", service: str = "") -> tuple[AttributeKey, ...]:
        """Return attributes that spans carry."""
        return await self._asked(lambda spans: adding.keys(spans, prefix, service))

    async def values(self, key: str, prefix: str = "", service: str = "") -> tuple[str, ...]:
        """Return values of an attribute."""
        return await self._asked(lambda spans: adding.values(spans, key, prefix, service))

    async def rates(self, service: str, within: Range, every_s: int = 10) -> tuple[RateRow, ...]:
        """Return counters per bucket of time."""
        return await self._asked(lambda spans: adding.rates(spans, service, within, every_s))

    async def prune(self, retention: Retention, now_ns: int) -> int:
        """Drop nothing: the number of bytes is the only bound here."""
        return 0

    async def size(self) -> StoreSize:
        """Say how much is kept; dropped spans are counted as bodies here."""

        def measured(spans: Sequence[Span]) -> StoreSize:
            oldest_ns = min((span.start_ns for span in spans), default=0)
            return StoreSize(len(spans), self._held_bytes, oldest_ns, self._dropped)

        return await self._asked(measured)

    def capabilities(self) -> TraceCapabilities:
        """Takes bodies, and forgets them with the process."""
        return TraceCapabilities(is_durable=False, can_ingest=True)

    async def _asked(self, answer: Callable[[Sequence[Span]], Answer]) -> Answer:
        bodies = tuple(self._bodies)
        return await asyncio.to_thread(lambda: answer(_decoded(bodies)))

    async def _of_trace(self, trace_id: str) -> list[Span]:
        if not selecting.is_trace_id(trace_id):
            return []
        key = bytes.fromhex(trace_id)
        bodies = tuple(body for body in self._bodies if key in body)
        found = await asyncio.to_thread(_decoded, bodies)
        return [span for span in found if span.trace_id == trace_id]


def _decoded(bodies: Sequence[bytes]) -> list[Span]:
    """Return every span by start; one that was sent twice (a retry) counts once."""
    found: dict[tuple[str, str], Span] = {}
    for body in bodies:
        for span in decoding.spans(body):
            found.setdefault((span.trace_id, span.span_id), span)
    return sorted(found.values(), key=lambda span: (span.start_ns, span.span_id))


def _by_trace(spans: Sequence[Span]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    for span in spans:
        found.setdefault(span.trace_id, []).append(span)
    return found
