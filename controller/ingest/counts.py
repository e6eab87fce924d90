"""What the receivers count, shown on /metrics of the telemetry process.

Before it: `intake` and the receivers. After it: Prometheus.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from controller.traces.memory import MemoryTraces
from controller.traces.port import TraceStore


class Metrics:
    """One registry for one telemetry process."""

    def __init__(self, store: TraceStore) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "serinus_otlp_requests",
            "OTLP requests by signal, transport (http or grpc) and status (of HTTP, or the name of gRPC's code).",
            ("signal", "transport", "status"),
            registry=self._registry,
        )
        self.items = Counter(
            "serinus_otlp_items",
            "Spans, log records and data points by outcome: accepted, clipped (too) or rejected.",
            ("signal", "outcome"),
            registry=self._registry,
        )
        self.bytes = Counter(
            "serinus_otlp_bytes", "Bytes of kept bodies.", ("signal",), registry=self._registry
        )
        self.forwarded = Counter(
            "serinus_otlp_forwarded_bytes",
            "Bytes for the other collector by outcome: sent, refused (by it) or dropped (no room, or too late).",
            ("outcome",),
            registry=self._registry,
        )
        if isinstance(store, MemoryTraces):
            self.watch("serinus_traces_held_bytes", "Bytes of bodies in memory.", lambda: store.held_bytes)
            self.watch("serinus_traces_dropped_bodies", "Bodies dropped to make room.", lambda: store.dropped)

    def watch(self, name: str, what: str, read: Callable[[], float]) -> None:
        """Show a number that somebody else keeps."""
        Gauge(name, what, registry=self._registry).set_function(read)

    async def show(self, request: Request) -> Response:
        """Answer /metrics."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), media_type=content_type)
