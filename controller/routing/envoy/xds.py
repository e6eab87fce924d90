"""Delta ADS on a unix socket, and with mutual TLS on a port: one gRPC stream an Envoy, a `session` on each.

Before it: `plane` wakes the streams when something changed, `door` lets one in a node. After it: Envoy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from controller.routing.envoy.door import TWIN, Door
from controller.routing.envoy.proto import discovery_pb2
from controller.routing.envoy.roster import Roster
from controller.routing.envoy.session import Session, Wanted
from controller.routing.envoy.tls import Connections, Listener, credentials

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
PING_AFTER_MS = 3_000
PING_WITHIN_MS = 3_000
"""A frozen Envoy is dropped after these, so that it does not slow down every push for ever."""


SOCKET = "socket"


class XdsServer:
    """Delta ADS for every Envoy.

    Args:
        socket: Where Envoys on this host connect; mode 0600.
        listener: Where others do; None listens on the socket alone.
        wanted: Returns what every proxy should have at this moment.
        on_change: Called after every request and disconnect.
    """

    def __init__(
        self,
        *,
        socket: Path,
        wanted: Callable[[], Wanted],
        on_change: Callable[[], None],
        listener: Listener | None = None,
    ) -> None:
        self._socket = socket
        self._listener = listener
        self._connections = Connections()
        self._wanted = wanted
        self._on_change = on_change
        self.roster = Roster()
        self._door = Door(roster=self.roster, wake=self.wake, throw_out=self._throw_out)
        self._wakes: dict[Session, asyncio.Event] = {}
        self._streams: dict[Session, asyncio.Task[None]] = {}
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            RuntimeError: The socket or the port cannot be bound.
        """
        # Envoy pings more often than gRPC likes; strikes would cut the stream.
        options = [
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 50),
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.keepalive_time_ms", PING_AFTER_MS),
            ("grpc.keepalive_timeout_ms", PING_WITHIN_MS),
            ("grpc.max_receive_message_length", 16 * 1024 * 1024),
            ("grpc.so_reuseport", 0),  # a port that somebody has is an error, not a port shared in silence
        ]
        self._server = grpc.aio.server(options=options)
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=discovery_pb2.DeltaRequest.FromString,
            response_serializer=discovery_pb2.DeltaResponse.SerializeToString,
        )
        service, _, method = METHOD.strip("/").rpartition("/")
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        self._server.add_insecure_port(f"unix:{self._socket}")
        self._socket.chmod(0o600)
        if self._listener is not None:
            proof = credentials(self._listener, on_connection=self._connections.began)
            self._server.add_secure_port(self._listener.address, proof)
        await self._server.start()

    async def aclose(self) -> None:
        """End every stream; Envoys keep what they have."""
        if self._server is not None:
            await self._server.stop(grace=0)
            self._server = None

    def sessions(self) -> tuple[Session, ...]:
        """Return the connected Envoys that have said who they are."""
        return self.roster.sessions()

    def count_unproved(self) -> None:
        """Count the connections from other hosts that showed no certificate."""
        if unproved := self._connections.unproved():
            self.roster.events["unproved"] += unproved

    def wake(self, *, renew: bool = False) -> None:
        """Let every stream send what is due."""
        for session, event in self._wakes.items():
            if renew:
                session.renew()
            event.set()

    async def _serve(
        self,
        requests: AsyncIterator[discovery_pb2.DeltaRequest],
        context: grpc.aio.ServicerContext[discovery_pb2.DeltaRequest, discovery_pb2.DeltaResponse],
    ) -> None:
        session, wake = Session(self._wanted, self.roster.lapsed), asyncio.Event()
        via = _via(context)
        if via != SOCKET:
            self._connections.proved(context.peer())
        reader = asyncio.create_task(self._read(session, wake, requests, via))
        self._streams[session] = reader
        try:
            while not reader.done():
                await wake.wait()
                wake.clear()
                while not reader.done() and (response := session.due()) is not None:
                    await context.write(response)
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError, grpc.RpcError):
                await reader
            del self._streams[session]
            self._leave(session)
        if not session.node:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, TWIN)

    async def _read(
        self,
        session: Session,
        wake: asyncio.Event,
        requests: AsyncIterator[discovery_pb2.DeltaRequest],
        via: str,
    ) -> None:
        """Take in requests; ends when the stream does, or when its node has another one. Without a name nobody is served."""
        try:
            async for request in requests:
                if not session.node and request.node.id:
                    if not await self._door.admit(request.node.id, session, via=via):
                        return
                    self._wakes[session] = wake
                session.receive(request)
                wake.set()
                self._moved()
        finally:
            wake.set()

    def _throw_out(self, session: Session) -> None:
        self._leave(session)
        self._streams[session].cancel()

    def _leave(self, session: Session) -> None:
        self._wakes.pop(session, None)
        self.roster.leave(session)
        self._moved()

    def _moved(self) -> None:
        self._door.moved()
        self._on_change()


def _via(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Say who is at the other end: the socket, or the name in the certificate that it showed."""
    proof = context.auth_context()
    names = list(proof.get("x509_subject_alternative_name") or proof.get("x509_common_name") or ())
    return names[0].decode(errors="replace")[:200] if names else SOCKET
