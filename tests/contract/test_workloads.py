"""What every adapter of the port `Workloads` keeps to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.embedded import wire
from controller.embedded.control import Control
from controller.embedded.launcher import Forks
from controller.embedded.ports import Ports
from controller.embedded.versions import Versions
from controller.embedded.wire import Address, Answer, Request
from controller.errors import NotFound, WorkloadsUnavailable
from controller.model.target import Target
from controller.workloads.embedded import EmbeddedWorkloads
from controller.workloads.external import ExternalWorkloads
from controller.workloads.memory import MemoryWorkloads
from controller.workloads.port import Workloads

FREE = range(31_100, 31_200)


class LocalForks(Forks):
    """Versions as servers inside the test, so that the suite needs no process."""

    def __init__(self) -> None:
        self.servers: dict[int, asyncio.Server] = {}
        self._on_exit: Callable[[int, int], None] = lambda pid, code: None

    async def start(self, name: str, version: str, port: int, options: Mapping[str, object]) -> int:
        async def answer(request: Request) -> Answer:
            return Answer(200)

        pid = 1_000_000 + port
        self.servers[pid] = await wire.serve(answer, Address(port))
        return pid

    async def stop(self, pid: int, *, grace_s: float) -> None:
        self.crash(pid)

    def crash(self, pid: int) -> None:
        self.servers.pop(pid).close()
        self._on_exit(pid, 0)

    def close(self) -> None:
        for server in self.servers.values():
            server.close()

    def watch(self, *, on_exit: Callable[[int, int], None], on_lost: Callable[[], None]) -> None:
        self._on_exit = on_exit


@dataclass
class Bench:
    """One adapter, a target it can run, and whether it really starts and stops."""

    workloads: Workloads
    target: Target
    manages: bool


async def _memory(tmp_path: Path, stack: AsyncExitStack) -> Bench:
    return Bench(MemoryWorkloads(), _target({"v1": (), "v2": ()}), manages=True)


async def _external(tmp_path: Path, stack: AsyncExitStack) -> Bench:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    stack.callback(server.close)
    port = server.sockets[0].getsockname()[1]
    target = _target({"v1": (f"127.0.0.1:{port}",), "v2": (f"127.0.0.1:{port}",)}, workloads="external")
    return Bench(ExternalWorkloads(), target, manages=False)


async def _embedded(tmp_path: Path, stack: AsyncExitStack) -> Bench:
    locks = tmp_path / "locks"
    locks.mkdir()
    ports = Ports(memory=tmp_path / "ports.json", locks=locks, free=FREE)
    stack.callback(ports.close)
    forks = LocalForks()
    versions = Versions(
        forks=forks,
        ports=ports,
        known={"catalog": ("v1", "v2")},
        options=lambda service, version: {},
        memory=tmp_path / "versions.json",
        tell=lambda event: None,
    )
    stack.callback(forks.close)
    stack.push_async_callback(versions.aclose)
    control = Control(versions=versions, status=dict)
    server = await wire.serve(control.answer, Address(socket=tmp_path / "up.sock"))
    stack.callback(server.close)
    workloads = EmbeddedWorkloads(tmp_path / "up.sock")
    stack.push_async_callback(workloads.aclose)
    return Bench(workloads, _target({"v1": (), "v2": (), "v9": ()}), manages=True)


def _target(versions: Mapping[str, tuple[str, ...]], workloads: str = "embedded") -> Target:
    return Target(name="catalog", stable="v1", versions=versions, workloads=workloads)


@pytest.fixture(params=[_memory, _external, _embedded], ids=["memory", "external", "embedded"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Each adapter in turn."""
    async with AsyncExitStack() as stack:
        yield await request.param(tmp_path, stack)


async def _ready(bench: Bench, version: str) -> bool:
    async with asyncio.timeout(5):
        while not (await bench.workloads.health(bench.target, version)).is_ready:
            await asyncio.sleep(0.01)
    return True


async def test_a_started_version_has_addresses_and_becomes_ready(bench: Bench) -> None:
    """Start answers with addresses at once; health says when it can take requests."""
    addresses = await bench.workloads.start(bench.target, "v2")

    assert addresses
    assert all(address.rpartition(":")[2].isdigit() for address in addresses)
    assert await _ready(bench, "v2")


