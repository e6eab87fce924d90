"""Power, disk and people do what they do: nothing that was acknowledged is lost, and every error says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.errors import InvalidInput, TracesUnavailable
from controller.model.searching import Search
from controller.traces.clickhouse.connection import Connection, failed
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.migrations import MIGRATIONS, migrate
from controller.traces.clickhouse.opening import set_aside
from controller.traces.clickhouse.store import ClickHouseTraces
from controller.traces.clickhouse.taking import SPANS as TAKER
from controller.traces.clickhouse.taking import Taker
from tests.controller.traces.clickhouse.writing import SPANS, batch

ROOT = Path(__file__).parents[4]


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[ClickHouseTraces]:
    store = ClickHouseTraces(folder, deadline_s=30.0)
    try:
        yield store
    finally:
        await store.aclose()


async def parts_of(store: ClickHouseTraces) -> list[Path]:
    rows = await store._crew.ask(
        "SELECT path FROM system.parts WHERE active AND table = 'spans_v1' ORDER BY min_block_number"
    )
    return [Path(row[0]) for row in rows]


def killed_while_writing(folder: Path, first: int, after_s: float) -> int:
    """Write from batch `first` on until kill -9; returns the number of the first batch that was not acknowledged."""
    command = [sys.executable, "-m", "tests.controller.traces.clickhouse.writing", str(folder), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        done = first
        begun = 0.0
        for line in process.stdout:
            if not line.strip().isdigit():
                continue  # A line of the log.
            done = int(line) + 1
            begun = begun or time.monotonic()
            if time.monotonic() - begun > after_s:
                process.kill()
    return done


async def _no_kill_loses_anything(folder: Path, kills: int) -> None:
    rng = random.Random(7)
    done = 1
    kept: set[int] = set()
    for _ in range(kills):
        acknowledged = killed_while_writing(folder, done, rng.uniform(0, 0.4))
        async with opened(folder) as store:
            rows = await store._crew.ask(
                "SELECT reinterpretAsUInt64(reverse(substring(trace_id, 9))) AS number, count(), uniqExact(span_id) "
                "FROM spans_v1 GROUP BY number ORDER BY number"
            )
            aside = await store._crew.read(set_aside)
        found = {number: (spans, different) for number, spans, different in rows}
        assert acknowledged > done
        kept |= set(range(done, acknowledged))
        assert kept <= found.keys()
        # Of each run, one batch may have been kept without a word; half of one never is.
        assert len(found.keys() - kept) <= kills
        assert max(found) <= acknowledged
        assert set(found.values()) == {(SPANS, SPANS)}
        assert aside == []
        done = acknowledged + 1


@pytest.mark.process
async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Each acknowledged batch is there, whole and once, after each of 5 kills during ingest."""
    await _no_kill_loses_anything(tmp_path / "traces", 5)


@pytest.mark.long
@pytest.mark.process
@pytest.mark.timeout(1_200)
async def test_sixty_kills_lose_nothing(tmp_path: Path) -> None:
    """The same for 60 kills of one folder."""
    await _no_kill_loses_anything(tmp_path / "traces", 60)


@pytest.mark.process
async def test_second_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    """It names the process and the way out, and the first one goes on."""
    folder = tmp_path / "traces"
    async with opened(folder) as store:
        await store.ingest([batch(1)])
        command = [sys.executable, "-m", "tests.controller.traces.clickhouse.writing", str(folder), "9"]
        second = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50
        )
        await store.ingest([batch(2)])
        size = await store.size()

    assert f"belongs to process {os.getpid()}; stop it, or give this one a folder of its own" in second.stderr
    assert size.spans == 2 * SPANS


async def test_folder_opens_when_the_other_process_is_gone(tmp_path: Path) -> None:
    """A store that could not be opened is tried again by a later question."""
    is_gone = False

    class Nothing(Connection):
        def fetch(self, statement: str) -> bytes:
            return b"[1]\n"

        def insert(self, payload: bytes, into: Taker = TAKER) -> None:
            raise AssertionError("nobody writes here")

        def close(self) -> None:
            pass

    def connect() -> Connection:
        if not is_gone:
            raise TracesUnavailable("it belongs to process 7")
        return Nothing()

    crew = Crew(connect, prepare=lambda _: None, deadline_s=2.0, retry_s=0.0)
    with pytest.raises(TracesUnavailable, match="process 7"):
        await crew.ask("SELECT 1")

    is_gone = True

    assert await crew.ask("SELECT 1") == [[1]]
    await crew.aclose()


