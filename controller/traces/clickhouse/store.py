"""`ClickHouseTraces`: the port's questions, each handed to the module that knows its SQL.

Before it: `controller.ingest`. After it: `crew`, `batching` for bodies, `searching` and `reading` for spans, `insights`
for sums, `retention` for what goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

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
from controller.traces.clickhouse import completing, insights, opening, reading, searching
from controller.traces.clickhouse import retention as retention_
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.embedded import EmbeddedFolder
from controller.traces.clickhouse.otlp_format import envelope
from controller.traces.clickhouse.server import ServerConnection
from controller.traces.clickhouse.settling import Settling
from controller.traces.port import (
    ALWAYS,
    FIRST_PAGE,
    MOST_SPANS,
    Retention,
    StoreSize,
    TraceCapabilities,
    TraceStore,
)
from controller.traces.selecting import is_trace_id

MEMORY_BYTES = 1024 * 1024 * 1024
DEADLINE_S = 4.0
"""Of one question; less than `remote` waits for an answer, so that the reason arrives."""


class ClickHouseTraces(TraceStore):
    """Keeps spans in a folder, or on a server.

    Args:
        folder: Belongs to this process alone while it is open; made when it is missing.
        url: Of a ClickHouse server; the folder is not used then. "" for none.
        memory_bytes: Most memory of the engine, bytes.
        deadline_s: Longest time for one question, seconds.
        now_ns: Where searches begin to look, nanoseconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        *,
        url: str = "",
        memory_bytes: int = MEMORY_BYTES,
        deadline_s: float = DEADLINE_S,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        own = EmbeddedFolder(folder.absolute(), memory_bytes=memory_bytes)
        self._crew = Crew(
            partial(ServerConnection, url) if url else own.connect,
            prepare=opening.prepare,
            release=own.release,
            deadline_s=deadline_s,
        )
        self._resources = reading.Resources(self._crew)
        self._settling = Settling(self._crew)
        self._now_ns = now_ns
        self._dropped = 0

    async def ingest(self, bodies: Sequence[bytes]) -> None:
        """Keep bodies; returns after the commit."""
        payload = envelope(bodies)
        await self._crew.write(lambda connection: connection.insert(payload))
        self._settling.nudge()

    async def search(self, search: Search, page: Page = FIRST_PAGE) -> TracePage:
        """Return the newest traces with a span that fits."""
        return await searching.search(self._crew, search, page, self._now_ns)

    async def get(self, trace_id: str) -> Trace | None:
        """Return all known spans of a trace, or None."""
        if not is_trace_id(trace_id):
            return None
        found = await reading.spans(self._crew, self._resources, trace_id)
        return Trace(trace_id, found) if found else None

    async def span(self, trace_id: str, span_id: str) -> Span | None:
        """Return one span, or None."""
        if not is_trace_id(trace_id) or not is_trace_id(span_id * 2):
            return None
        return next(iter(await reading.spans(self._crew, self._resources, trace_id, span_id)), None)

    async def outline(self, trace_id: str, limit: int = MOST_SPANS) -> Outline | None:
        """Return the spans of a trace without attributes, or None."""
        return await reading.outline(self._crew, trace_id, limit) if is_trace_id(trace_id) else None

    async def timeline(self, correlation_id: str, limit: int = MOST_SPANS) -> Outline:
        """Return the spans of all traces of a correlation ID."""
        return await reading.timeline(self._crew, correlation_id, limit)

    async def services(self, within: Range = ALWAYS) -> tuple[ServiceRow, ...]:
        """Return every version of every service."""
        return await insights.services(self._crew, within)

    async def operations(self, service: str, within: Range = ALWAYS) -> tuple[OperationRow, ...]:
        """Return the operations of a service."""
        return await insights.operations(self._crew, service, within)

    async def service_map(self, within: Range = ALWAYS) -> ServiceMap:
        """Return who called whom."""
        return await insights.service_map(self._crew, within)

    async def map_of(self, search: Search) -> ServiceMap:
        """Return who called whom in the traces of a search."""
        return await insights.map_of(self._crew, search)

    async def difference(
        self, service: str, base: str, other: str, within: Range = ALWAYS
    ) -> VersionDifference:
        """Return what changed from one version to another."""
        return await insights.difference(self._crew, service, base, other, within)

    async def shares(self, selected: Search, others: Search) -> tuple[Share, ...]:
        """Count attribute values among selected spans and among others."""
        return await insights.shares(self._crew, selected, others)

    async def keys(self, prefix: str = "", service: str = "") -> tuple[AttributeKey, ...]:
        """Return attributes that spans carry."""
        return await completing.keys(self._crew, prefix, service)

    async def values(self, key: str, prefix: str = "", service: str = "") -> tuple[str, ...]:
        """Return values of an attribute."""
        return await completing.values(self._crew, key, prefix, service, self._now_ns)

    async def rates(self, service: str, within: Range, every_s: int = 10) -> tuple[RateRow, ...]:
        """Return counters per bucket of time."""
        return await insights.rates(self._crew, service, within, every_s)

    async def prune(self, retention: Retention, now_ns: int) -> int:
        """Drop what need not be kept any more."""
        pruned = await self._crew.tidy(lambda connection: retention_.prune(connection, retention, now_ns))
        self._dropped += pruned.for_room
        return pruned.spans

    async def size(self) -> StoreSize:
        """Say how much is kept."""
        return await self._crew.read(lambda connection: retention_.size(connection, self._dropped))

    def capabilities(self) -> TraceCapabilities:
        """Takes bodies and keeps them."""
        return TraceCapabilities(is_durable=True, can_ingest=True)

    async def aclose(self) -> None:
        """Let work under way end and let go of the folder."""
        await self._settling.aclose()
        await self._crew.aclose()
