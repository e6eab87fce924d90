"""Runs one instance in this process until SIGTERM: `python -m services.serve catalog v2 --port 9002`.

Before it: the launcher's fork, or a person. After it: the app of the service, on one event loop.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from services.catalog import app as catalog
from services.faults import Faults
from services.instance import Instance, instance_of
from services.storefront import app as storefront
from services.telemetry import configure_logs


@dataclass(frozen=True, slots=True)
class Service:
    """How a service is built, and which versions of it there are."""

    create: Callable[[Instance], FastAPI]
    versions: Mapping[str, Faults]


SERVICES: dict[str, Service] = {
    "catalog": Service(catalog.create, catalog.VERSIONS),
    "storefront": Service(storefront.create, storefront.VERSIONS),
}
"""Every service that can be started, by name."""

HOST = "127.0.0.1"
_KEEP_ALIVE_S = 3900
"""Longer than a proxy keeps an idle connection (Envoy: 1 h). If the server closes first, a request that is sent at that
moment is lost: an error that no version made."""


def check(instance: Instance) -> None:
    """Refuse what cannot be built, before anything is forked.

    Raises:
        ValueError: There is no such service or version; the message says which there are.
    """
    if instance.service not in SERVICES:
        raise ValueError(f"name: services are {', '.join(SERVICES)}")
    versions = SERVICES[instance.service].versions
    if instance.version not in versions and instance.faults is None:
        raise ValueError(
            f"version: {instance.service} has {', '.join(versions)}; others need faults in options"
        )


def listen(port: int) -> socket.socket:
    """Bind a loopback port; 0 takes a free one.

    Raises:
        OSError: The port is taken.
    """
    # The protocol by name: asyncio sets TCP_NODELAY only then, and without it every answer waits 40 ms for an ACK.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def run(instance: Instance, bound: socket.socket, *, grace_s: int = 3) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    Args:
        instance: What to serve.
        bound: Where; from `listen`.
        grace_s: How long open requests may take after the signal, seconds.
    """
    # For a signal that comes before uvicorn listens for it, and for the one that uvicorn raises again when it is done:
    # the default action would turn a clean stop into "killed".
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    # Requests leave no cycles behind; looking for some after every 700 objects costs a tenth of the CPU.
    gc.set_threshold(20_000, 20, 50)
    config = uvicorn.Config(
        SERVICES[instance.service].create(instance),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
    )
    try:
        uvicorn.Server(config).run(sockets=[bound])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def main() -> int:
    """Run one instance from the command line."""
    parser = argparse.ArgumentParser(prog="python -m services.serve", description="Run one service instance.")
    parser.add_argument("name", choices=sorted(SERVICES))
    parser.add_argument("version")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--options", type=json.loads, default={}, help="JSON, as in the launcher's protocol")
    given = parser.parse_args()
    configure_logs()
    try:
        instance = instance_of(given.name, given.version, given.port, given.options)
        check(instance)
        bound = listen(instance.port)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    sys.stderr.write(f"{given.name} {given.version} on http://{HOST}:{bound.getsockname()[1]}\n")
    return run(instance, bound)


if __name__ == "__main__":
    sys.exit(main())
