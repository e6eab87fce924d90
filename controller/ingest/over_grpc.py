"""OTLP over gRPC: the Export methods of traces, logs and metrics, with gzip or without.

Before it: the exporters of the services. After it: `intake`, the same as over HTTP. Messages stay bytes. A method is
served as one that takes a stream, which is the same on the wire: so nothing is read before there is room, and a flood
waits in its own sockets. No room is RESOURCE_EXHAUSTED with RetryInfo, which exporters obey. No Host is checked here:
a web page cannot speak gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio

from controller import observability
from controller.errors import TracesUnavailable
from controller.ingest.bodies import PROTOBUF, BodyRefused
from controller.ingest.intake import RETRY_AFTER_S, Held, Intake, Overloaded
from controller.ingest.thanks import status_of, thanks
from controller.model.telemetry import Signal

SERVICES: Mapping[str, Signal] = {
    "opentelemetry.proto.collector.trace.v1.TraceService": Signal.TRACES,
    "opentelemetry.proto.collector.logs.v1.LogsService": Signal.LOGS,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": Signal.METRICS,
}
BODY_DEADLINE_S = 10.0
_MOST_READ = 3
"""Messages that are read at once. Until it is there, each counts as long as it may be, and gRPC holds it three times
for a moment (measured: 12 MiB cost 36)."""
_MOST_CALLS = 128
"""Calls under way; one more is told to come again."""
_DETAILS = "grpc-status-details-bin"
_RefusedCall = tuple[grpc.StatusCode, str, bool]
"""Code, reason, and whether the same message is welcome later."""

log = observability.logger(__name__)


class GrpcReceiver:
    """Serves OTLP/gRPC.

    Args:
        intake: Where bodies go.
        body_deadline_s: Longest time for one message to arrive, and for a turn to read it, seconds.
    """

    def __init__(self, intake: Intake, *, body_deadline_s: float = BODY_DEADLINE_S) -> None:
        self._intake = intake
        self._body_deadline_s = body_deadline_s
        self._calls = 0
        self._turns = asyncio.Semaphore(_MOST_READ)
        self._server: grpc.aio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port.

        Args:
            host: Loopback.
            port: 0 for a free one.

        Raises:
            RuntimeError: The address cannot be bound.
        """
        self._server = grpc.aio.server(options=_options(self._intake.max_body_bytes))
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(
                    service, {"Export": grpc.stream_unary_rpc_method_handler(self._takes(signal))}
                )
                for service, signal in SERVICES.items()
            )
        )
        bound = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await self._server.start()
        return bound

    async def aclose(self, *, grace_s: float = 3.0) -> None:
        """Stop listening; calls that run have `grace_s` seconds to end. Idempotent."""
        if self._server is not None:
            await self._server.stop(grace_s)
            self._server = None

    def _takes(
        self, signal: Signal
    ) -> Callable[[AsyncIterator[bytes], grpc.aio.ServicerContext[Any, Any]], Awaitable[bytes]]:
        async def export(
            messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
        ) -> bytes:
            self._calls += 1
            try:
                answer = await self._answer(messages, signal)
            finally:
                self._calls -= 1
            status = "OK" if isinstance(answer, bytes) else answer[0].name
            self._intake.metrics.requests.labels(signal.value, "grpc", status).inc()
            if not isinstance(answer, bytes):
                await _refuse(context, *answer)
            return answer

        return export

    async def _answer(self, messages: AsyncIterator[bytes], signal: Signal) -> bytes | _RefusedCall:
        try:
            if self._calls > _MOST_CALLS:
                raise Overloaded("too many calls are under way; try again")
            with self._intake.room.hold() as held:
                body = await self._read(messages, held)
                batch = await self._intake.take(body, PROTOBUF, signal)
            return thanks(signal, batch).SerializeToString()
        except BodyRefused as error:
            return grpc.StatusCode.INVALID_ARGUMENT, error.message, False
        except TimeoutError:
            return (
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the message did not arrive within {self._body_deadline_s:g} s",
                True,
            )
        except Overloaded as error:
            return grpc.StatusCode.RESOURCE_EXHAUSTED, error.message, True
        except TracesUnavailable as error:
            log.warning("telemetry_refused", signal=signal.value, reason=error.message)
            return grpc.StatusCode.UNAVAILABLE, error.message, True

    async def _read(self, messages: AsyncIterator[bytes], held: Held) -> bytes:
        async with asyncio.timeout(self._body_deadline_s), self._turns:
            held.grow(self._intake.max_body_bytes)
            async for message in messages:
                held.grow(len(message))
                return message
        raise BodyRefused("expected one message", status=400)


def _options(max_body_bytes: int) -> list[tuple[str, int]]:
    return [
        # Of the message as it is on the wire, and again of what comes out of gzip.
        ("grpc.max_receive_message_length", max_body_bytes),
        ("grpc.max_concurrent_streams", _MOST_CALLS),
        # Two processes on one port would each get a part of the spans.
        ("grpc.so_reuseport", 0),
        # A stream's window stays at 64 KiB until its message is read, however fast the sender is.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Exporters with keep-alive of their own ask every 10 s at most; more often is a flood, and ends the connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.max_connection_idle_ms", 300_000),
    ]


async def _refuse(
    context: grpc.aio.ServicerContext[Any, Any], code: grpc.StatusCode, reason: str, is_welcome_later: bool
) -> NoReturn:
    status = status_of(code.value[0], reason, retry_s=RETRY_AFTER_S if is_welcome_later else 0)
    await context.abort(code, reason, ((_DETAILS, status.SerializeToString()),))
    raise AssertionError("abort always raises")
