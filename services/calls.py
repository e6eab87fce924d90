"""Calls from one service to another, with httpx: each is a span, and takes trace context and ids along.

Before it: a request handler. After it: the proxy, which splits the calls between versions. One client a process, made
once and instrumented by opentelemetry-instrumentation-httpx; the global propagator writes the headers.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.trace import TracerProvider

from services.conventions import NO_METRICS

LONGEST_BODY = 8 * 1024 * 1024
"""Bytes of an answer; a longer one is a failure."""

_KEEP_IDLE_S = 60.0
"""Shorter than the proxy keeps an idle connection (Envoy: 1 h), so that a call never meets a closing one."""
_MOST_IDLE = 4
"""httpcore asks the kernel about every idle connection, twice a call: 16 instead of 4 cost a fifth of the call."""
_MOST_IN_FLIGHT = 64
"""Far above what is in flight in health (rate times latency: 3); small enough that an overload ends at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    body: bytes


class CallFailed(Exception):
    """There is no answer.

    Args:
        reason: timeout, refused, reset, garbage, too_large or too_many.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Caller:
    """The way from one service to another.

    Args:
        tracers: `Telemetry.tracer_provider` of the calling service.
        url: Base URL of the proxy, plain http.
        host: Host header by which the proxy knows the called service.
        timeout_s: Bounds each call as a whole, seconds.
        max_in_flight: More calls than this at once fail, at once: a queue would make each of them late.

    Raises:
        ValueError: The URL is not plain http with a host.
    """

    def __init__(
        self,
        tracers: TracerProvider,
        *,
        url: str,
        host: str,
        timeout_s: float,
        max_in_flight: int = _MOST_IN_FLIGHT,
    ) -> None:
        base = httpx.URL(url)
        if base.scheme != "http" or not base.host:
            raise ValueError("edge_url: expected http://host:port")
        self._base = f"http://{base.netloc.decode()}"
        self._timeout_s = timeout_s
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._client = httpx.AsyncClient(
            # Bodies as they are: nothing to inflate, so the cap on the body bounds the memory.
            headers={"Host": host, "Accept-Encoding": "identity"},
            # Each below the whole, so that the span of a hung call ends as an error instead of being cancelled.
            timeout=httpx.Timeout(timeout_s * 0.8, connect=timeout_s * 0.4),
            limits=httpx.Limits(
                max_connections=max_in_flight,
                max_keepalive_connections=_MOST_IDLE,
                keepalive_expiry=_KEEP_IDLE_S,
            ),
            # Loads no certificates, which takes 20 ms and is not needed; https would be refused, not trusted.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=False,
        )
        HTTPXClientInstrumentor.instrument_client(
            self._client, tracer_provider=tracers, meter_provider=NO_METRICS
        )

    async def get(self, path: str) -> Answer:
        """Fetch a path; whatever status comes back is an answer.

        Args:
            path: Begins with a slash, so that it cannot name another host; percent-encoded by the caller.

        Raises:
            CallFailed: There is no answer, or too many calls are under way.
            ValueError: The path begins with something else.
        """
        if not path.startswith("/"):
            raise ValueError("path: expected a slash first")
        if self._in_flight >= self._max_in_flight:
            raise CallFailed("too_many")
        self._in_flight += 1
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("GET", self._base + path) as response,
            ):
                return Answer(response.status_code, await _read(response))
        except (httpx.TransportError, TimeoutError) as error:
            raise CallFailed(_reason(error)) from error
        finally:
            self._in_flight -= 1

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > LONGEST_BODY:
            raise CallFailed("too_large")
    return bytes(body)


def _reason(error: Exception) -> str:
    match error:
        case httpx.TimeoutException() | TimeoutError():
            return "timeout"
        case httpx.ConnectError():
            return "refused"
        case httpx.RemoteProtocolError() if not str(error).startswith(("Server disconnected", "peer closed")):
            return "garbage"
        case _:
            return "reset"
