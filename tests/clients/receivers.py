"""Both receivers over one memory store, in this process, for clients in other processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from controller.ingest.app import create_app
from controller.ingest.intake import Intake
from controller.ingest.over_grpc import GrpcReceiver
from controller.traces.memory import MemoryTraces
from tests.controller.ingest.served import on_loopback


@dataclass(frozen=True, slots=True)
class Receivers:
    """Where clients send to, and where it can be looked at.

    Args:
        http: Base address of OTLP/HTTP.
        grpc: Base address of OTLP/gRPC.
        store: What came.
    """

    http: str
    grpc: str
    store: MemoryTraces


@asynccontextmanager
async def receivers() -> AsyncIterator[Receivers]:
    """Serve on free ports for the length of a block."""
    store = MemoryTraces()
    intake = Intake(store, max_body_bytes=1 << 20)
    over_grpc = GrpcReceiver(intake)
    port = await over_grpc.start("127.0.0.1", 0)
    try:
        async with on_loopback(create_app(store, intake=intake)) as http_port:
            yield Receivers(f"http://127.0.0.1:{http_port}", f"http://127.0.0.1:{port}", store)
    finally:
        await over_grpc.aclose(grace_s=0.5)
        await intake.aclose()
