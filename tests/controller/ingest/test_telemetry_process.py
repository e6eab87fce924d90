"""The telemetry process from start to SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import grpc.aio
import httpx
import pytest

from controller.errors import ConfigurationError
from controller.ingest.process import serve
from controller.settings import Settings, Telemetry
from controller.traces.memory import MemoryTraces


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def test_taken_port_is_a_configuration_error() -> None:
    """The message names the address and what is wrong."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port} cannot be used"):
            await serve(Settings(telemetry=Telemetry(port=port)), MemoryTraces())
        with pytest.raises(ConfigurationError, match=r"telemetry\.grpc_port"):
            await serve(Settings(telemetry=Telemetry(port=free_port(), grpc_port=port)), MemoryTraces())


async def test_only_loopback_is_served() -> None:
    """Spans are nobody else's business until there are logins."""
    with pytest.raises(ConfigurationError, match="only loopback"):
        await serve(Settings(telemetry=Telemetry(host="0.0.0.0")), MemoryTraces())


async def test_sigterm_ends_it_and_returns() -> None:
    """It answers, and after SIGTERM `serve` returns normally, so that the caller can close the store."""
    port, grpc_port = free_port(), free_port()
    settings = Settings(telemetry=Telemetry(port=port, grpc_port=grpc_port))
    serving = asyncio.create_task(serve(settings, MemoryTraces()))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        for _ in range(200):
            try:
                answer = await http.get("/health")
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.01)

        async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            await asyncio.wait_for(channel.channel_ready(), 5)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, 5)

    assert answer.status_code == 200
