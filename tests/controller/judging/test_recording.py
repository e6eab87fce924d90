"""Looks on disk: complete while all is well, bounded, and never in the judge's way."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.judging.lines import read
from controller.judging.recording import LookFiles
from controller.model.evidence import Evidence, StepOrder
from controller.model.look import Arm, Look, SourceState
from controller.model.machine import Happening
from controller.model.recording import Recording
from controller.model.start import Start
from controller.simulation.replay import replay
from tests.controller.judging.judging_world import World, fails_every, order


def a_look(number: int) -> Look:
    return Look(number, float(number), SourceState.OK, "g", Arm(10 * number), Arm(number))


def named(release: str) -> StepOrder:
    return order(release=release)


def recorded(path: Path) -> Recording:
    with path.open("rb") as file:
        return read(file)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[LookFiles]:
    found = LookFiles(tmp_path / "looks")
    yield found
    found.close()


def test_each_look_is_kept_in_its_releases_file(files: LookFiles) -> None:
    """One file a release, readable by its owner only."""
    for number in (1, 2, 3):
        files.record(named("rel-1"), a_look(number))
        files.record(named("rel-2"), a_look(number))
    files.close()

    path = files.path("rel-1")
    assert [one.look for one in recorded(path).looks] == [a_look(1), a_look(2), a_look(3)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_another_process_goes_on_in_the_same_file(files: LookFiles, tmp_path: Path) -> None:
    """After a restart there is still one heading, and a line that was cut off harms no other."""
    files.record(named("rel-1"), a_look(1))
    files.close()
    with files.path("rel-1").open("ab") as file:
        file.write(b'{"look":{"id":2,')

    second = LookFiles(tmp_path / "looks")
    second.record(named("rel-1"), a_look(3))
    second.close()

    found = recorded(files.path("rel-1"))
    assert ([one.look.id for one in found.looks], found.damaged) == ([1, 3], 1)


def test_a_release_that_goes_on_for_ever_is_cut(tmp_path: Path) -> None:
    """Beyond its part of the disk a release's looks are not kept, which is said once."""
    with capture_logs() as logs:
        files = LookFiles(tmp_path, file_bytes=3_000)
        for number in range(1, 200):
            files.record(named("rel-1"), a_look(number))
        files.close()

    assert files.path("rel-1").stat().st_size <= 3_000
    assert recorded(files.path("rel-1")).damaged == 0
    assert [line["event"] for line in logs] == ["look_not_recorded"]


@pytest.mark.parametrize("bounds", [{"keep_files": 3}, {"keep_bytes": 4_000}])
def test_the_oldest_releases_make_room(tmp_path: Path, bounds: dict[str, int]) -> None:
    """When a release begins, the oldest files go until number and bytes are within their bounds."""
    for age, number in enumerate(range(6)):
        files = LookFiles(tmp_path, **bounds)
        files.record(named(f"rel-{number}"), a_look(1))
        files.close()
        os.utime(files.path(f"rel-{number}"), (1_000 + age, 1_000 + age))

    left = sorted(path.stem for path in tmp_path.glob("*.jsonl"))
    assert left == ["rel-3", "rel-4", "rel-5"]


@pytest.mark.parametrize("release", ["../up", "a/b", "", "x" * 300, ".hidden"])
def test_an_id_that_is_no_file_name_writes_nothing(files: LookFiles, tmp_path: Path, release: str) -> None:
    """Nothing is written outside the folder, whatever an id looks like."""
    with capture_logs():
        files.record(named(release), a_look(1))
        files.close()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_disk_that_takes_nothing_is_said_once(tmp_path: Path) -> None:
    """The folder cannot be made: each look is dropped, one line is logged, nothing is raised."""
    (tmp_path / "looks").write_text("a file is in the way")

    with capture_logs() as logs:
        files = LookFiles(tmp_path / "looks")
        for number in range(1, 50):
            files.record(named("rel-1"), a_look(number))
        files.close()

    assert [line["event"] for line in logs] == ["look_not_recorded"]


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """A pipe that nobody reads stands for a hung disk: record and close return, and what waits is bounded."""
    files = LookFiles(tmp_path, waiting=5)
    os.mkfifo(files.path("rel-1"))
    reader = os.open(files.path("rel-1"), os.O_RDONLY | os.O_NONBLOCK)

    with capture_logs() as logs:
        for number in range(1, 2_000):
            files.record(named("rel-1"), a_look(number))
        files.close(patience_s=0.05)

    assert {"event": "look_not_recorded", "release": "rel-1", "reason": "the disk is too slow"}.items() <= (
        logs[0].items()
    )
    with suppress(BlockingIOError):  # somebody reads after all: the thread writes what waited, and ends
        while os.read(reader, 1 << 20):
            pass
    files.close()
    os.close(reader)


async def test_the_judge_hands_over_every_look_that_it_judges(files: LookFiles) -> None:
    """What is on disk, judged again, gives the very verdict that closed the release."""
    world = await World().open()
    world.answers = fails_every(5)
    judge = world.judge(record=files.record)
    task = asyncio.create_task(judge.hold_step(order(), resume=None, checkpoint=world.checkpoints.append))
    await world.clock.drive(until_s=60, then=task.done)
    report = await task
    await world.aclose()
    files.close()

    found = replay(recorded(files.path("rel-1")))
    assert report.kind is Happening.STEP_FAILED
    assert found.judged[-1].verdict == report.verdict
    assert found.reason == report.reason
    assert len(found.judged) == report.evidence.looks


async def test_a_judge_goes_on_while_the_disk_takes_nothing(tmp_path: Path) -> None:
    """The step passes as if somebody had kept its looks."""
    (tmp_path / "looks").write_text("a file is in the way")
    world = await World().open()
    with capture_logs():
        files = LookFiles(tmp_path / "looks")
        judge = world.judge(record=files.record)
        task = asyncio.create_task(judge.hold_step(order(), resume=None, checkpoint=world.checkpoints.append))
        await world.clock.drive(until_s=60, then=task.done)
        report = await task
        await world.aclose()
        files.close()

    assert report.kind is Happening.STEP_PASSED


def test_the_heading_holds_what_the_judge_began_with(files: LookFiles) -> None:
    """The prior that came from the history stands in the file, though the order itself had none."""
    files.record(replace(named("rel-1"), evidence=Evidence(start=Start(prior=0.03))), a_look(1))
    files.close()

    assert recorded(files.path("rel-1")).heading.start.prior == 0.03
