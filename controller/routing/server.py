"""The router's front door: gRPC on a unix socket over a lease keeper.

Before it: `remote` in judges, use cases and workflows. After it: `keeper`. Every method is one line of translation;
errors of ours cross as a status plus a trailer (`proto.codec`), anything else is logged and crosses as INTERNAL without
its text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from controller.errors import (
    Conflict,
    InvalidInput,
    LeaseRefused,
    NotFound,
    SerinusError,
    Unavailable,
)
from controller.model.lease import ClosureKind
from controller.model.target import TargetKey
from controller.observability import logger
from controller.routing.port import LeaseKeeper
from controller.routing.proto import codec
from controller.routing.proto import router_pb2 as wire

SERVICE = "serinus.router.v1.Router"
LONGEST_MESSAGE = 16 * 1024 * 1024
METADATA_BYTES = 128 * 1024
"""A closure with its verdict travels in a trailer; gRPC's own limit of 8 KiB is near."""
STATUS = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (LeaseRefused, grpc.StatusCode.FAILED_PRECONDITION),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)
"""For people who look with gRPC tools; our own client reads the trailer."""

log = logger(__name__)


class RouterServer:
    """Serves a keeper.

    Args:
        keeper: Answers.
        socket: Where to listen; mode 0600.
    """

    def __init__(self, *, keeper: LeaseKeeper, socket: Path) -> None:
        self._keeper = keeper
        self._socket = socket
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            RuntimeError: The socket cannot be bound.
        """
        methods = {
            "Declare": self._method(self._declare, wire.DeclareRequest),
            "Remove": self._method(self._remove, wire.TargetRequest),
            "Targets": self._method(self._targets, wire.Empty),
            "Grant": self._method(self._grant, wire.GrantRequest),
            "Renew": self._method(self._renew, wire.RenewRequest),
            "Close": self._method(self._close, wire.CloseRequest),
            "Promote": self._method(self._promote, wire.PromoteRequest),
            "Observe": self._method(self._observe, wire.TargetRequest),
            "Counters": self._method(self._counters, wire.TargetRequest),
            "History": self._method(self._history, wire.HistoryRequest),
        }
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", LONGEST_MESSAGE),
                ("grpc.max_send_message_length", LONGEST_MESSAGE),
                ("grpc.max_metadata_size", METADATA_BYTES),
            ]
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        self._server.add_insecure_port(f"unix:{self._socket}")
        self._socket.chmod(0o600)
        await self._server.start()

    async def aclose(self, *, grace_s: float = 1.0) -> None:
        """Stop listening; calls that run have `grace_s` seconds to end. Idempotent."""
        if self._server is not None:
            await self._server.stop(grace_s)
            self._server = None

    def _method(
        self, answer: Callable[[Any], Awaitable[Message]], request: type[Message]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def serve(message: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            try:
                return await answer(message)
            except SerinusError as error:
                trailer = ((codec.ERROR_TRAILER, codec.error_to_bytes(error)),)
                await context.abort(_status(error), error.message[:200], trailer)
            except Exception:
                log.exception("call_failed", method=answer.__name__)
                await context.abort(grpc.StatusCode.INTERNAL, "the router failed; its log says why")
            raise AssertionError("abort always raises")

        return grpc.unary_unary_rpc_method_handler(
            serve,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    async def _declare(self, message: wire.DeclareRequest) -> Message:
        try:
            target = codec.target_from_json(message.target_json)
        except ValueError as error:
            raise InvalidInput("expected a target as JSON", field="target") from error
        await self._keeper.declare(target)
        return wire.Empty()

    async def _remove(self, message: wire.TargetRequest) -> Message:
        await self._keeper.remove(TargetKey(message.target))
        return wire.Empty()

    async def _targets(self, _: wire.Empty) -> Message:
        found = await self._keeper.targets()
        return wire.TargetsAnswer(target_json=[codec.target_to_json(target) for target in found])

    async def _grant(self, message: wire.GrantRequest) -> Message:
        return codec.lease_to_wire(await self._keeper.grant(codec.request_from_wire(message)))

    async def _renew(self, message: wire.RenewRequest) -> Message:
        answers = await self._keeper.renew([codec.renewal_from_wire(one) for one in message.renewals])
        return wire.RenewAnswer(answers=[codec.answer_to_wire(answer) for answer in answers])

    async def _close(self, message: wire.CloseRequest) -> Message:
        try:
            kind, verdict = ClosureKind(message.kind), codec.verdict_from_json(message.verdict_json)
        except ValueError as error:
            raise InvalidInput("expected a known kind and a verdict as JSON", field="kind") from error
        target = TargetKey(message.target)
        closure = await self._keeper.close(target, message.release, kind, message.reason, verdict)
        return codec.closure_to_wire(closure)

    async def _promote(self, message: wire.PromoteRequest) -> Message:
        closure = await self._keeper.promote(TargetKey(message.target), message.release, message.version)
        return codec.closure_to_wire(closure)

    async def _observe(self, message: wire.TargetRequest) -> Message:
        return codec.observation_to_wire(await self._keeper.observe(TargetKey(message.target)))

    async def _counters(self, message: wire.TargetRequest) -> Message:
        return codec.reading_to_wire(await self._keeper.counters(TargetKey(message.target)))

    async def _history(self, message: wire.HistoryRequest) -> Message:
        target = TargetKey(message.target)
        found = await self._keeper.history(target, message.version, message.window_s)
        return codec.history_to_wire(found)


def _status(error: SerinusError) -> grpc.StatusCode:
    return next((status for kind, status in STATUS if isinstance(error, kind)), grpc.StatusCode.ABORTED)
