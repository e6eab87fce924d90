"""The router process: book, data plane, keeper and server, and an orderly end.

Before it: `serinus router` (or the supervisor) with the settings. After it: everything in this folder. It is the
smallest process, because everything leans on it: it must start in less than a second and end without losing a word.
"""

from __future__ import annotations

import asyncio
import fcntl
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from controller import registry
from controller.errors import ConfigurationError
from controller.observability import logger
from controller.routing.book import Book
from controller.routing.keeper import TICK_S, Keeper
from controller.routing.port import DataPlane
from controller.routing.server import RouterServer
from controller.settings import Settings, Xds

if TYPE_CHECKING:
    from controller.routing.envoy.tls import Listener

SOCKET_PATH_BYTES = 107

log = logger(__name__)


def boot_clock() -> float:
    """Return seconds since boot; goes on in a suspend and while the process is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def serve(settings: Settings) -> None:
    """Run the router until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: Another router holds the same book, the book cannot be read, or a socket or port cannot
            be bound.
    """
    started_s = time.monotonic()
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    folder = settings.state_dir / "router"
    for made in (settings.state_dir, folder, settings.router_socket.parent, settings.xds_socket.parent):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stack.enter_context(_only_one(folder / "lock"))
        keeper = await _start(settings, Book.open(folder / "book.db"), stack)
        log.info("router_started", took_ms=round(1000 * (time.monotonic() - started_s)), leases=keeper.leases)
        await _until(stop, keeper, every_s=min(TICK_S, settings.router.layer_ttl_s / 3))
    log.info("router_stopped")


async def _start(settings: Settings, book: Book, stack: AsyncExitStack) -> Keeper:
    """Start keeper, server and metrics; the stack ends them in the reverse order."""
    keeper = Keeper(plane=_plane(settings), book=book, boot_clock=boot_clock, wall_clock=time.time)
    stack.push_async_callback(keeper.aclose)
    server = RouterServer(keeper=keeper, socket=settings.router_socket)
    stack.push_async_callback(server.aclose)
    try:
        await keeper.start()
        await server.start()
        if settings.router.metrics_port is not None:
            # Only when asked for: the library costs start-up time.
            from controller.routing.exposition import serve_metrics

            stack.callback(serve_metrics(settings.router.metrics_port, keeper))
    except (RuntimeError, OSError) as error:
        raise ConfigurationError(
            f"the router cannot listen ({error}); a socket's path holds at most {SOCKET_PATH_BYTES} bytes, "
            "and its ports must be free"
        ) from error
    return keeper


def _plane(settings: Settings) -> DataPlane:
    made = registry.load("data_plane", settings.router.data_plane)
    plane: DataPlane
    if settings.router.data_plane == "envoy":
        from controller.routing.envoy.bootfile import boot_files

        plane = made(
            xds_socket=settings.xds_socket,
            admin_socket=settings.admin_socket,
            more_admin_sockets=settings.envoy.more_admin_sockets,
            layer_ttl_s=settings.router.layer_ttl_s,
            history=settings.state_dir / "router" / "history.db",
            boot=boot_files(settings),
            listener=_listener(settings.router.xds),
        )
    else:
        plane = made()
    return plane


def _listener(xds: Xds) -> Listener | None:
    """Return the listener for other hosts, its files checked; None without one."""
    if xds.port is None or xds.certificate is None or xds.key is None or xds.client_ca is None:
        return None
    from controller.routing.envoy import tls

    made = tls.Listener(xds.host, xds.port, xds.certificate, xds.key, xds.client_ca)
    tls.check(made)
    return made


async def _until(stop: asyncio.Event, keeper: Keeper, *, every_s: float) -> None:
    """Tick until told to stop. A tick that fails ends the process: then shares lapse, and the supervisor starts anew."""
    ticking, told = asyncio.create_task(keeper.run(every_s)), asyncio.create_task(stop.wait())
    await asyncio.wait((ticking, told), return_when=asyncio.FIRST_COMPLETED)
    if ticking.done():
        await ticking
    for task in (ticking, told):
        task.cancel()
    await asyncio.gather(ticking, told, return_exceptions=True)


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold the state folder; a second router would serve the same proxies from an older memory."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(f"another router runs on {lock.parent}; stop it first") from error
        yield
