"""Spans through the receivers of a real telemetry process, and how soon a span is visible.

Before it: `run`. After it: a process on loopback, with a folder of its own. Its CPU is read from /proc, from the first
body until it has nothing left to do: parsing, commits, merges and settled edges.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import httpx

from controller.ingest.over_grpc import SERVICES
from controller.model.telemetry import Signal
from controller.model.trace import Span
from controller.traces import decoding
from controller.traces.remote import RemoteTraces
from tests.bench.traces.bodies import SPANS_A_SECOND, bodies

SENDERS = 24
_TICK = os.sysconf("SC_CLK_TCK")
_HEADERS = {"content-type": "application/x-protobuf"}
Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """Spans a second of CPU until the last answer and until all is quiet, and spans a second by the clock."""

    acknowledged: float
    quiet: float
    wall: float


@asynccontextmanager
async def telemetry(folder: Path) -> AsyncIterator[tuple[int, str, str]]:
    """Run a telemetry process: pid, URL, gRPC address."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller.cli.processes", "telemetry"),
        env={
            "PATH": os.environ["PATH"],
            "SERINUS_STATE_DIR": str(folder),
            "SERINUS_TELEMETRY__PORT": str(ports[0]),
            "SERINUS_TELEMETRY__GRPC_PORT": str(ports[1]),
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{ports[0]}"
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(30):
            while True:
                try:
                    await http.post(f"{url}/v1/traces", content=_one()[1], headers=_HEADERS)
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield process.pid, url, f"127.0.0.1:{ports[1]}"
    finally:
        process.terminate()
        await process.wait()


async def received(folder: Path, spans: int) -> tuple[Received, Received, list[float]]:
    """Return what HTTP and gRPC cost, and seconds from the end of a span until `get` answers with it."""
    begun = time.time_ns() - spans * 1_000_000_000 // SPANS_A_SECOND
    made = list(bodies(spans, since_ns=begun))
    async with (
        telemetry(folder) as (pid, url, address),
        httpx.AsyncClient(trust_env=False, timeout=30) as http,
        grpc.aio.insecure_channel(address) as channel,
    ):
        export: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            next(f"/{service}/Export" for service, signal in SERVICES.items() if signal is Signal.TRACES)
        )

        async def by_http(body: bytes) -> None:
            (await http.post(f"{url}/v1/traces", content=body, headers=_HEADERS)).raise_for_status()

        async def by_grpc(body: bytes) -> None:
            await export(body, timeout=30)

        visible = await _visible(url, by_http)
        return await _flood(pid, by_http, made), await _flood(pid, by_grpc, made), visible


async def _flood(pid: int, send: Send, made: Sequence[tuple[bytes, int]]) -> Received:
    left = iter(made)
    await _quiet(pid)
    before, begun = _cpu_s(pid), time.perf_counter()

    async def sender() -> None:
        for body, _ in left:
            await send(body)

    await asyncio.gather(*(sender() for _ in range(SENDERS)))
    wall_s, spent_s = time.perf_counter() - begun, _cpu_s(pid) - before
    await _quiet(pid)
    spans = sum(count for _, count in made)
    return Received(spans / spent_s, spans / (_cpu_s(pid) - before), spans / wall_s)


async def _quiet(pid: int) -> None:
    for _ in range(40):
        before = _cpu_s(pid)
        await asyncio.sleep(0.5)
        if _cpu_s(pid) - before < 0.03:
            return


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


async def _visible(url: str, send: Send, times: int = 20) -> list[float]:
    store, found = RemoteTraces(url), []
    for _ in range(times):
        trace_id, body = _one()
        begun = time.perf_counter()
        await send(body)
        while await store.get(trace_id) is None:
            await asyncio.sleep(0.005)
        found.append(time.perf_counter() - begun)
    await store.aclose()
    return found


def _one() -> tuple[str, bytes]:
    trace_id = os.urandom(16).hex()
    span = Span(trace_id, os.urandom(8).hex(), "", "GET /", "server", time.time_ns() - 1_000_000, 1_000_000)
    return trace_id, decoding.encode([span])
