"""OTLP over HTTP: POST /v1/traces, /v1/logs and /v1/metrics, in protobuf or JSON, with gzip or without.

Before it: the exporters of the services. After it: `intake`. Statuses as OTLP says: 200 when everything good is kept,
400, 413 and 415 for a body that must not come again, 408, 429 (no room here) and 503 (the store does not take it) with
Retry-After for one that should. Each refusal is a google.rpc.Status in the sender's own encoding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from controller import observability
from controller.errors import TracesUnavailable
from controller.ingest.bodies import JSON, PROTOBUF, BodyRefused, Unpacker
from controller.ingest.intake import RETRY_AFTER_S, Intake, Overloaded
from controller.ingest.thanks import status_of, thanks
from controller.model.telemetry import Signal

BODY_DEADLINE_S = 10.0
_GRPC_CODES = {400: 3, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}
_AGAIN = (408, 429, 503)

log = observability.logger(__name__)


class HttpReceiver:
    """Takes OTLP requests.

    Args:
        intake: Where bodies go.
        body_deadline_s: Longest time for one body to arrive, seconds.
    """

    def __init__(self, intake: Intake, *, body_deadline_s: float = BODY_DEADLINE_S) -> None:
        self._intake = intake
        self._body_deadline_s = body_deadline_s

    def takes(self, signal: Signal) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of one signal."""

        async def endpoint(request: Request) -> Response:
            response = await self._answer(request, signal)
            self._intake.metrics.requests.labels(signal.value, "http", str(response.status_code)).inc()
            return response

        return endpoint

    async def _answer(self, request: Request, signal: Signal) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        speak = JSON if content_type == JSON else PROTOBUF
        try:
            return await self._take(request, content_type, signal)
        except BodyRefused as error:
            return _refusal(error.status, error.message, speak)
        except TimeoutError:
            return _refusal(408, f"the body did not arrive within {self._body_deadline_s:g} s", speak)
        except Overloaded as error:
            return _refusal(429, error.message, speak)
        except TracesUnavailable as error:
            log.warning("telemetry_refused", signal=signal.value, reason=error.message)
            return _refusal(503, error.message, speak)
        except ClientDisconnect:
            return _refusal(400, "the body was cut off", speak)

    async def _take(self, request: Request, content_type: str, signal: Signal) -> Response:
        if content_type not in (PROTOBUF, JSON):
            raise BodyRefused(f"content-type: expected {PROTOBUF} or {JSON}", status=415)
        encoding = request.headers.get("content-encoding", "").strip().lower()
        unpacker = Unpacker(encoding, max_bytes=self._intake.max_body_bytes)
        with self._intake.room.hold() as held:
            async with asyncio.timeout(self._body_deadline_s):
                async for chunk in request.stream():
                    unpacker.feed(chunk)
                    held.grow(len(unpacker))
            batch = await self._intake.take(unpacker.finish(), content_type, signal)
        return _message(thanks(signal, batch), 200, content_type)


def _refusal(status: int, reason: str, content_type: str) -> Response:
    is_welcome_later = status in _AGAIN
    response = _message(
        status_of(_GRPC_CODES[status], reason, retry_s=RETRY_AFTER_S if is_welcome_later else 0),
        status,
        content_type,
    )
    if is_welcome_later:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _message(message: Message, status: int, content_type: str) -> Response:
    if content_type == JSON:
        return Response(MessageToJson(message, indent=None), status, media_type=JSON)
    return Response(message.SerializeToString(), status, media_type=PROTOBUF)
