"""The telemetry process over HTTP: OTLP in on /v1, questions out on /internal.

Before it: the exporters of the services, and `controller.traces.remote` of the controller. After it: `over_http` with
`intake`, and `answers`. Whatever comes in is bounded: size after unpacking, bytes under way over all requests, time to
send a body.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from controller.ingest.answers import Answers
from controller.ingest.intake import Intake
from controller.ingest.over_http import BODY_DEADLINE_S, HttpReceiver
from controller.ingest.series import TraceSeries
from controller.model.telemetry import Signal
from controller.traces.port import TraceStore


def create_app(
    store: TraceStore,
    *,
    max_body_bytes: int = 0,
    intake: Intake | None = None,
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]"),
    body_deadline_s: float = BODY_DEADLINE_S,
) -> ASGIApp:
    """Build the app.

    Args:
        store: Takes the bodies and answers the questions; stays the caller's.
        max_body_bytes: Largest body after unpacking; four of them may be under way at once. Not with `intake`.
        intake: Where bodies go, when another receiver shares it.
        hosts: Accepted Host headers, without port (DNS rebinding).
        body_deadline_s: Longest time for one body to arrive, seconds.
    """
    intake = intake or Intake(store, max_body_bytes=max_body_bytes)
    receiver = HttpReceiver(intake, body_deadline_s=body_deadline_s)
    answers = Answers(store)
    routes = [
        *(Route(f"/v1/{signal.value}", receiver.takes(signal), methods=["POST"]) for signal in Signal),
        Route("/internal/traces/{question}", answers.answer, methods=["POST"]),
        Route("/health", _health, methods=["GET"]),
        Route("/metrics", TraceSeries(store).beside(intake.metrics.show), methods=["GET"]),
    ]
    return HostGuard(Starlette(routes=routes), hosts=hosts)


class HostGuard:
    """Refuses requests for other hosts, so that no web page can reach in through a name of its own."""

    def __init__(self, app: ASGIApp, *, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is for us."""
        if scope["type"] == "http" and _host(scope) not in self._hosts:
            await JSONResponse({"error": "this host is not served here"}, 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _host(scope: Scope) -> str:
    value = next((value for name, value in scope["headers"] if name == b"host"), b"")
    host: str = value.decode("latin-1")
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "alive"})
