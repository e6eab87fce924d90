"""The telemetry process over HTTP: OTLP in on /v1/traces, questions out on /internal.

Before it: the exporters of the services, and `controller.traces.remote` of the controller. After it: the trace store.
A span counts as received when the store has taken it. Whatever comes in is bounded: size after unpacking, bytes under
way over all requests, time to send a body. Too much is answered 503 with Retry-After, which exporters obey.
"""

from __future__ import annotations

import asyncio

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # ships no stubs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from controller import observability
from controller.errors import TracesUnavailable
from controller.ingest.answers import Answers
from controller.ingest.otlp import JSON, PROTOBUF, Batch, BodyRefused, Unpacker, accept
from controller.ingest.series import TraceSeries
from controller.traces.memory import MemoryTraces
from controller.traces.port import TraceStore

BODY_DEADLINE_S = 10.0
_SMALL = 256 * 1024
"""Bodies up to this size are parsed at once (about 1 ms); larger ones on a thread, so that others are answered."""
_GRPC_CODES = {400: 3, 408: 4, 413: 8, 415: 3, 503: 14}

log = observability.logger(__name__)


def create_app(
    store: TraceStore,
    *,
    max_body_bytes: int,
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]"),
    body_deadline_s: float = BODY_DEADLINE_S,
) -> ASGIApp:
    """Build the app.

    Args:
        store: Takes the bodies and answers the questions; stays the caller's.
        max_body_bytes: Largest body after unpacking; four of them may be under way at once.
        hosts: Accepted Host headers, without port (DNS rebinding).
        body_deadline_s: Longest time for one body to arrive, seconds.
    """
    receiver = Receiver(store, max_body_bytes=max_body_bytes, body_deadline_s=body_deadline_s)
    answers = Answers(store)
    routes = [
        Route("/v1/traces", receiver.traces, methods=["POST"]),
        Route("/internal/traces/{question}", answers.answer, methods=["POST"]),
        Route("/health", _health, methods=["GET"]),
        Route("/metrics", TraceSeries(store).beside(receiver.metrics.show), methods=["GET"]),
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


class Metrics:
    """What the receiver counts; one registry an app."""

    def __init__(self, store: TraceStore) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "serinus_otlp_requests", "OTLP requests by HTTP status.", ("status",), registry=self._registry
        )
        self.spans = Counter("serinus_otlp_spans", "Spans by outcome.", ("outcome",), registry=self._registry)
        self.bytes = Counter("serinus_otlp_bytes", "Bytes of kept bodies.", registry=self._registry)
        if isinstance(store, MemoryTraces):
            held = Gauge("serinus_traces_held_bytes", "Bytes of bodies in memory.", registry=self._registry)
            held.set_function(lambda: store.held_bytes)
            dropped = Gauge(
                "serinus_traces_dropped_bodies", "Bodies dropped to make room.", registry=self._registry
            )
            dropped.set_function(lambda: store.dropped)

    async def show(self, request: Request) -> Response:
        """Answer /metrics."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), media_type=content_type)


class Receiver:
    """Takes OTLP requests.

    Args:
        store: Where bodies go.
        max_body_bytes: Largest unpacked body.
        body_deadline_s: Longest time for one body to arrive, seconds.
    """

    def __init__(self, store: TraceStore, *, max_body_bytes: int, body_deadline_s: float) -> None:
        self.metrics = Metrics(store)
        self._store = store
        self._max_body_bytes = max_body_bytes
        self._body_deadline_s = body_deadline_s
        self._room = 4 * max_body_bytes
        self._parsing = asyncio.Semaphore(1)

    async def traces(self, request: Request) -> Response:
        """Answer POST /v1/traces as OTLP/HTTP says."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        speak = JSON if content_type == JSON else PROTOBUF
        try:
            response = await self._take(request, content_type)
        except BodyRefused as error:
            response = _refusal(error.status, error.message, speak)
        except TimeoutError:
            response = _refusal(408, f"the body did not arrive within {self._body_deadline_s:g} s", speak)
        except TracesUnavailable as error:
            log.warning("spans_refused", reason=error.message)
            response = _refusal(503, error.message, speak)
        except ClientDisconnect:
            response = _refusal(400, "the body was cut off", speak)
        self.metrics.requests.labels(str(response.status_code)).inc()
        return response

    async def _take(self, request: Request, content_type: str) -> Response:
        if content_type not in (PROTOBUF, JSON):
            raise BodyRefused(f"content-type: expected {PROTOBUF} or {JSON}", status=415)
        unpacker = Unpacker(
            request.headers.get("content-encoding", "").strip().lower(), max_bytes=self._max_body_bytes
        )
        held = 0
        try:
            async with asyncio.timeout(self._body_deadline_s):
                async for chunk in request.stream():
                    unpacker.feed(chunk)
                    self._room -= len(unpacker) - held
                    held = len(unpacker)
                    if self._room < 0:
                        raise TracesUnavailable("too many bytes are under way; try again")
            batch = await self._accept(unpacker.finish(), content_type)
            if batch.body:
                await self._store.ingest([batch.body])
        finally:
            self._room += held
        return self._thank(batch, content_type)

    async def _accept(self, body: bytes, content_type: str) -> Batch:
        if len(body) <= _SMALL and content_type == PROTOBUF:
            return accept(body, content_type)
        async with self._parsing:
            return await asyncio.to_thread(accept, body, content_type)

    def _thank(self, batch: Batch, content_type: str) -> Response:
        self.metrics.spans.labels("accepted").inc(batch.spans)
        self.metrics.bytes.inc(len(batch.body))
        answer = ExportTraceServiceResponse()
        if batch.rejected:
            self.metrics.spans.labels("rejected").inc(batch.rejected)
            answer.partial_success.rejected_spans = batch.rejected
            answer.partial_success.error_message = (
                "trace id or span id is missing, zero or has a wrong length, or a span has too many parts"
            )
        return _message(answer, 200, content_type)


def _refusal(status: int, reason: str, content_type: str) -> Response:
    response = _message(Status(code=_GRPC_CODES[status], message=reason), status, content_type)
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _message(message: Message, status: int, content_type: str) -> Response:
    if content_type == JSON:
        return Response(MessageToJson(message, indent=None), status, media_type=JSON)
    return Response(message.SerializeToString(), status, media_type=PROTOBUF)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "alive"})