async def test_part_that_is_cut_off_is_set_aside_and_named(tmp_path: Path) -> None:
    """The rest is found as before."""
    folder = tmp_path / "traces"
    async with opened(folder) as store:
        await store._crew.write(lambda connection: connection.fetch("SYSTEM STOP MERGES"))
        for number in (1, 2):
            await store.ingest([batch(number)])
        part = (await parts_of(store))[0]
    (part / "data.bin").write_bytes(b"")

    async with opened(folder) as store:
        size = await store.size()
        aside = await store._crew.read(set_aside)

    assert size.spans == SPANS
    assert [(table, part.name in path) for table, _, _, path in aside] == [("spans_v1", True)]


async def test_part_with_wrong_bytes_is_named(tmp_path: Path) -> None:
    """A question that reads it says which part it is and what to do; after that all others are there."""
    folder = tmp_path / "traces"
    async with opened(folder) as store:
        await store._crew.write(lambda connection: connection.fetch("SYSTEM STOP MERGES"))
        for number in (1, 2):
            await store.ingest([batch(number)])
        part = (await parts_of(store))[0]
    data = part / "data.bin"
    data.write_bytes(bytes(byte ^ 0x55 for byte in data.read_bytes()))

    async with opened(folder) as store:
        with pytest.raises(TracesUnavailable, match=f"is corrupt; stop serinus telemetry, move {part}"):
            await store.search(Search(where="number = 1"))
    shutil.rmtree(part)
    async with opened(folder) as store:
        assert len((await store.search(Search())).traces) == 1


async def test_full_disk_is_said_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    """Until there is room again; what was acknowledged before is still there. A file system of 6 MB stands for the disk."""
    folder = tmp_path / "traces"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    try:
        async with opened(folder) as store:
            kept = await _until_full(store, folder)
            for ballast in folder.glob("ballast-*"):
                ballast.unlink()
            await store.ingest([batch(1_000)])
            size = await store.size()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)

    assert kept > 0
    assert size.spans == (kept + 1) * SPANS


async def _until_full(store: ClickHouseTraces, folder: Path) -> int:
    """Fill the disk, a batch and some ballast at a time; returns how many batches were kept."""
    for number in range(1, 100):
        try:
            (folder / f"ballast-{number}").write_bytes(bytes(400_000))
            await store.ingest([batch(number)])
        except OSError:
            continue  # The ballast did not fit any more.
        except TracesUnavailable as error:
            if "disk of the trace store is full" not in error.message:
                raise
            return number - 1
    raise AssertionError("a file system of 6 MB took all of it")


@pytest.mark.process
def test_nothing_is_left_in_the_working_directory(tmp_path: Path) -> None:
    """Whatever the engine needs beside its tables stands in the store's own folder."""
    working = tmp_path / "working"
    working.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.controller.traces.clickhouse.writing",
        str(tmp_path / "traces"),
        "1",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=working, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        has_kept = any(line == "2\n" for line in process.stdout)
        process.kill()

    assert has_kept
    assert list(working.iterdir()) == []


async def test_bad_body_keeps_nothing_of_its_batch(tmp_path: Path) -> None:
    """It is the sender's mistake, and the next batch is kept."""
    async with opened(tmp_path / "traces") as store:
        for bad in (b"\xff\xff\xff", batch(1)[:-3], b"\x0a\x05abc"):
            with pytest.raises(InvalidInput):
                await store.ingest([batch(2), bad])
        await store.ingest([batch(3)])
        size = await store.size()

    assert size.spans == SPANS


async def test_newer_tables_are_left_alone(tmp_path: Path) -> None:
    """A program that does not know them says so; a migration runs once and keeps what is there."""
    folder = tmp_path / "traces"
    more = (
        *MIGRATIONS,
        ("ALTER TABLE spans_v1 ADD COLUMN IF NOT EXISTS tenant String MATERIALIZED attrs['number']",),
    )
    async with opened(folder) as store:
        await store.ingest([batch(1)])
        steps = [await store._crew.write(lambda connection: migrate(connection, more)) for _ in range(2)]
        tenants = await store._crew.ask("SELECT DISTINCT tenant FROM spans_v1")

    assert (steps, tenants) == ([1, 0], [["1"]])
    async with opened(folder) as store:
        with pytest.raises(TracesUnavailable, match="newer Serinus"):
            await store.size()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Code: 159. DB::Exception: Timeout exceeded", "did not answer in time"),
        ("Code: 241. DB::Exception: memory limit exceeded", "telemetry.memory_bytes"),
        ("Code: 243. DB::Exception: Cannot reserve 1.99 MiB", "disk of the trace store is full"),
        ("", "no reason given"),
    ],
)
def test_errors_of_the_engine_say_what_to_do(said: str, expected: str) -> None:
    """Numbers in its texts tell them apart."""
    assert expected in str(failed(said))
