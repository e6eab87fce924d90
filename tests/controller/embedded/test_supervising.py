"""Parts are started, watched, started again and ended in order: `controller.embedded.supervisor`, on tiny programs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from controller.embedded.supervisor import Event, Part, Supervisor
from controller.errors import Unavailable

pytestmark = pytest.mark.process

WAITS = "import time\nprint('up', flush=True)\ntime.sleep(60)"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"
PARENT = (
    "import subprocess, sys, time\nprint(subprocess.Popen(['sleep', '60']).pid, flush=True)\ntime.sleep(60)"
)


class World:
    """A supervisor with its events and logs."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder
        self.events: list[Event] = []
        self.supervisor = Supervisor(logs_folder=folder, tell=self.events.append)

    def part(self, name: str, program: str, **given: object) -> Part:
        """Return a part that runs a few lines of Python and is ready once it has printed something."""
        log = self.logs / f"{name}.log"

        async def has_spoken() -> str:
            return "" if log.exists() and log.stat().st_size else "silent"

        settings: dict[str, object] = {
            "probe": has_spoken,
            "environment": {"PATH": os.environ["PATH"]},
            **given,
        }
        return Part(name, (sys.executable, "-S", "-c", program), **settings)  # type: ignore[arg-type]

    def kinds(self, name: str) -> list[str]:
        """Return what happened to a part, in order."""
        return [event.kind for event in self.events if event.part == name]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world whose processes end with the test."""
    made = World(tmp_path)
    yield made
    made.supervisor.kill()
    await made.supervisor.stop()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


async def _until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_part_is_started_and_said_to_be_ready(world: World) -> None:
    """`ready` returns once the probe is content, and both are told."""
    world.supervisor.add(world.part("router", WAITS))

    await world.supervisor.ready(within_s=10)

    assert world.kinds("router") == ["started", "ready"]
    assert world.supervisor.status()[0]["phase"] == "ready"


async def test_a_killed_part_comes_back_and_is_counted(world: World) -> None:
    """Kill -9 of a part ends in a new process, one restart, and trouble said aloud."""
    world.supervisor.add(world.part("router", WAITS))
    await world.supervisor.ready(within_s=10)
    before = world.supervisor.pid("router")

    world.supervisor.send("router", signal.SIGKILL)
    await _until(lambda: world.kinds("router")[-1] == "ready" and "exited" in world.kinds("router"))

    assert world.supervisor.pid("router") != before
    assert world.supervisor.status()[0]["restarts"] == 1
    [exited] = [event for event in world.events if event.kind == "exited"]
    assert exited.is_trouble
    assert "SIGKILL" in exited.text


async def test_a_part_that_cannot_live_is_named_with_its_last_words(world: World) -> None:
    """Waiting for a crash loop ends at the deadline with the name, the exit code and the end of the log."""
    world.supervisor.add(world.part("worker", "raise SystemExit('no ledger here')", probe=_never))

    with pytest.raises(Unavailable, match=r"worker is not ready after 0.6 s.*no ledger here"):
        await world.supervisor.ready(within_s=0.6)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"event": "lease_granted", "level": "info", "share": 10}', False),
        ('{"event": "ledger_lost", "level": "error"}', True),
        ("[1, 2]", True),
    ],
)
async def test_a_note_of_ordinary_work_is_no_last_word(world: World, line: str, said: bool) -> None:
    """What a part logged as information before it was killed does not explain its end; trouble and plain text do."""
    world.supervisor.add(world.part("router", f"print({line!r}); raise SystemExit(3)"))

    await _until(lambda: "exited" in world.kinds("router"))

    [exited, *_] = [event for event in world.events if event.kind == "exited"]
    assert exited.text.startswith("exit code 3")
    assert ("last words" in exited.text) == said


async def test_a_program_that_does_not_exist_is_tried_again_and_said(world: World) -> None:
    """A missing binary is trouble, not the end of the supervisor."""
    world.supervisor.add(Part("envoy", ("/does/not/exist",)))

    await _until(lambda: world.kinds("envoy").count("exited") >= 2)

    assert "cannot be started" in world.events[0].text


async def test_a_part_that_stops_answering_is_killed_and_started_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hung process is treated like a dead one after its patience."""
    # The rhythm is a constant of three seconds; a test need not wait for it.
    monkeypatch.setattr("controller.embedded.supervisor.LIVE_EVERY_S", 0.02)
    answers = [""]

    async def probe() -> str:
        return answers[0]

    world.supervisor.add(world.part("router", WAITS, probe=probe, hung_after_s=0.1))
    await world.supervisor.ready(within_s=10)

    answers[0] = "no answer"
    await _until(lambda: "killed" in world.kinds("router"))
    answers[0] = ""
    await _until(lambda: world.kinds("router")[-1] == "ready")

    assert world.kinds("router") == ["started", "ready", "killed", "exited", "started", "ready"]


async def test_parts_end_rank_by_rank(world: World) -> None:
    """The highest rank has ended before the next one is asked to."""
    for name, rank in (("temporal", 10), ("worker", 50), ("router", 20)):
        world.supervisor.add(world.part(name, WAITS, rank=rank))
    await world.supervisor.ready(within_s=10)

    await world.supervisor.stop()

    assert [event.part for event in world.events if event.kind == "stopped"] == [
        "worker",
        "router",
        "temporal",
    ]


async def test_a_part_that_ignores_sigterm_is_killed_after_its_grace(world: World) -> None:
    """Stopping takes the grace and not longer."""
    world.supervisor.add(world.part("worker", STUBBORN, grace_s=0.3))
    await world.supervisor.ready(within_s=10)
    pid = world.supervisor.pid("worker")
    began = time.monotonic()

    await world.supervisor.stop()

    assert pid is not None
    assert not _is_alive(pid)
    assert 0.3 <= time.monotonic() - began < 3


async def test_a_frozen_part_can_be_stopped(world: World) -> None:
    """A process under SIGSTOP ends too."""
    world.supervisor.add(world.part("worker", WAITS))
    await world.supervisor.ready(within_s=10)
    pid = world.supervisor.pid("worker")
    world.supervisor.send("worker", signal.SIGSTOP)

    await world.supervisor.stop()

    assert pid is not None
    assert not _is_alive(pid)


async def test_what_a_dead_part_had_started_dies_with_it(world: World) -> None:
    """A grandchild in the part's group does not outlive the part."""
    world.supervisor.add(world.part("launcher", PARENT))
    await world.supervisor.ready(within_s=10)
    grandchild = int((world.logs / "launcher.log").read_text())

    os.kill(world.supervisor.pid("launcher") or 0, signal.SIGKILL)
    await _until(lambda: not _is_alive(grandchild))

    assert world.kinds("launcher")[:2] == ["started", "ready"]


async def test_a_part_without_restart_ends_for_good(world: World) -> None:
    """The end of such a part is told without trouble, and waiting for it fails at once."""
    world.supervisor.add(world.part("load", "pass", probe=_never, is_restarted=False))

    with pytest.raises(Unavailable, match="load ended before it was ready: exit code 0"):
        await world.supervisor.ready(within_s=10)

    assert world.kinds("load") == ["started", "exited"]
    assert not any(event.is_trouble for event in world.events)


async def _never() -> str:
    return "never"