async def test_starting_twice_is_starting_once(bench: Bench) -> None:
    """A repeated start gives the same addresses and counts no restart."""
    first = await bench.workloads.start(bench.target, "v2")
    await _ready(bench, "v2")

    second = await bench.workloads.start(bench.target, "v2")

    assert first == second
    assert (await bench.workloads.health(bench.target, "v2")).restarts in (0, None)


async def test_a_ready_version_gives_no_reason(bench: Bench) -> None:
    """A reason is there only to say why a version is not ready."""
    await bench.workloads.start(bench.target, "v2")
    await _ready(bench, "v2")

    health = await bench.workloads.health(bench.target, "v2")

    assert health.reason == ""


async def test_an_unknown_version_cannot_be_started(bench: Bench) -> None:
    """A version that the target does not declare is not found."""
    with pytest.raises(NotFound):
        await bench.workloads.start(bench.target, "v7")


async def test_a_retired_version_is_not_ready_if_it_was_ours_to_stop(bench: Bench) -> None:
    """After retire the version does not run, unless somebody else runs it."""
    await bench.workloads.start(bench.target, "v2")
    await _ready(bench, "v2")

    await bench.workloads.retire(bench.target, "v2")

    health = await bench.workloads.health(bench.target, "v2")
    assert health.is_ready is not bench.manages
    assert bool(health.reason) is bench.manages


async def test_retiring_what_does_not_run_does_nothing(bench: Bench) -> None:
    """Retire is safe to repeat, and for a version that was never started."""
    await bench.workloads.retire(bench.target, "v2")
    await bench.workloads.retire(bench.target, "v2")


async def test_a_retired_version_can_be_started_again(bench: Bench) -> None:
    """A later release of the same version begins like the first."""
    await bench.workloads.start(bench.target, "v2")
    await _ready(bench, "v2")
    await bench.workloads.retire(bench.target, "v2")

    await bench.workloads.start(bench.target, "v2")

    assert await _ready(bench, "v2")


async def test_a_supervisor_that_is_gone_says_nothing_about_the_version(tmp_path: Path) -> None:
    """No answer on the socket is `WorkloadsUnavailable`, for every call."""
    workloads = EmbeddedWorkloads(tmp_path / "none.sock")
    target = _target({"v1": (), "v2": ()})

    for call in (workloads.start, workloads.health, workloads.retire):
        with pytest.raises(WorkloadsUnavailable):
            await call(target, "v2")
    await workloads.aclose()


async def test_a_supervisor_that_is_slow_is_not_waited_for(tmp_path: Path) -> None:
    """Health ends within its second even when the supervisor never answers."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_unix_server(
        lambda reader, writer: held.append(writer), path=str(tmp_path / "up.sock")
    )
    workloads = EmbeddedWorkloads(tmp_path / "up.sock")

    with pytest.raises(WorkloadsUnavailable, match="does not answer"):
        async with asyncio.timeout(1.5):
            await workloads.health(_target({"v1": (), "v2": ()}), "v2")

    await workloads.aclose()
    for writer in held:
        writer.close()
    server.close()


async def test_a_supervisor_that_talks_nonsense_is_unavailable(tmp_path: Path) -> None:
    """An answer that is no JSON of ours is not taken for a healthy version."""

    async def nonsense(request: Request) -> Answer:
        return Answer(200, b"[]")

    server = await wire.serve(nonsense, Address(socket=tmp_path / "up.sock"))
    workloads = EmbeddedWorkloads(tmp_path / "up.sock")

    with pytest.raises(WorkloadsUnavailable):
        await workloads.health(_target({"v1": (), "v2": ()}), "v2")

    await workloads.aclose()
    server.close()


async def test_every_address_of_an_external_version_must_accept() -> None:
    """One silent address of several makes the version not ready, and is named."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = _target({"v1": (f"127.0.0.1:{port}", "127.0.0.1:1")}, workloads="external")

    health = await ExternalWorkloads().health(target, "v1")

    assert not health.is_ready
    assert "127.0.0.1:1" in health.reason
    assert str(port) not in health.reason.removesuffix("127.0.0.1:1")
    server.close()
