"""Port: the trace store. OTLP bodies go in as they came; spans are decoded on read.

Before it: `controller.ingest` (OTLP receivers). After it: the trace questions of `controller.api`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from controller.model.trace import Trace, TraceSummary


@dataclass(frozen=True, slots=True)
class TraceCapabilities:
    """What a store can do; the defaults are the least.

    Args:
        is_durable: Accepted spans survive a restart of the store.
        can_ingest: `ingest` works here (a remote reader cannot).
    """

    is_durable: bool = False
    can_ingest: bool = False


class TraceStore(ABC):
    """Keeps raw OTLP bodies and answers questions about them."""

    @abstractmethod
    async def ingest(self, bodies: Sequence[bytes]) -> None:
        """Keep bodies of `ExportTraceServiceRequest` (protobuf). Returns when they are kept; the caller validated them.

        Raises:
            TracesUnavailable: The store cannot take them now; nothing of the batch was kept.
        """

    @abstractmethod
    async def find(self, *, correlation_id: str, limit: int = 20) -> tuple[TraceSummary, ...]:
        """Return the newest traces that carry a correlation ID; empty is not an error.

        Args:
            correlation_id: Exact match of the span attribute `correlation.id`.
            limit: At most this many, 1 to 200.

        Raises:
            TracesUnavailable: The store does not answer.
        """

    @abstractmethod
    async def get(self, trace_id: str) -> Trace | None:
        """Return all known spans of a trace, or None when there are none.

        Raises:
            TracesUnavailable: The store does not answer.
        """

    @abstractmethod
    def capabilities(self) -> TraceCapabilities:
        """Say what the store can do. Never blocks."""

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
