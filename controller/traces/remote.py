"""Trace store of another process: asks `serinus telemetry` over loopback HTTP.

Before it: the trace questions of `controller.api`. After it: the read side of the telemetry process. Every question
has a total deadline and a byte cap, so that a slow or flooded telemetry process costs an answer, never the controller.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

import httpx

from controller.errors import InvalidInput, TracesUnavailable
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
from controller.traces.port import (
    ALWAYS,
    FIRST_PAGE,
    MOST_SPANS,
    Retention,
    StoreSize,
    TraceCapabilities,
    TraceStore,
)
from controller.traces.wire import QUESTIONS

DEADLINE_S = 5.0
LONGEST_ANSWER = 32 * 1024 * 1024
SMALL = 256 * 1024
"""Bytes of an answer that is read at once (about 10 ms); larger ones on a thread."""


class RemoteTraces(TraceStore):
    """Reads traces from a telemetry process; cannot take bodies.

    Args:
        url: Base URL of the telemetry process, such as `http://127.0.0.1:4318`.
        deadline_s: Longest wait for one whole answer, seconds.
        longest_answer: Most bytes of one answer.
    """

    def __init__(
        self, url: str, *, deadline_s: float = DEADLINE_S, longest_answer: int = LONGEST_ANSWER
    ) -> None:
        self._deadline_s = deadline_s
        self._longest_answer = longest_answer
        self._http = httpx.AsyncClient(
            base_url=url, timeout=deadline_s, trust_env=False, follow_redirects=False
        )

    async def ingest(self, bodies: Sequence[bytes]) -> None:
        """Refuse: services send to the telemetry process themselves.

        Raises:
            TracesUnavailable: Always.
        """
        raise TracesUnavailable("a remote trace store is only read; send OTLP to the telemetry process")

    async def search(self, search: Search, page: Page = FIRST_PAGE) -> TracePage:
        """Return the newest traces with a span that fits."""
        return cast("TracePage", await self._ask("search", search=search, page=page))

    async def get(self, trace_id: str) -> Trace | None:
        """Return all known spans of a trace, or None."""
        return cast("Trace | None", await self._ask("get", trace_id=trace_id))

    async def span(self, trace_id: str, span_id: str) -> Span | None:
        """Return one span, or None."""
        return cast("Span | None", await self._ask("span", trace_id=trace_id, span_id=span_id))

    async def outline(self, trace_id: str, limit: int = MOST_SPANS) -> Outline | None:
        """Return the spans of a trace without attributes, or None."""
        return cast("Outline | None", await self._ask("outline", trace_id=trace_id, limit=limit))

    async def timeline(self, correlation_id: str, limit: int = MOST_SPANS) -> Outline:
        """Return the spans of all traces of a correlation ID."""
        return cast("Outline", await self._ask("timeline", correlation_id=correlation_id, limit=limit))

    async def services(self, within: Range = ALWAYS) -> tuple[ServiceRow, ...]:
        """Return every version of every service."""
        return cast("tuple[ServiceRow, ...]", await self._ask("services", within=within))

    async def operations(self, service: str, within: Range = ALWAYS) -> tuple[OperationRow, ...]:
        """Return the operations of a service."""
        found = await self._ask("operations", service=service, within=within)
        return cast("tuple[OperationRow, ...]", found)

    async def service_map(self, within: Range = ALWAYS) -> ServiceMap:
        """Return who called whom."""
        return cast("ServiceMap", await self._ask("service_map", within=within))

    async def map_of(self, search: Search) -> ServiceMap:
        """Return who called whom in the traces of a search."""
        return cast("ServiceMap", await self._ask("map_of", search=search))

    async def difference(
        self, service: str, base: str, other: str, within: Range = ALWAYS
    ) -> VersionDifference:
        """Return what changed from one version to another."""
        found = await self._ask("difference", service=service, base=base, other=other, within=within)
        return cast("VersionDifference", found)

    async def shares(self, selected: Search, others: Search) -> tuple[Share, ...]:
        """Count attribute values among selected spans and among others."""
        return cast("tuple[Share, ...]", await self._ask("shares", selected=selected, others=others))

    async def keys(self, prefix: str = "", service: str = "") -> tuple[AttributeKey, ...]:
        """Return attributes that spans carry."""
        return cast("tuple[AttributeKey, ...]", await self._ask("keys", prefix=prefix, service=service))

    async def values(self, key: str, prefix: str = "", service: str = "") -> tuple[str, ...]:
        """Return values of an attribute."""
        return cast("tuple[str, ...]", await self._ask("values", key=key, prefix=prefix, service=service))

    async def rates(self, service: str, within: Range, every_s: int = 10) -> tuple[RateRow, ...]:
        """Return counters per bucket of time."""
        found = await self._ask("rates", service=service, within=within, every_s=every_s)
        return cast("tuple[RateRow, ...]", found)

    async def prune(self, retention: Retention, now_ns: int) -> int:
        """Refuse: the telemetry process prunes its own store.

        Raises:
            TracesUnavailable: Always.
        """
        raise TracesUnavailable("a remote trace store is only read; the telemetry process prunes")

    async def size(self) -> StoreSize:
        """Say how much is kept."""
        return cast("StoreSize", await self._ask("size"))

    def capabilities(self) -> TraceCapabilities:
        """The least: what the other process does with bodies is its own affair."""
        return TraceCapabilities()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, name: str, **arguments: Any) -> Any:
        question = QUESTIONS[name]
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                self._http.stream(
                    "POST", f"/internal/traces/{name}", content=question.pack(arguments)
                ) as response,
            ):
                body = await self._read(response)
        except (httpx.HTTPError, TimeoutError) as error:
            raise TracesUnavailable(
                f"the telemetry process at {self._http.base_url} does not answer ({type(error).__name__}); is it up?"
            ) from error
        if response.status_code == 422:
            raise _refused(body)
        if response.status_code != 200:
            raise TracesUnavailable(f"the telemetry process answered {response.status_code}")
        try:
            if len(body) <= SMALL:
                return question.read(body)
            # Seconds for a whole trace of 50 000 spans, in which an abort would wait.
            return await asyncio.to_thread(question.read, body)
        except (ValueError, RecursionError) as error:
            raise _strange() from error

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._longest_answer:
                raise TracesUnavailable(f"the answer is larger than {self._longest_answer} bytes")
        return bytes(body)


def _refused(body: bytes) -> InvalidInput | TracesUnavailable:
    try:
        found = json.loads(body)
        return InvalidInput(str(found["error"]), field=str(found["field"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return _strange()


def _strange() -> TracesUnavailable:
    return TracesUnavailable(
        "the telemetry process gave an answer that is not understood; is it the same version?"
    )
