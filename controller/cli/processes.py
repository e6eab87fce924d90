"""The processes of a run as commands: router, controller, telemetry, worker. Each reads its settings, serves, and ends on
SIGTERM.

Before it: the supervisor of `serinus up`, a service manager, or a container. After it: the `serve` of each package. The
supervisor runs this module itself (`python -m controller.cli.processes router`), which saves the import of the command
line's own libraries four times.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING

from controller import observability, registry, settings
from controller.errors import ConfigurationError

if TYPE_CHECKING:
    import typer
    from fastapi import FastAPI

    from controller.releases.courier import Courier
    from controller.settings import Settings

EXIT_CONFIGURATION = 78
GRACE_S = 3
"""How long open requests may take after SIGTERM; event streams end with it."""
ID_BYTES = 10

log = observability.logger(__name__)


def register(app: typer.Typer) -> None:
    """Add the commands; the router's is in `controller.cli.router`, because it has one of its own below it."""
    for name, (about, _) in PROCESSES.items():
        if name == "router":
            continue
        app.command(name, help=about)(_command(name))


def main() -> int:
    """Run the process that the first argument names."""
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSES:
        sys.stderr.write(f"usage: python -m controller.cli.processes {'|'.join(PROCESSES)}\n")
        return 64
    return run(sys.argv[1])


def run(name: str) -> int:
    """Run one process to its end and return its exit code."""
    try:
        loaded = settings.load()
        observability.configure(name, loaded.log_level)
        _, serve = PROCESSES[name]
        asyncio.run(serve(loaded))
    except ConfigurationError as error:
        sys.stderr.write(f"serinus {name}: {error.message}\n")
        return EXIT_CONFIGURATION
    except KeyboardInterrupt:
        return 130
    return 0


def _command(name: str) -> Callable[[], None]:
    def command() -> None:
        code = run(name)
        if code:
            raise SystemExit(code)

    return command


async def _router(loaded: Settings) -> None:
    from controller.routing.process import serve

    await serve(loaded)


async def _telemetry(loaded: Settings) -> None:
    from controller.bootstrap import open_traces
    from controller.ingest.process import serve

    async with open_traces(loaded) as store:
        await serve(loaded, store)


async def _worker(loaded: Settings) -> None:
    await registry.load("process", "worker")(loaded)


async def _controller(loaded: Settings) -> None:
    from controller.api.app import create_app
    from controller.bootstrap import open_controller
    from controller.embedded.folders import token
    from controller.releases.use_cases import assemble

    async with open_controller(loaded) as parts:
        use_cases = assemble(
            store=parts.store,
            keeper=parts.keeper,
            runner=parts.runner,
            traces=parts.traces,
            workloads=parts.workloads,
            clock=time.time,
            new_id=lambda: secrets.token_hex(ID_BYTES),
        )
        app = create_app(
            use_cases=use_cases,
            traces=parts.traces,
            token=token(loaded.token_file),
            settings=loaded.api,
            temporal=loaded.temporal,
        )
        await _serve_api(app, loaded, use_cases.courier)


async def _serve_api(app: FastAPI, loaded: Settings, courier: Courier) -> None:
    """Serve until SIGTERM or SIGINT; the courier runs beside it."""
    import uvicorn

    class Server(uvicorn.Server):
        """uvicorn, with the signals left to us: its own way would end the process before the ledger is closed."""

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    server = Server(
        uvicorn.Config(
            app,
            host=loaded.api.host,
            port=loaded.api.port,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    stop = asyncio.Event()

    def end() -> None:
        server.should_exit = True
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    background = asyncio.create_task(courier.run(stop), name="courier")
    log.info("controller_started", port=loaded.api.port)
    try:
        await server.serve()
    finally:
        stop.set()
        await background
    log.info("controller_stopped")


PROCESSES: dict[str, tuple[str, Callable[[Settings], Coroutine[None, None, None]]]] = {
    "router": ("Run the router: lease keeper, Envoy's configuration, counters.", _router),
    "controller": ("Run the API.", _controller),
    "telemetry": ("Run the OTLP receiver with the trace store.", _telemetry),
    "worker": ("Run the Temporal worker: releases, judges, deliveries.", _worker),
}
"""Every process by name: what it is, and its `serve`."""


if __name__ == "__main__":
    sys.exit(main())
