"""The lease keeper seen from another process.

Before it: judges, use cases and workflows. After it: `server` in the router process. The channel is made at the first
call and finds a restarted router by itself; every call has a deadline, and no answer is `RouterUnavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from controller.errors import RouterUnavailable, SerinusError
from controller.model.lease import (
    Closure,
    ClosureKind,
    GrantRequest,
    Lease,
    Observation,
    Renewal,
    RenewalAnswer,
)
from controller.model.look import History, Reading
from controller.model.target import Target, TargetKey
from controller.model.verdict import Verdict
from controller.routing.port import LeaseKeeper
from controller.routing.proto import codec
from controller.routing.proto import router_pb2 as wire

SERVICE = "serinus.router.v1.Router"
QUICK_S = 1.0
"""Deadline of what answers from memory."""
PATIENT_S = 5.0
"""Deadline of what waits for disk and proxies (2 s)."""
OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.max_metadata_size", 128 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
)

Answer = TypeVar("Answer", bound=Message)


class RemoteKeeper(LeaseKeeper):
    """Speaks to the keeper in the router process.

    Args:
        socket: The router's unix socket.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._channel: grpc.aio.Channel | None = None

    async def declare(self, target: Target) -> None:
        """Make a target known, or replace what is known of it."""
        request = wire.DeclareRequest(target_json=codec.target_to_json(target))
        await self._call("Declare", request, wire.Empty, PATIENT_S)

    async def remove(self, target: TargetKey) -> None:
        """Forget a target and its route."""
        await self._call("Remove", wire.TargetRequest(target=target), wire.Empty, PATIENT_S)

    async def targets(self) -> tuple[Target, ...]:
        """Return every declared target with its present stable version."""
        found = await self._call("Targets", wire.Empty(), wire.TargetsAnswer, QUICK_S)
        return tuple(codec.target_from_json(text) for text in found.target_json)

    async def grant(self, request: GrantRequest) -> Lease:
        """Give a lease with the next epoch and apply its share."""
        return codec.lease_from_wire(
            await self._call("Grant", codec.request_to_wire(request), wire.Lease, PATIENT_S)
        )

    async def renew(self, renewals: Sequence[Renewal]) -> tuple[RenewalAnswer, ...]:
        """Renew a batch; one answer a line, in order."""
        lines = [wire.Renewal(target=one.target, release=one.release, epoch=one.epoch) for one in renewals]
        found = await self._call("Renew", wire.RenewRequest(renewals=lines), wire.RenewAnswer, QUICK_S)
        return tuple(codec.answer_from_wire(answer) for answer in found.answers)

    async def close(
        self,
        target: TargetKey,
        release: str,
        kind: ClosureKind,
        reason: str,
        verdict: Verdict | None = None,
    ) -> Closure:
        """Bar a release for ever and take its share back."""
        request = wire.CloseRequest(
            target=target,
            release=release,
            kind=kind.value,
            reason=reason,
            verdict_json=codec.verdict_to_json(verdict),
        )
        return codec.closure_from_wire(await self._call("Close", request, wire.Closure, PATIENT_S))

    async def promote(self, target: TargetKey, release: str, version: str) -> Closure:
        """Make a version stable and bar the release as PROMOTED."""
        request = wire.PromoteRequest(target=target, release=release, version=version)
        return codec.closure_from_wire(await self._call("Promote", request, wire.Closure, PATIENT_S))

    async def observe(self, target: TargetKey) -> Observation:
        """Return epoch, lease and the proxies' state for a target."""
        request = wire.TargetRequest(target=target)
        return codec.observation_from_wire(await self._call("Observe", request, wire.Observation, QUICK_S))

    async def counters(self, target: TargetKey) -> Reading:
        """Return the newest counters of a target's versions."""
        request = wire.TargetRequest(target=target)
        return codec.reading_from_wire(await self._call("Counters", request, wire.Reading, QUICK_S))

    async def history(self, target: TargetKey, version: str, window_s: float) -> History:
        """Return what a version served lately."""
        request = wire.HistoryRequest(target=target, version=version, window_s=window_s)
        return codec.history_from_wire(await self._call("History", request, wire.HistoryAnswer, QUICK_S))

    async def aclose(self) -> None:
        """Close the channel. Idempotent; a later call opens a new one."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _call(self, method: str, request: Message, answer: type[Answer], timeout_s: float) -> Answer:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(f"unix:{self._socket}", options=OPTIONS)
        call: grpc.aio.UnaryUnaryMultiCallable[Message, Answer] = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            found: Answer = await call(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _ours(error, method) from error
        return found


def _ours(error: grpc.aio.AioRpcError, method: str) -> SerinusError:
    for key, value in error.trailing_metadata() or ():
        if key == codec.ERROR_TRAILER and isinstance(value, bytes):
            with suppress(ValueError):
                return codec.error_from_bytes(value)
    return RouterUnavailable(
        f"the router did not answer {method.lower()} ({error.code().name.lower()}): "
        "is `serinus router` running? it is safe to repeat the call"
    )
