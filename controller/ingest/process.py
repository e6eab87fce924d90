"""The telemetry process: serves the app of `app` and the methods of `over_grpc` until SIGTERM.

Before it: the CLI, which composes settings and store. After it: uvicorn and grpc.aio, both on loopback only. A crash or a flood here costs spans, and never
a lease: nothing but questions about traces depends on this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from controller import observability
from controller.egress import Egress
from controller.errors import ConfigurationError
from controller.ingest.app import create_app
from controller.ingest.counts import Metrics
from controller.ingest.forwarding import Forwarder
from controller.ingest.intake import Intake
from controller.ingest.over_grpc import GrpcReceiver
from controller.settings import LOOPBACK, Settings, Telemetry
from controller.traces.port import TraceStore

_KEEP_ALIVE_S = 75
_GRACE_S = 3
_MOST_CONNECTIONS = 256

log = observability.logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to us: its own way ends the process before the store is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(settings: Settings, store: TraceStore) -> None:
    """Receive and answer until SIGTERM or SIGINT; open requests get 3 s. The store stays the caller's.

    Raises:
        ConfigurationError: An address is taken, or is not loopback.
    """
    telemetry = settings.telemetry
    metrics = Metrics(store)
    forwarder = _forwarder(telemetry, metrics)
    intake = Intake(store, max_body_bytes=telemetry.max_body_bytes, forwarder=forwarder, metrics=metrics)
    server = _Server(_config(create_app(store, intake=intake)))
    over_grpc = GrpcReceiver(intake)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    forwarding = asyncio.create_task(forwarder.run(), name="forwarding") if forwarder else None
    try:
        with _listen(telemetry.host, telemetry.port) as bound:
            await _listen_grpc(over_grpc, telemetry)
            log.info("telemetry_started", url=telemetry.url, grpc_url=telemetry.grpc_url)
            await server.serve(sockets=[bound])
    finally:
        await over_grpc.aclose(grace_s=_GRACE_S)
        await intake.aclose()
        if forwarding is not None:
            forwarding.cancel()
            await asyncio.wait([forwarding])
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    log.info("telemetry_stopped")


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


def _forwarder(telemetry: Telemetry, metrics: Metrics) -> Forwarder | None:
    if telemetry.forward_url is None:
        return None
    return Forwarder(
        telemetry.forward_url,
        egress=Egress(telemetry.forward_allow),
        queue_bytes=telemetry.forward_queue_bytes,
        metrics=metrics,
    )


async def _listen_grpc(receiver: GrpcReceiver, telemetry: Telemetry) -> None:
    if telemetry.grpc_port is None:
        return
    try:
        await receiver.start(telemetry.host, telemetry.grpc_port)
    except RuntimeError as error:
        raise ConfigurationError(
            f"telemetry.grpc_port: {telemetry.host}:{telemetry.grpc_port} cannot be used; is it taken?"
        ) from error


def _listen(host: str, port: int) -> socket.socket:
    if host not in LOOPBACK:
        raise ConfigurationError(f"telemetry.host: only loopback ({', '.join(LOOPBACK)}) until logins exist")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: asyncio sets TCP_NODELAY only then, and without it every answer waits 40 ms for an ACK.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigurationError(f"telemetry.port: {host}:{port} cannot be used: {error.strerror}") from error
    return bound
