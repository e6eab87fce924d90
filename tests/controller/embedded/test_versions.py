"""Versions that should run do: `controller.embedded.versions`, over a scripted launcher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from controller.embedded.launcher import Forks, StartRefused
from controller.embedded.ports import Ports
from controller.embedded.supervisor import Event
from controller.embedded.versions import Versions
from controller.errors import NotFound, WorkloadsUnavailable

FREE = range(31_400, 31_500)
KNOWN = {"catalog": ("v1", "v2")}


class ScriptedForks(Forks):
    """Counts pids from 1; can be down, and refuse."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.stopped: list[int] = []
        self.is_down = False
        self.refusal = ""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def start(self, name: str, version: str, port: int, options: Mapping[str, object]) -> int:
        await self.may_answer.wait()
        if self.is_down:
            raise WorkloadsUnavailable("down")
        if self.refusal:
            raise StartRefused(self.refusal)
        self.started.append(f"{name}.{version}")
        return len(self.started)

    async def stop(self, pid: int, *, grace_s: float) -> None:
        if self.is_down:
            raise WorkloadsUnavailable("down")
        self.stopped.append(pid)

    def watch(self, *, on_exit: Callable[[int, int], None], on_lost: Callable[[], None]) -> None:
        self.exit, self.lose = on_exit, on_lost


class World:
    """Versions with their launcher, ports and events."""

    def __init__(self, folder: Path) -> None:
        (folder / "locks").mkdir(exist_ok=True)
        self.ports = Ports(memory=folder / "ports.json", locks=folder / "locks", free=FREE)
        self.forks = ScriptedForks()
        self.events: list[Event] = []
        self.versions = Versions(
            forks=self.forks,
            ports=self.ports,
            known=KNOWN,
            options=lambda service, version: {},
            memory=folder / "versions.json",
            tell=self.events.append,
        )

    async def close(self) -> None:
        await self.versions.aclose()
        self.ports.close()

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """One run on a folder."""
    made = World(tmp_path)
    yield made
    await made.close()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_crash_is_counted_and_the_version_comes_back_where_it_was(world: World) -> None:
    """The successor has the same address; the health says one restart."""
    before = world.versions.start("catalog", "v2")
    await _until(lambda: world.forks.started == ["catalog.v2"])

    world.forks.exit(1, 86)
    await _until(lambda: len(world.forks.started) == 2)

    assert world.versions.start("catalog", "v2") == before
    assert (await world.versions.health("catalog", "v2")).restarts == 1
    assert world.kinds() == ["started", "exited", "started"]
    assert world.events[1].is_trouble


async def test_the_death_of_the_launcher_is_nobodys_restart(world: World) -> None:
    """All versions come back, and none of them is blamed."""
    for version in ("v1", "v2"):
        world.versions.start("catalog", version)
    await _until(lambda: len(world.forks.started) == 2)

    world.forks.lose()
    await _until(lambda: len(world.forks.started) == 4)

    assert [(await world.versions.health("catalog", version)).restarts for version in ("v1", "v2")] == [0, 0]


async def test_a_version_waits_for_its_launcher(world: World) -> None:
    """While there is no launcher the version is not ready, says so, and starts when there is one."""
    world.forks.is_down = True
    world.versions.start("catalog", "v1")
    await _until(lambda: world.kinds() == ["not_started"])
    waiting = await world.versions.health("catalog", "v1")

    world.forks.is_down = False
    await _until(lambda: world.forks.started == ["catalog.v1"])

    assert (waiting.is_ready, waiting.reason) == (False, "down")
    assert not world.events[0].is_trouble


async def test_a_refused_start_is_trouble_said_once(world: World) -> None:
    """What the launcher refuses again and again is told once, and is the reason in the health."""
    world.forks.refusal = "address in use"
    world.versions.start("catalog", "v1")
    await asyncio.sleep(0.7)

    assert [(event.kind, event.is_trouble) for event in world.events] == [("not_started", True)]
    assert (await world.versions.health("catalog", "v1")).reason == "address in use"


async def test_a_version_retired_while_it_starts_does_not_stay(world: World) -> None:
    """The process is ended as soon as its pid is known."""
    world.forks.may_answer.clear()
    world.versions.start("catalog", "v2")
    await asyncio.sleep(0)

    await world.versions.retire("catalog", "v2")
    world.forks.may_answer.set()
    await _until(lambda: world.forks.stopped == [1])

    assert world.versions.status() == []


async def test_a_retired_version_does_not_come_back(world: World) -> None:
    """The exit that follows is no crash."""
    world.versions.start("catalog", "v2")
    await _until(lambda: world.forks.started == ["catalog.v2"])

    await world.versions.retire("catalog", "v2")
    world.forks.exit(1, 0)
    await asyncio.sleep(0.3)

    assert world.forks.started == ["catalog.v2"]
    assert world.kinds() == ["started", "retired"]


async def test_a_version_that_could_not_be_stopped_is_still_wanted(world: World) -> None:
    """With the launcher away a retire fails, and can be tried again."""
    world.versions.start("catalog", "v2")
    await _until(lambda: world.forks.started == ["catalog.v2"])
    world.forks.is_down = True

    with pytest.raises(WorkloadsUnavailable):
        await world.versions.retire("catalog", "v2")

    assert [each["name"] for each in world.versions.status()] == ["catalog.v2"]


async def test_the_next_run_knows_what_ran(world: World, tmp_path: Path) -> None:
    """Started and not retired is what a restart begins with."""
    world.versions.start("catalog", "v1")
    world.versions.start("catalog", "v2")
    await world.versions.retire("catalog", "v1")
    await world.close()

    again = World(tmp_path)

    assert again.versions.remembered() == (("catalog", "v2"),)
    await again.close()


@pytest.mark.parametrize("text", ["", "{}", "[[1]]", '[["catalog", "v9"], ["shop", "v1"]]', "[3]"])
async def test_a_spoilt_memory_is_no_memory(tmp_path: Path, text: str) -> None:
    """What cannot be read or started any more is not started."""
    (tmp_path / "versions.json").write_text(text)
    world = World(tmp_path)

    assert world.versions.remembered() == ()
    await world.close()


async def test_an_unknown_version_is_not_found(world: World) -> None:
    """Only what the shop has can be started."""
    with pytest.raises(NotFound):
        world.versions.start("catalog", "v9")
