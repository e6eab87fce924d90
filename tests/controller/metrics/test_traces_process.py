"""The metric source `traces` wired as the worker wires it, over a real telemetry process."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import httpx
import pytest

from controller import bootstrap
from controller.errors import SourceUnavailable
from controller.metrics.port import MetricSource
from controller.model.look import Reading, SourceState
from controller.model.trace import Resource, Span
from controller.settings import Judging, Settings, Telemetry
from controller.traces import decoding
from tests.controller.routing.keeping import SHOP, Desk, open_desk

pytestmark = pytest.mark.process
NUMBERS = count(1)


@pytest.fixture
def settings() -> Settings:
    """A free port, and the source by its name."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return Settings(judging=Judging(source="traces"), telemetry=Telemetry(port=port))


@pytest.fixture
def telemetry(settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A telemetry process of its own."""
    environment = {
        **os.environ,
        "SERINUS_STATE_DIR": str(tmp_path),
        "SERINUS_TELEMETRY__PORT": str(settings.telemetry.port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "controller.cli.processes", "telemetry"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.kill()
    process.wait()


async def send(http: httpx.AsyncClient, version: str, total: int, failed: int) -> None:
    """Send spans as an exporter does, and wait until the process is up."""
    resource = Resource({"service.name": SHOP.name, "service.version": version})
    spans = [
        Span(
            *("a" * 32, f"{next(NUMBERS):016x}", "", "GET /", "server", time.time_ns(), 3_000_000),
            status="error" if number < failed else "unset",
            resource=resource,
        )
        for number in range(total)
    ]
    body, headers = decoding.encode(spans), {"content-type": "application/x-protobuf"}
    async with asyncio.timeout(20):
        while True:
            try:
                answer = await http.post("/v1/traces", content=body, headers=headers)
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
                continue
            assert answer.status_code == 200
            return


async def reads(source: MetricSource, desk: Desk, wanted: dict[str, tuple[int, int]]) -> Reading:
    """Read until so much is visible: the process may batch."""
    async with asyncio.timeout(10):
        while True:
            desk.plane.serve(SHOP.key, 0)
            reading = await source.read(SHOP)
            if {
                version: (arm.total, arm.failed) for version, arm in reading.arms.items() if arm.total
            } == wanted:
                return reading
            await asyncio.sleep(0.05)


async def test_it_counts_what_the_process_received(
    settings: Settings, telemetry: subprocess.Popen[bytes]
) -> None:
    """Both arms by version, with latencies; when the process dies it is down, and never a row of zeros."""
    desk = await open_desk()
    await desk.keeper.declare(SHOP)
    async with (
        AsyncExitStack() as stack,
        httpx.AsyncClient(base_url=settings.telemetry.url, trust_env=False) as http,
    ):
        source = await bootstrap._source(settings, desk.keeper, stack)
        await send(http, "v1", 90, 1)
        await send(http, "v2", 10, 4)

        reading = await reads(source, desk, {"v1": (90, 1), "v2": (10, 4)})
        history = await source.history(SHOP, "v1", 60.0)
        telemetry.kill()
        telemetry.wait()
        with pytest.raises(SourceUnavailable):
            await source.read(SHOP)

    await desk.keeper.aclose()
    assert reading.source is SourceState.OK
    assert (history.total, history.failed, sum(history.buckets)) == (90, 1, 90)
    assert len(reading.bounds_s) + 1 == len(reading.arms["v2"].buckets)
    assert sum(reading.arms["v2"].buckets) == 10
