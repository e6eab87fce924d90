"""A real Envoy, real upstreams and a real router process for tests; everything on loopback, everything ended by pid."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.model.lease import Observation
from controller.model.target import Target, TargetKey
from controller.routing.envoy.bootfile import BootFiles
from controller.routing.envoy.bootstrap import LOOPBACK, EnvoyOptions, envoy_arguments
from controller.routing.envoy.plane import EnvoyPlane
from controller.routing.envoy.tls import Listener
from controller.routing.envoy.uplink import Uplink
from controller.routing.port import DataPlane, LeaseKeeper, Shares

HOST = "catalog.localhost"
CATALOG = TargetKey("local.catalog")
_CHANCE = random.SystemRandom()
"""Not the seeded one: suites that run side by side must not draw the same ports."""
RESET = 0
"""Instead of a status: the upstream cuts the connection without an answer."""


def free_port() -> int:
    """Return a port of loopback that was free a moment ago.

    Below those that the kernel gives to outgoing connections, so that none of them takes the port while an upstream that
    is to come back does not listen.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = _CHANCE.randrange(max(first - 12_000, 1_024), first)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for a real process; fails when it takes longer."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


@dataclass(slots=True)
class Upstream:
    """One version of a service.

    Args:
        name: Its answer's body.
        answer: Status by number of the request (from 0); RESET cuts the connection.
        waits_for: No answer before this is set.
    """

    name: str
    answer: Callable[[int], int] = lambda number: 200
    waits_for: asyncio.Event | None = None
    port: int = field(default_factory=free_port)
    served: Counter[int] = field(default_factory=Counter)
    head: dict[str, str] = field(default_factory=dict)
    path: str = ""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Return host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def total(self) -> int:
        """How many requests came."""
        return self.served.total()

    @property
    def failed(self) -> int:
        """How many of them were answered with 500 or above, or not at all."""
        return sum(number for status, number in self.served.items() if status == RESET or status >= 500)

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, EOFError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.path, self.head = head.split(b" ", 2)[1].decode(), _headers(head)
                await reader.readexactly(int(self.head.get("content-length", "0")))
                status = self.answer(self.total)
                self.served[status] += 1
                if status == RESET:
                    break
                if self.waits_for is not None:
                    await self.waits_for.wait()
                body = self.name.encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
                await writer.drain()
        self._writers.discard(writer)
        writer.transport.abort()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a user got."""

    status: int
    version: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class Edge:
    """One Envoy process.

    Args:
        folder: Short, because unix sockets are in it.
        has_default_limits: It is somebody's own Envoy, whose bootstrap leaves out our raised limits.
        has_admin_layer: Its runtime can be overridden through the admin interface, which our bootstrap does not allow.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    trusted: tuple[str, ...] = LOOPBACK
    node_id: str = "edge-1"
    router: Path | None = None
    has_default_limits: bool = False
    has_admin_layer: bool = False
    uplink: Uplink | None = None
    collector: tuple[str, int] | None = None

    @property
    def xds(self) -> Path:
        """The router's xDS socket; `router` is its folder if that is not this edge's."""
        return (self.router or self.folder) / "xds.sock"

    @property
    def admin(self) -> Path:
        """The admin socket."""
        return self.folder / "envoy.sock"

    @property
    def access_log(self) -> Path:
        """The access log."""
        return self.folder / "access.jsonl"

    @property
    def boot(self) -> BootFiles:
        """The files it starts from, where a router process keeps them too."""
        return BootFiles(
            EnvoyOptions(
                node_id=self.node_id,
                listen_port=self.port,
                xds_socket=self.xds,
                admin_socket=self.admin,
                access_log=self.access_log,
                routes=self.folder / "state" / "envoy" / "routes.json",
                trusted=self.trusted,
                uplink=self.uplink,
                collector=self.collector,
            )
        )

    def lines(self) -> list[dict[str, object]]:
        """Return the access log so far."""
        if not self.access_log.exists():
            return []
        return [json.loads(line) for line in self.access_log.read_text().splitlines()]

    def start(self) -> None:
        """Run Envoy; it asks for its configuration whenever the router answers."""
        boot = self.boot
        boot.refresh()
        if self.has_default_limits:
            _change_layers(boot.bootstrap, lambda layers: [one for one in layers if one["name"] != "limits"])
        if self.has_admin_layer:
            _change_layers(boot.bootstrap, lambda layers: [*layers, {"name": "override", "admin_layer": {}}])
        self.admin.unlink(missing_ok=True)
        with (self.folder / "envoy.log").open("ab") as log:
            self.process = subprocess.Popen(envoy_arguments(boot.bootstrap), stdout=log, stderr=log)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def ask(
        self,
        requests: int = 1,
        *,
        host: str = HOST,
        headers: Sequence[tuple[str, str]] = (),
        method: str = "GET",
        path: str = "/",
    ) -> list[Reply]:
        """Send requests one after another over one connection (a new one when it was closed)."""
        return await self.ask_each([headers] * requests, host=host, method=method, path=path)

    async def ask_each(
        self,
        each: Sequence[Sequence[tuple[str, str]]],
        *,
        host: str = HOST,
        method: str = "GET",
        path: str = "/",
    ) -> list[Reply]:
        """Send one request for each set of headers, as `ask` does."""
        replies: list[Reply] = []
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for headers in each:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            writer.write(
                f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{lines}\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            found = _headers(head)
            body = await reader.readexactly(int(found.get("content-length", "0")))
            replies.append(Reply(int(head.split()[1]), body.decode(), found))
            if found.get("connection") == "close":
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.close()
        await writer.wait_closed()
        return replies

    async def modify_runtime(self, key: str, value: str) -> None:
        """Override a runtime key through the admin interface; "" takes the override away."""
        reader, writer = await asyncio.open_unix_connection(str(self.admin))
        path = f"/runtime_modify?{key}={value}"
        writer.write(
            f"POST {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        answer = await reader.read()
        writer.close()
        assert b" 200 " in answer.split(b"\r\n", 1)[0], answer

    async def answers(self, status: int, *, host: str = HOST, within_s: float = 10.0) -> Reply:
        """Ask until the port is open and the answer has this status; returns it."""
        async with asyncio.timeout(within_s):
            while True:
                with suppress(OSError):
                    (reply,) = await self.ask(host=host)
                    if reply.status == status:
                        return reply
                await asyncio.sleep(0.01)

    async def split(self, requests: int) -> Counter[str]:
        """Send requests over four connections; returns how many each version answered."""
        found = await asyncio.gather(*(self.ask(requests // 4) for _ in range(4)))
        return Counter(reply.version for replies in found for reply in replies)


def _change_layers(bootstrap: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    found = json.loads(bootstrap.read_text())
    found["layered_runtime"]["layers"] = change(found["layered_runtime"]["layers"])
    bootstrap.write_text(json.dumps(found))


def _headers(head: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.decode().split("\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


@asynccontextmanager
async def serving(*upstreams: Upstream) -> AsyncIterator[tuple[Upstream, ...]]:
    """Run upstreams."""
    for one in upstreams:
        await one.start()
    try:
        yield upstreams
    finally:
        for one in upstreams:
            await one.stop()


@asynccontextmanager
async def planned(
    edge: Edge,
    *others: Edge,
    ttl_s: float = 3.0,
    is_renewed: bool = True,
    listener: Listener | None = None,
) -> AsyncIterator[EnvoyPlane]:
    """Make an Envoy plane in this process, renewed as the keeper would; it and its Envoys end with the block."""
    plane = EnvoyPlane(
        xds_socket=edge.xds,
        admin_socket=edge.admin,
        layer_ttl_s=ttl_s,
        boot=edge.boot,
        more_admin_sockets=[other.admin for other in others],
        listener=listener,
    )

    async def renew() -> None:
        while is_renewed:
            await plane.renew()
            await asyncio.sleep(0.2)

    renewing = asyncio.create_task(renew())
    try:
        yield plane
    finally:
        renewing.cancel()
        for one in (edge, *others):
            one.kill()
        await plane.aclose()


def shop(*upstreams: Upstream, more: Mapping[str, tuple[str, ...]] | None = None) -> Target:
    """Return the target `catalog`: the first upstream is stable, each is a version of its own name."""
    versions = {one.name: (one.address,) for one in upstreams}
    return Target(name="catalog", stable=upstreams[0].name, versions={**versions, **(more or {})})


async def accepted(plane: DataPlane, within_s: float = 10.0) -> None:
    """Wait until an Envoy is connected and has everything."""
    await until(lambda: bool(plane.nodes()) and all(node.acknowledged for node in plane.nodes()), within_s)


async def applied(keeper: LeaseKeeper, target: TargetKey) -> Observation:
    """Wait until the keeper sees a proxy that has everything."""
    seen = await keeper.observe(target)
    try:
        async with asyncio.timeout(10):
            while not seen.is_applied:
                await asyncio.sleep(0.02)
                seen = await keeper.observe(target)
    except TimeoutError:
        raise AssertionError(f"not applied after 10 s: {seen}") from None
    return seen


@dataclass(slots=True)
class RouterProcess:
    """The router as a process of its own, on the sockets of an edge."""

    edge: Edge
    ttl_s: float = 3.0
    process: subprocess.Popen[bytes] | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    """Further variables of its environment."""

    @property
    def socket(self) -> Path:
        """The keeper's socket."""
        return self.edge.folder / "router.sock"

    @property
    def log(self) -> str:
        """What it said so far."""
        return (self.edge.folder / "router.log").read_text()

    def start(self) -> subprocess.Popen[bytes]:
        """Run it."""
        program = (
            "import asyncio; from controller import observability, settings; observability.configure('router');"
            "from controller.routing.process import serve; asyncio.run(serve(settings.load()))"
        )
        environment = {
            **os.environ,
            "SERINUS_STATE_DIR": str(self.edge.folder / "state"),
            "SERINUS_RUNTIME_DIR": str(self.edge.folder),
            "SERINUS_ROUTER__LAYER_TTL_S": str(self.ttl_s),
            "SERINUS_ENVOY__ADMIN_SOCKET": str(self.edge.admin),
            "SERINUS_ENVOY__ACCESS_LOG": str(self.edge.access_log),
            "SERINUS_ENVOY__PORT": str(self.edge.port),
            **self.more,
        }
        with (self.edge.folder / "router.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program], env=environment, stdout=log, stderr=log, cwd=Path.cwd()
            )
        return self.process

    def send(self, signum: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(signum)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Hand:
    """Shares that a test sets by hand."""

    def __init__(self) -> None:
        self.shares: dict[TargetKey, Shares] = {}

    def __call__(self) -> dict[TargetKey, Shares]:
        """Return them."""
        return dict(self.shares)

    async def set(
        self, plane: EnvoyPlane, basis_points: int, *, version: str = "v2", release: str = "rel-1"
    ) -> None:
        """Push a share."""
        self.shares = {CATALOG: Shares(version, release, basis_points)} if basis_points else {}
        await plane.push()


async def set_up(edge: Edge, plane: EnvoyPlane, *targets: Target) -> Hand:
    """Start plane and Envoy with these targets, and wait until Envoy has them."""
    hand = Hand()
    await plane.start(hand)
    await plane.declare(targets)
    edge.start()
    await accepted(plane)
    return hand
