"""The outermost ring of the API: correlation ID, security headers, request metrics, and the last resort.

Before it: uvicorn. After it: `controller.api.guard`. Pure ASGI, so that streams are neither buffered nor wrapped in
tasks. Whatever a handler lets through becomes a 500 without detail here, and a log line with everything.
"""

from __future__ import annotations

import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.api.metrics import ApiMetrics
from controller.api.problems import unexpected
from controller.observability import CORRELATION_HEADER, accept_correlation_id, bound, logger

log = logger(__name__)

SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Edge:
    """Wraps the application.

    Args:
        app: What it wraps.
        metrics: Counts the requests.
    """

    def __init__(self, app: ASGIApp, *, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope; websockets are closed."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _Exchange(self._app, self._metrics, scope).run(receive, send)
        else:
            # No websockets here: refuse the handshake instead of failing inside.
            await send({"type": "websocket.close", "code": 1008})


class _Exchange:
    """One request and its answer."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics, scope: Scope) -> None:
        self._app = app
        self._metrics = metrics
        self._scope = scope
        self._status = 0
        given = Headers(scope=scope).getlist(CORRELATION_HEADER)
        self._correlation_id = accept_correlation_id(given[0] if len(given) == 1 else None)
        scope.setdefault("state", {})["correlation_id"] = self._correlation_id

    async def run(self, receive: Receive, send: Send) -> None:
        """Answer it, whatever happens inside, and count it."""
        started_s = time.perf_counter()

        async def decorated(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._decorate(message)
            await send(message)

        with bound(correlation_id=self._correlation_id):
            try:
                await self._app(self._scope, receive, decorated)
            except Exception:
                log.exception("request_broke", route=self._route())
                if not self._status:
                    await unexpected(self._correlation_id)(self._scope, receive, decorated)
            self._conclude(time.perf_counter() - started_s)

    def _decorate(self, message: Message) -> None:
        self._status = message["status"]
        headers = MutableHeaders(scope=message)
        headers[CORRELATION_HEADER] = self._correlation_id
        headers.setdefault("Content-Security-Policy", POLICY)
        for name, value in SAFETY.items():
            headers.setdefault(name, value)

    def _conclude(self, duration_s: float) -> None:
        method, route = str(self._scope["method"]), self._route()
        self._metrics.answered(method=method, route=route, status=self._status, duration_s=duration_s)
        say = log.debug if method in ("GET", "HEAD") and self._status < 500 else log.info
        say(
            "request_answered",
            method=method,
            route=route,
            status=self._status,
            duration_ms=round(duration_s * 1000, 1),
        )

    def _route(self) -> str:
        return str(getattr(self._scope.get("route"), "path", "unmatched"))
