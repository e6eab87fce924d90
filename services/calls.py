"""Calls from one service to another, with aiohttp: each is a span, and takes trace context and ids along.

Before it: a request handler. After it: the proxy, which splits the calls between versions. One session a process, made
at its first call and instrumented by opentelemetry-instrumentation-aiohttp-client; the global propagator writes the
headers. aiohttp and not httpx, because a call costs a quarter of the CPU (DECISIONS.md, 13).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.trace import TracerProvider

from services.conventions import NO_METRICS

LONGEST_BODY = 8 * 1024 * 1024
"""Bytes of an answer; a longer one is a failure."""

_KEEP_IDLE_S = 60.0
"""Shorter than the proxy keeps an idle connection (Envoy: 1 h), so that a call never meets a closing one."""
_MOST_IN_FLIGHT = 256
"""Far above what is in flight in health (rate times latency: 3), and what a stall of 0.8 s of the whole machine holds up at
300 requests/s; small enough that an overload ends well within the timeout."""


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
        base = urlsplit(url)
        if base.scheme != "http" or not base.hostname:
            raise ValueError("edge_url: expected http://host:port")
        self._base = f"http://{base.netloc}"
        self._tracers = tracers
        self._host = host
        self._timeout_s = timeout_s
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._session: aiohttp.ClientSession | None = None

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
            async with self._open().get(self._base + path, allow_redirects=False) as response:
                return Answer(response.status, await _read(response))
        except (aiohttp.ClientError, OSError) as error:
            raise CallFailed(_reason(error)) from error
        finally:
            self._in_flight -= 1

    def _open(self) -> aiohttp.ClientSession:
        """Return the session; it belongs to the running loop, so the first call makes it."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"Host": self._host, "Accept-Encoding": "identity"},
                # Bodies as they are: nothing to inflate, so the cap on the body bounds the memory.
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=self._max_in_flight, keepalive_timeout=_KEEP_IDLE_S),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                trace_configs=[_traced(self._tracers)],
            )
        return self._session

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _traced(tracers: TracerProvider) -> aiohttp.TraceConfig:
    # The variable that chooses stable names is read by the global instrumentor only; here it is an argument.
    return create_trace_config(
        tracer_provider=tracers, meter_provider=NO_METRICS, sem_conv_opt_in_mode=_StabilityMode.HTTP
    )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LONGEST_BODY:
            raise CallFailed("too_large")
    return bytes(body)


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientConnectorError():
            return "refused"
        case aiohttp.ClientResponseError() | aiohttp.InvalidURL():
            return "garbage"
        case _:
            return "reset"
