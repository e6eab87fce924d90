"""Port: the trace store. OTLP bodies go in as they came; spans are decoded on read.

Before it: `controller.ingest` (OTLP receivers). After it: the trace questions of `controller.api`. Every question has
value types only, so that `wire` can carry it to another process; a new question is a method here and its name there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

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

MOST_SPANS = 50_000
"""Spans of one outline."""
FIRST_PAGE = Page()
ALWAYS = Range()


@dataclass(frozen=True, slots=True)
class TraceCapabilities:
    """What a store can do; the defaults are the least.

    Args:
        is_durable: Accepted spans survive a restart of the store.
        can_ingest: `ingest` works here (a remote reader cannot).
    """

    is_durable: bool = False
    can_ingest: bool = False


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept. Whatever is too old or too much goes in whole parts of the store's choice, oldest first.

    Args:
        keep_s: Age of a span, seconds.
        keep_bytes: Bytes on disk.
        keep_telling_s: Age of traces that hold an error, a canary's span, or one of the slowest 1 %; no less than `keep_s`.
    """

    keep_s: float
    keep_bytes: int
    keep_telling_s: float


@dataclass(frozen=True, slots=True)
class StoreSize:
    """How much is kept.

    Args:
        dropped_spans: Dropped to make room since the store was opened.
    """

    spans: int
    size_bytes: int
    oldest_ns: int = 0
    dropped_spans: int = 0


class TraceStore(ABC):
    """Keeps OTLP bodies and answers questions about them.

    Every question raises TracesUnavailable when the store does not answer, and InvalidInput for a cursor that is none.
    """

    @abstractmethod
    async def ingest(self, bodies: Sequence[bytes]) -> None:
        """Keep bodies of `ExportTraceServiceRequest` (protobuf). Returns when they are kept; the caller validated them.

        Raises:
            TracesUnavailable: The store cannot take them now; nothing of the batch was kept.
            InvalidInput: One of them is no OTLP after all; nothing of the batch was kept.
        """

    @abstractmethod
    async def search(self, search: Search, page: Page = FIRST_PAGE) -> TracePage:
        """Return the newest traces with a span that fits, by the start of that span; empty is not an error."""

    @abstractmethod
    async def get(self, trace_id: str) -> Trace | None:
        """Return all known spans of a trace, each once, by start; None when there are none. At most 50 000 spans."""

    @abstractmethod
    async def span(self, trace_id: str, span_id: str) -> Span | None:
        """Return one span, whole."""

    @abstractmethod
    async def outline(self, trace_id: str, limit: int = MOST_SPANS) -> Outline | None:
        """Return the spans of a trace without attributes; None when there are none.

        Args:
            trace_id: 32 lower-case hex digits; anything else is known to nobody.
            limit: 1 to 50 000 spans; the earliest are returned.
        """

    @abstractmethod
    async def timeline(self, correlation_id: str, limit: int = MOST_SPANS) -> Outline:
        """Return the spans of all traces that carry a correlation ID anywhere, by start time."""

    @abstractmethod
    async def services(self, within: Range = ALWAYS) -> tuple[ServiceRow, ...]:
        """Return every version of every service that sent spans, by name and version."""

    @abstractmethod
    async def operations(self, service: str, within: Range = ALWAYS) -> tuple[OperationRow, ...]:
        """Return the operations of a service by version, most calls first."""

    @abstractmethod
    async def service_map(self, within: Range = ALWAYS) -> ServiceMap:
        """Return who called whom."""

    @abstractmethod
    async def map_of(self, search: Search) -> ServiceMap:
        """Return who called whom in the newest 1 000 traces with a span that fits."""

    @abstractmethod
    async def difference(
        self, service: str, base: str, other: str, within: Range = ALWAYS
    ) -> VersionDifference:
        """Return what changed from one version (`base`) of a service to another."""

    @abstractmethod
    async def shares(self, selected: Search, others: Search) -> tuple[Share, ...]:
        """Count attribute values among selected spans and among others that do not fit `selected`.

        At most 200, those whose shares differ most; ids and numbers that differ with every span are left out.
        """

    @abstractmethod
    async def keys(self, prefix: str = "", service: str = "") -> tuple[AttributeKey, ...]:
        """Return attributes that spans carry, by name; at most 200."""

    @abstractmethod
    async def values(self, key: str, prefix: str = "", service: str = "") -> tuple[str, ...]:
        """Return values of an attribute (as `model.condition.plain` says them), most frequent first; at most 100."""

    @abstractmethod
    async def rates(self, service: str, within: Range, every_s: int = 10) -> tuple[RateRow, ...]:
        """Return counters per bucket of time, version, operation, kind and release, by time; empty cells are left out.

        Only spans of kind server and consumer.

        Args:
            service: "" for all.
            within: Time of the buckets' begin.
            every_s: Length of a bucket, seconds: 10 or a multiple of it.
        """

    @abstractmethod
    async def prune(self, retention: Retention, now_ns: int) -> int:
        """Drop what need not be kept any more; returns how many spans. Idempotent."""

    @abstractmethod
    async def size(self) -> StoreSize:
        """Say how much is kept."""

    @abstractmethod
    def capabilities(self) -> TraceCapabilities:
        """Say what the store can do. Never blocks."""

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
