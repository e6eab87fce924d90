"""The telemetry process: serves the app of `app` until SIGTERM.

Before it: the CLI, which composes settings and store. After it: uvicorn. A crash or a flood here costs spans, and never
a lease: nothing but questions about traces depends on this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Generator

import uvicorn

from controller import observability
from controller.errors import ConfigurationError
from controller.ingest.app import create_app
from controller.settings import LOOPBACK, Settings
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
        ConfigurationError: The address is taken, or is not loopback.
    """
    server = _Server(
        uvicorn.Config(
            create_app(store, max_body_bytes=settings.telemetry.max_body_bytes),
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
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    try:
        with _listen(settings.telemetry.host, settings.telemetry.port) as bound:
            log.info("telemetry_started", url=settings.telemetry.url)
            await server.serve(sockets=[bound])
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    log.info("telemetry_stopped")


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
