"""The client of the fork server: `controller.embedded.launcher`, against scripted servers and the real one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from controller.embedded.child import Child
from controller.embedded.launcher import LauncherForks, StartRefused
from controller.embedded.ports import is_free
from controller.errors import WorkloadsUnavailable


class Scripted:
    """A launcher that answers as the test says.

    Args:
        socket: Where.
        answer: From an order to its answers, in order.
    """

    def __init__(self, socket: Path, answer: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> None:
        self._socket = socket
        self._answer = answer
        self._writers: list[asyncio.StreamWriter] = []
        self.orders: list[dict[str, Any]] = []

    async def open(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, path=str(self._socket))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while line := await reader.readline():
            order = json.loads(line)
            self.orders.append(order)
            answers = [{"children": []}] if order["op"] == "list" else self._answer(order)
            for answer in answers:
                whole = answer if "event" in answer else {**answer, "id": order["id"]}
                writer.write(json.dumps(whole).encode() + b"\n")
        writer.close()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()


class Heard:
    """What the client was told."""

    def __init__(self, forks: LauncherForks) -> None:
        self.exits: list[tuple[int, int]] = []
        self.losses = 0
        forks.watch(on_exit=lambda pid, code: self.exits.append((pid, code)), on_lost=self._lost)

    def _lost(self) -> None:
        self.losses += 1


@pytest.fixture
async def forks(tmp_path: Path) -> AsyncIterator[LauncherForks]:
    """A client that hangs up at the end."""
    made = LauncherForks(tmp_path / "launcher.sock")
    yield made
    await made.aclose()


async def _settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0.005)


async def test_a_child_that_dies_at_once_is_known_before_its_exit(
    tmp_path: Path, forks: LauncherForks
) -> None:
    """Start and exit in one breath: the pid is returned first, the exit heard after it."""
    server = await Scripted(
        tmp_path / "launcher.sock", lambda order: [{"pid": 7}, {"event": "exited", "pid": 7, "code": 86}]
    ).open()
    heard = Heard(forks)
    seen_before: list[tuple[int, int]] = []

    pid = await forks.start("catalog", "v2", 9000, {})
    seen_before += heard.exits
    await _settled()

    assert (pid, seen_before, heard.exits) == (7, [], [(7, 86)])
    server.close()


async def test_a_refusal_is_told_with_its_reason(tmp_path: Path, forks: LauncherForks) -> None:
    """A launcher that says no is another thing than a launcher that is not there."""
    server = await Scripted(tmp_path / "launcher.sock", lambda order: [{"error": "address in use"}]).open()

    with pytest.raises(StartRefused, match="catalog v2: address in use"):
        await forks.start("catalog", "v2", 9000, {})
    server.close()


async def test_a_launcher_that_hangs_up_is_a_loss(tmp_path: Path, forks: LauncherForks) -> None:
    """The call fails as unavailable, the loss is told, and the next call connects anew."""
    script = Scripted(tmp_path / "launcher.sock", lambda order: [])
    server = await script.open()
    heard = Heard(forks)

    asking = asyncio.create_task(forks.start("catalog", "v2", 9000, {}))
    await _settled()
    script.hang_up()
    with pytest.raises(WorkloadsUnavailable):
        await asking

    assert heard.losses == 1
    script._answer = lambda order: [{"pid": 8}]
    assert await forks.start("catalog", "v2", 9000, {}) == 8
    server.close()


async def test_a_launcher_that_is_not_there_is_unavailable(forks: LauncherForks) -> None:
    """No socket, no answer."""
    with pytest.raises(WorkloadsUnavailable, match="does not answer"):
        await forks.start("catalog", "v2", 9000, {})


async def test_a_launcher_that_talks_nonsense_is_left(tmp_path: Path, forks: LauncherForks) -> None:
    """A line that is no JSON ends the connection, and every waiting call with it."""

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(nonsense, path=str(tmp_path / "launcher.sock"))

    with pytest.raises(WorkloadsUnavailable):
        await forks.start("catalog", "v2", 9000, {})
    server.close()


@pytest.mark.process
async def test_the_real_launcher_starts_reports_and_takes_its_children_along(
    tmp_path: Path, forks: LauncherForks
) -> None:
    """A version runs, its kill is reported with the signal, and kill -9 of the launcher leaves nobody."""
    launcher = Child.start(
        [sys.executable, "-m", "services.launcher", "--socket", str(tmp_path / "launcher.sock")],
        environment=dict(os.environ),
        log=tmp_path / "launcher.log",
    )
    heard = Heard(forks)
    async with asyncio.timeout(30):
        while not (tmp_path / "launcher.sock").exists():
            await asyncio.sleep(0.05)
    ports = [port for port in range(31_300, 31_400) if is_free(port)][:2]

    first = await forks.start("catalog", "v1", ports[0], {})
    second = await forks.start("catalog", "v2", ports[1], {})
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(10):
        while not heard.exits:
            await asyncio.sleep(0.02)
    launcher.send(signal.SIGKILL)
    await launcher.wait()
    async with asyncio.timeout(5):
        while heard.losses == 0 or Path(f"/proc/{second}").exists():
            await asyncio.sleep(0.02)

    assert heard.exits == [(first, -signal.SIGKILL)]
