"""What no library does for a request: ids in and out at the outermost layer, and one measurement in the server span.

Before it: the HTTP server. Between `Edge` and `Watch`: opentelemetry-instrumentation-fastapi, which makes the server
span. After it: the app's own layers and handlers. `Edge` decides on the ids before the span begins; so that span, every
span below it, every log line and every further call carry them.
"""

from __future__ import annotations

import time

import structlog
from opentelemetry import trace
from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.correlation import admit

UNSEEN = ("/health", "/ready", "/metrics")
"""Probes and scrapes: they would drown what users do, so they get no ids, no span and no measurement."""

Log = structlog.typing.FilteringBoundLogger

_LONGEST_PATH = 512
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The boundaries OpenTelemetry advises for HTTP durations."""


def _is_seen(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["path"] not in UNSEEN


class Edge:
    """The outermost layer of a service: accepts the caller's ids, and puts the correlation ID on the response.

    Args:
        app: What it surrounds.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; only HTTP is touched."""
        if not _is_seen(scope):
            await self._app(scope, receive, send)
            return
        scope["headers"], correlation_id = admit(scope["headers"])
        is_answered = False

        async def reply(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                header = (b"x-correlation-id", correlation_id)
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        try:
            await self._app(scope, receive, reply)
        except Exception:
            # `Watch` has logged it with its ids, and the 500 is out: the server's own complaint would be a second one.
            if not is_answered:
                raise


class Watch:
    """The layer just inside the server span: measures requests and logs the failed ones, with the span's ids.

    Args:
        app: What it surrounds.
        requests: Where requests are measured.
        log: For failed requests.
    """

    def __init__(self, app: ASGIApp, *, requests: Requests, log: Log) -> None:
        self._app = app
        self._requests = requests
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; only HTTP is touched."""
        if not _is_seen(scope):
            await self._app(scope, receive, send)
            return
        status = 0
        started_s = time.perf_counter()

        async def look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"][:_LONGEST_PATH]
        try:
            await self._app(scope, receive, look)
        except Exception as error:
            self._log.error("request_crashed", path=path, exc_info=error)
            raise
        else:
            if status >= 500:
                self._log.warning("request_failed", path=path, status=status)
        finally:
            self._requests.observe(scope, status or 500, time.perf_counter() - started_s)


class Requests:
    """Counts and times requests under the names of OpenTelemetry, with exemplars that lead to a trace."""

    def __init__(self, registry: CollectorRegistry, *, version: str) -> None:
        labels = ("http_request_method", "http_route", "http_response_status_code", "service_version")
        self._durations = Histogram(
            "http_server_request_duration_seconds",
            "Duration of HTTP server requests.",
            labels,
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._version = version
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Record one finished request of the current span; the route is a pattern, "" for none: labels stay few."""
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        route = getattr(scope.get("route"), "path_format", "")
        child = self._children.get(key := (method, route, status))
        if child is None:
            child = self._children[key] = self._durations.labels(method, route, str(status), self._version)
        trace_id = trace.get_current_span().get_span_context().trace_id
        child.observe(seconds, exemplar={"trace_id": format(trace_id, "032x")})
