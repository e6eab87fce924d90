"""A flood against the real telemetry process: some is taken, the rest is told when to come again, and memory stays."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest

from controller.ingest.over_grpc import SERVICES
from controller.model.telemetry import Signal
from tests.controller.ingest import otlp

MIB = 1024 * 1024
FLOOD_S = 3.0
SENDERS = 12
"""Each with bodies of 12 MiB: together more than twice as much as there is room for."""


@asynccontextmanager
async def telemetry_process(tmp_path: Path) -> AsyncIterator[tuple[int, int, int]]:
    """A telemetry process of its own: pid, port, gRPC port."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from controller.cli.main import main; main()",
        "telemetry",
        env={
            "PATH": os.environ["PATH"],
            "SERINUS_STATE_DIR": str(tmp_path),
            "SERINUS_TELEMETRY__STORE": "memory",
            "SERINUS_TELEMETRY__PORT": str(ports[0]),
            "SERINUS_TELEMETRY__GRPC_PORT": str(ports[1]),
        },
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(20):
            while not await _answers(http, f"http://127.0.0.1:{ports[0]}/health"):
                await asyncio.sleep(0.05)
        yield process.pid, ports[0], ports[1]
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False


def peak_mib(pid: int) -> float:
    """The most memory that a process ever held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


async def flood(send: Callable[[], Awaitable[str]]) -> Counter[str]:
    """Send from many senders at once, without a pause, and count the answers."""
    loop = asyncio.get_running_loop()
    until, answers = loop.time() + FLOOD_S, Counter[str]()

    async def one() -> None:
        while loop.time() < until:
            answers[await send()] += 1

    await asyncio.gather(*(one() for _ in range(SENDERS)))
    return answers


@pytest.mark.long
@pytest.mark.process
async def test_flood_over_http_and_grpc_stays_within_bounds(tmp_path: Path) -> None:
    """Every answer is 200 or 429 (OK or RESOURCE_EXHAUSTED), and the process never holds 500 MiB more (280 to 430 measured)."""
    body = otlp.many(3_000, filler=4_000)
    assert 11 * MIB < len(body) < 16 * MIB
    headers = {"content-type": "application/x-protobuf"}
    async with (
        telemetry_process(tmp_path) as (pid, port, grpc_port),
        httpx.AsyncClient(trust_env=False, timeout=30, limits=httpx.Limits(max_connections=SENDERS)) as http,
        grpc.aio.insecure_channel(
            f"127.0.0.1:{grpc_port}", options=[("grpc.max_send_message_length", -1)]
        ) as channel,
    ):
        export: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            next(f"/{service}/Export" for service, signal in SERVICES.items() if signal is Signal.TRACES)
        )

        async def by_http() -> str:
            answer = await http.post(f"http://127.0.0.1:{port}/v1/traces", content=body, headers=headers)
            return str(answer.status_code)

        async def by_grpc() -> str:
            try:
                await export(body, timeout=30)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"

        before = peak_mib(pid)
        over_http, after_http = await flood(by_http), peak_mib(pid)
        over_grpc, after_grpc = await flood(by_grpc), peak_mib(pid)
        healthy = await _answers(http, f"http://127.0.0.1:{port}/health")

    print(f"{before:.0f} MiB, {over_http} {after_http:.0f} MiB, {over_grpc} {after_grpc:.0f} MiB")
    assert healthy
    assert set(over_http) == {"200", "429"}
    assert set(over_grpc) <= {"OK", "RESOURCE_EXHAUSTED"}
    assert over_grpc["OK"] > 0
    assert after_grpc - before < 500
