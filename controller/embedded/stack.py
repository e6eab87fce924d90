"""The whole embedded run: claims the folder, chooses ports, starts everything, and leaves nothing behind.

Before it: `serinus up`, `serinus demo`, or a test. After it: `supervisor` and `versions`. Everything that can start at
once does; nothing waits for anything but what it connects to by itself. Use it as

    async with open_stack(settings, tell=print) as stack:
        await stack.ready()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.embedded import folders, programs, shop
from controller.embedded.api import Api
from controller.embedded.control import Control
from controller.embedded.housekeeping import Housekeeping
from controller.embedded.launcher import LauncherForks
from controller.embedded.ports import Ports
from controller.embedded.site import Site, choose_site
from controller.embedded.supervisor import Event, Supervisor
from controller.embedded.versions import Versions
from controller.embedded.wire import Address, call, serve
from controller.errors import Unavailable
from controller.settings import Channel, Settings

READY_WITHIN_S = 90.0
DECLARE_WITHIN_S = 30.0
TRY_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Urls:
    """Where people look."""

    api: str
    docs: str
    console: str
    """Clickable, holds the token."""
    temporal: str
    storefront: str
    telemetry: str
    """OTLP over HTTP."""
    telemetry_grpc: str = ""


class Stack:
    """A running stack. Made by `open_stack`.

    Attributes:
        site: Folders, ports and settings of this run.
        token: Of the API.
        supervisor: Keeps the parts alive.
        versions: Keeps the versions of the shop alive.
        api: Our API.
    """

    def __init__(self, *, site: Site, token: str, supervisor: Supervisor, versions: Versions) -> None:
        self.site = site
        self.token = token
        self.supervisor = supervisor
        self.versions = versions
        self.api = Api(port=site.settings.api.port, token=token)

    @property
    def settings(self) -> Settings:
        """What every process of this run reads."""
        return self.site.settings

    @property
    def logs(self) -> Path:
        """Where the output of each part is."""
        return self.settings.state_dir / "logs"

    @property
    def urls(self) -> Urls:
        """Where people look."""
        api = f"http://127.0.0.1:{self.settings.api.port}"
        return Urls(
            api=api,
            docs=f"{api}/docs",
            console=f"{api}/?token={self.token}",
            temporal=f"http://127.0.0.1:{self.site.temporal_ui_port}",
            storefront=f"http://{shop.host('storefront')}:{self.settings.envoy.port}/",
            telemetry=self.settings.telemetry.url,
            telemetry_grpc=self.settings.telemetry.grpc_url or "",
        )

    async def ready(self, *, within_s: float = READY_WITHIN_S) -> None:
        """Return when every part is ready, the shop is declared and its storefront answers.

        Raises:
            Unavailable: Something is not ready in time; the message names it.
        """
        await self.supervisor.ready(within_s=within_s)
        await _patiently(lambda: shop.declare(self.api), DECLARE_WITHIN_S)
        await _patiently(self._serves, DECLARE_WITHIN_S)

    async def _serves(self) -> None:
        answer = await call(
            Address(self.settings.envoy.port), "GET", "/", headers={"Host": shop.host("storefront")}
        )
        if answer.status != 200:
            raise Unavailable(f"the storefront answers {answer.status}")

    async def version_ready(self, service: str, version: str, *, within_s: float) -> None:
        """Start a version of the shop if it does not run, and return when it can take requests.

        Raises:
            Unavailable: It is not ready in time.
        """
        self.versions.start(service, version)

        async def check() -> None:
            health = await self.versions.health(service, version)
            if not health.is_ready:
                raise Unavailable(f"{service} {version}: {health.reason}")

        await _patiently(check, within_s)

    def status(self) -> Mapping[str, object]:
        """Return every part and every version, JSON-safe."""
        return {
            "pid": os.getpid(),
            "parts": self.supervisor.status(),
            "versions": self.versions.status(),
        }

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a part (`router`) or to a version (`catalog.v2`), for tests and for the curious."""
        pids = {str(each["name"]): each["pid"] for each in self.versions.status()}
        if name not in pids:
            self.supervisor.send(name, number)
        elif isinstance(pid := pids[name], int):
            os.kill(pid, number)


