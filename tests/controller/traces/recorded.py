"""Traces of a small shop, as the questions about them need them: made of spans, kept as OTLP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from controller.errors import TracesUnavailable
from controller.model.trace import Attributes, Resource, Span, SpanEvent, SpanLink
from controller.traces import decoding
from controller.traces.memory import Answer, MemoryTraces

AT_NS = 1_000_000_000_000
"""Begin of everything: 1 000 s after 1970, where the clock of `tests.controller.releases.world` stands."""


def a_span(
    trace: int | str,
    number: int,
    parent: int = 0,
    *,
    service: str = "catalog",
    version: str = "v1",
    name: str = "GET /products/{id}",
    kind: str = "server",
    start_ms: float = 0.0,
    ms: float = 10.0,
    error: str = "",
    attributes: Attributes | None = None,
    links: Sequence[SpanLink] = (),
    events: Sequence[SpanEvent] = (),
) -> Span:
    """Return one span; `error` makes it fail, with an exception of that type."""
    trace_id = trace if isinstance(trace, str) else f"{trace:032x}"
    failed = (SpanEvent("exception", AT_NS, {"exception.type": error}),) if error else ()
    return Span(
        trace_id=trace_id,
        span_id=f"{number:016x}",
        parent_span_id=f"{parent:016x}" if parent else "",
        name=name,
        kind=kind,
        start_ns=AT_NS + round(start_ms * 1e6),
        duration_ns=round(ms * 1e6),
        status="error" if error else "unset",
        attributes={"correlation.id": f"cor-{trace}", **(attributes or {})},
        events=(*failed, *events),
        links=tuple(links),
        resource=Resource({"service.name": service, "service.version": version}),
    )


def a_request(
    trace: int,
    version: str,
    *,
    error: str = "",
    method: str = "card",
    start_ms: float = 0.0,
    ms: float = 10.0,
) -> list[Span]:
    """Return a request of the storefront that calls one version of the catalog."""
    arm = {"release.track": "canary" if version == "v2" else "stable"}
    failing = {"http.response.status_code": 500 if error else 200}
    return [
        a_span(
            trace,
            1,
            service="storefront",
            name="GET /",
            start_ms=start_ms,
            ms=ms + 10,
            error=error,
            attributes=arm,
        ),
        a_span(
            trace,
            2,
            1,
            service="storefront",
            name="GET",
            kind="client",
            start_ms=start_ms + 3,
            ms=ms + 4,
            error=error,
            attributes={**arm, "server.address": "catalog"},
        ),
        a_span(
            trace,
            3,
            2,
            version=version,
            start_ms=start_ms + 5,
            ms=ms,
            error=error,
            attributes={**arm, **failing, "payment.method": method},
        ),
    ]


def a_bad_canary(*, good: int = 60, stable: int = 300, failing: int = 20) -> list[Span]:
    """Return what a shop saw whose catalog v2 fails for invoices, and is slower."""
    spans: list[Span] = []
    for number in range(stable):
        method = "invoice" if number % 30 == 0 else "card"
        spans += a_request(number + 1, "v1", method=method, start_ms=number)
    for number in range(good):
        spans += a_request(1_001 + number, "v2", start_ms=number * 5, ms=40)
    for number in range(failing):
        spans += a_request(
            2_001 + number, "v2", error="InvoiceMissing", method="invoice", start_ms=number * 15, ms=40
        )
    return spans


class Recorded(MemoryTraces):
    """A trace store in memory that can be taken away.

    Attributes:
        is_down: Questions that read everything fail while it is set.
        is_hung: They are never answered.
    """

    is_down = False
    is_hung = False

    def __init__(self) -> None:
        super().__init__()
        self._known: list[Span] = []

    async def put(self, spans: Iterable[Span]) -> None:
        """Keep spans, once as they travel and once decoded, so that a busy machine answers within any patience."""
        body = decoding.encode(spans)
        await self.ingest([body])
        self._known += decoding.spans(body)
        self._known.sort(key=lambda span: (span.start_ns, span.span_id))

    async def _asked(self, answer: Callable[[Sequence[Span]], Answer]) -> Answer:
        if self.is_down:
            raise TracesUnavailable("telemetry does not answer")
        if self.is_hung:
            await asyncio.Event().wait()
        return answer(self._known)
