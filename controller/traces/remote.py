"""Trace store of another process: asks `serinus telemetry` over loopback HTTP.

Before it: the trace questions of `controller.api`. After it: the read side of `controller.ingest.app`. Every question
has a total deadline and a byte cap, so that a slow or flooded telemetry process costs an answer, never the controller.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import httpx

from controller.errors import InvalidInput, TracesUnavailable
from controller.model.trace import Span, SpanEvent, Trace, TraceSummary
from controller.traces.port import TraceCapabilities, TraceStore

DEADLINE_S = 3.0
LONGEST_ANSWER = 32 * 1024 * 1024
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


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

    async def find(self, *, correlation_id: str, limit: int = 20) -> tuple[TraceSummary, ...]:
        """Return the newest traces that carry a correlation ID.

        Raises:
            InvalidInput: The limit is not 1 to 200.
            TracesUnavailable: No whole, well-formed answer within the deadline.
        """
        if not 1 <= limit <= 200:
            raise InvalidInput("expected 1 to 200", field="limit")
        answer = await self._ask("/internal/traces", {"correlation_id": correlation_id, "limit": str(limit)})
        try:
            return tuple(TraceSummary(**line) for line in (answer or {})["traces"])
        except (KeyError, TypeError) as error:
            raise _strange() from error

    async def get(self, trace_id: str) -> Trace | None:
        """Return all known spans of a trace, or None.

        Raises:
            TracesUnavailable: No whole, well-formed answer within the deadline.
        """
        if not _TRACE_ID.fullmatch(trace_id):
            return None
        answer = await self._ask(f"/internal/traces/{trace_id}", {})
        if answer is None:
            return None
        try:
            return Trace(answer["trace_id"], tuple(_span(line) for line in answer["spans"]))
        except (KeyError, TypeError) as error:
            raise _strange() from error

    def capabilities(self) -> TraceCapabilities:
        """The least: what the other process does with bodies is its own affair."""
        return TraceCapabilities()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, path: str, query: dict[str, str]) -> dict[str, Any] | None:
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                self._http.stream("GET", path, params=query) as response,
            ):
                if response.status_code == 404:
                    return None
                if response.status_code != 200:
                    raise TracesUnavailable(f"the telemetry process answered {response.status_code}")
                body = await self._read(response)
        except (httpx.HTTPError, TimeoutError) as error:
            raise TracesUnavailable(
                f"the telemetry process at {self._http.base_url} does not answer ({type(error).__name__}); is it up?"
            ) from error
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _strange() from error
        if not isinstance(answer, dict):
            raise _strange()
        return answer

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._longest_answer:
                raise TracesUnavailable(f"the answer is larger than {self._longest_answer} bytes")
        return bytes(body)


def _strange() -> TracesUnavailable:
    return TracesUnavailable(
        "the telemetry process gave an answer that is not understood; is it the same version?"
    )


def _span(line: dict[str, Any]) -> Span:
    return Span(**{**line, "events": tuple(SpanEvent(**event) for event in line["events"])})