@asynccontextmanager
async def open_stack(
    settings: Settings,
    *,
    tell: Callable[[Event], None],
    channels: Callable[[Ports], Mapping[str, Channel]] | None = None,
) -> AsyncIterator[Stack]:
    """Start everything and yield at once; `Stack.ready` waits. Leaving it stops everything.

    Args:
        settings: State folder, preferred ports and whatever else was set.
        tell: Hears every event of every part; must not block.
        channels: Returns alert channels beside those of the settings; may take a port for its receiver.

    Raises:
        AlreadyRunning: Another stack runs on the same state folder.
        ConfigurationError: A folder, a port or a program is missing.
    """
    async with AsyncExitStack() as undo:
        state_dir = folders.private_folder(settings.state_dir.absolute())
        folders.require_room(state_dir)
        claim = folders.Claim(state_dir)
        undo.callback(claim.release)
        site = choose_site(settings, state_dir, channels or (lambda ports: {}), undo)
        stack = await _compose(site, tell, undo)
        _write_up(stack, state_dir / "up.json")
        undo.callback((state_dir / "up.json").unlink, missing_ok=True)
        yield stack


async def _compose(site: Site, tell: Callable[[Event], None], undo: AsyncExitStack) -> Stack:
    settings = site.settings
    logs = folders.private_folder(settings.state_dir / "logs")
    token = folders.token(settings.token_file)
    supervisor = Supervisor(logs_folder=logs, tell=tell)
    forks = LauncherForks(site.launcher_socket)
    versions = Versions(
        forks=forks,
        ports=site.ports,
        known=shop.SERVICES,
        options=lambda service, version: shop.options(settings, logs, service, version),
        memory=settings.state_dir / "versions.json",
        tell=tell,
    )
    stack = Stack(site=site, token=token, supervisor=supervisor, versions=versions)
    # Undone from last to first: what looks after parts ends before the parts do.
    undo.push_async_callback(supervisor.stop)
    undo.push_async_callback(forks.aclose)
    undo.push_async_callback(versions.aclose)
    control = Control(versions=versions, status=stack.status)
    server = await serve(control.answer, Address(socket=settings.supervisor_socket))
    undo.callback(settings.supervisor_socket.unlink, missing_ok=True)
    undo.callback(server.close)
    housekeeping = Housekeeping(settings=settings, logs_folder=logs)
    # What everything leans on first: the kernel gives the processors to whoever came first.
    supervisor.add(programs.temporal(site))
    for part in programs.ours(site):
        supervisor.add(part)
    supervisor.add(programs.launcher(site))
    supervisor.add(programs.envoy(site))
    shop.begin(versions)
    undo.push_async_callback(_cancel, asyncio.create_task(housekeeping.run(), name="housekeeping"))
    return stack


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _patiently(act: Callable[[], Awaitable[None]], within_s: float) -> None:
    """Try again while a part says that trying again can help."""
    reason = "no answer"
    try:
        async with asyncio.timeout(within_s):
            while True:
                try:
                    return await act()
                except Unavailable as error:
                    reason = error.message
                await asyncio.sleep(TRY_EVERY_S)
    except TimeoutError:
        raise Unavailable(f"not ready after {within_s:g} s: {reason}") from None


def _write_up(stack: Stack, path: Path) -> None:
    """Tell other commands where this run is; holds no token, but is for this user alone all the same."""
    urls = stack.urls
    text = json.dumps(
        {
            "pid": os.getpid(),
            "api": urls.api,
            "docs": urls.docs,
            "temporal_ui": urls.temporal,
            "storefront": urls.storefront,
            "edge": f"http://127.0.0.1:{stack.settings.envoy.port}",
            "telemetry": urls.telemetry,
            "telemetry_grpc": urls.telemetry_grpc,
            "socket": str(stack.settings.supervisor_socket),
            "ports": stack.site.ports.taken(),
        },
        indent=1,
    )
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)
