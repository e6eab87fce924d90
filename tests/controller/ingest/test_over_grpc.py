"""OTLP over gRPC against a real server on loopback: what is kept, what is refused and how, and what a flood can hold."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # ships no stubs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from controller.errors import TracesUnavailable
from controller.ingest.intake import Intake
from controller.ingest.over_grpc import SERVICES, GrpcReceiver
from controller.model.telemetry import Signal
from controller.traces.memory import MemoryTraces
from tests.controller.ingest import otlp

EXPORT = {signal: f"/{service}/Export" for service, signal in SERVICES.items()}
UNBOUNDED = [("grpc.max_send_message_length", -1)]


@asynccontextmanager
async def served(
    store: MemoryTraces, *, max_body_bytes: int = 100_000, deadline_s: float = 5.0, compressed: bool = False
) -> AsyncIterator[grpc.aio.Channel]:
    intake = Intake(store, max_body_bytes=max_body_bytes)
    receiver = GrpcReceiver(intake, body_deadline_s=deadline_s)
    port = await receiver.start("127.0.0.1", 0)
    compression = grpc.Compression.Gzip if compressed else None
    try:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", compression=compression, options=UNBOUNDED
        ) as channel:
            yield channel
    finally:
        await receiver.aclose(grace_s=0.1)
        await intake.aclose()


async def send(channel: grpc.aio.Channel, body: bytes, signal: Signal = Signal.TRACES) -> bytes:
    export: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT[signal])
    return await export(body, timeout=10)


async def refusal(channel: grpc.aio.Channel, body: bytes) -> tuple[grpc.StatusCode, float]:
    """The code of a refusal, and when the sender may come again, seconds; 0 for never."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(channel, body)
    return refusal_of(caught.value)


def refusal_of(error: BaseException | None) -> tuple[grpc.StatusCode, float]:
    assert isinstance(error, grpc.aio.AioRpcError)
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    assert isinstance(details, bytes)
    return error.code(), otlp.retry_delay_s(Status.FromString(details))


@pytest.mark.parametrize("compressed", [False, True])
async def test_spans_are_in_the_store_when_the_call_returns(compressed: bool) -> None:
    """With gzip and without, byte for byte."""
    store = MemoryTraces()
    async with served(store, compressed=compressed) as channel:
        answer = await send(channel, otlp.many(20))

    trace = await store.get(otlp.TRACE.hex())
    assert ExportTraceServiceResponse.FromString(answer) == ExportTraceServiceResponse()
    assert trace is not None
    assert len(trace.spans) == 20


async def test_logs_and_metrics_have_services_of_their_own() -> None:
    """Each signal goes to its place."""
    store = MemoryTraces()
    async with served(store) as channel:
        answers = [
            await send(channel, otlp.a_log(), Signal.LOGS),
            await send(channel, otlp.a_point(), Signal.METRICS),
        ]

    assert answers == [b"", b""]
    assert (store.others(Signal.LOGS), store.others(Signal.METRICS)) == ((otlp.a_log(),), (otlp.a_point(),))


async def test_spans_that_cannot_be_kept_are_told_as_partial_success() -> None:
    """The same words as over HTTP."""
    message, _ = otlp.a_span()
    message.resource_spans[0].scope_spans[0].spans.add(name="nobody")
    async with served(MemoryTraces()) as channel:
        answer = await send(channel, message.SerializeToString())

    told = ExportTraceServiceResponse.FromString(answer).partial_success
    assert told.rejected_spans == 1
    assert "zero" in told.error_message


async def test_garbage_must_not_come_again() -> None:
    """INVALID_ARGUMENT, and no time to try again."""
    async with served(MemoryTraces()) as channel:
        assert await refusal(channel, b"\xff\xff") == (grpc.StatusCode.INVALID_ARGUMENT, 0)


@pytest.mark.parametrize("compressed", [False, True])
async def test_message_that_is_too_large_must_not_come_again(compressed: bool) -> None:
    """A body over the limit is refused, and so is 64 KiB of gzip that would become 64 MiB; neither is retried."""
    async with served(MemoryTraces(), compressed=compressed) as channel:
        code, retry_s = await refusal(channel, b"\x0a" + bytes(64 << 20))
        after = await send(channel, otlp.many(1))

    assert (code, retry_s) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 0)
    assert after == b""


async def test_store_that_takes_nothing_asks_to_come_again() -> None:
    """UNAVAILABLE with RetryInfo."""

    class Full(MemoryTraces):
        async def ingest(self, bodies: Sequence[bytes]) -> None:
            raise TracesUnavailable("the disk is full")

    async with served(Full()) as channel:
        assert await refusal(channel, otlp.many(1)) == (grpc.StatusCode.UNAVAILABLE, 1)


async def test_no_room_asks_to_come_again_and_then_there_is_room() -> None:
    """Bodies that wait for the store count against the room of all; the next is RESOURCE_EXHAUSTED with RetryInfo."""
    go_on = asyncio.Event()

    class Slow(MemoryTraces):
        async def ingest(self, bodies: Sequence[bytes]) -> None:
            await go_on.wait()
            await super().ingest(bodies)

    body = otlp.many(1, filler=60_000)
    async with served(Slow(), max_body_bytes=len(body)) as channel:
        calls = [asyncio.create_task(send(channel, body)) for _ in range(5)]
        done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
        answers = await asyncio.gather(*waiting)
        after = await send(channel, body)

    (refused,) = done
    assert refusal_of(refused.exception()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1)
    assert (answers, after) == ([b""] * 4, b"")


async def test_sender_that_stalls_is_given_up() -> None:
    """A call without its message ends after the deadline, and others are served meanwhile."""
    async with served(MemoryTraces(), deadline_s=0.2) as channel:
        call: grpc.aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(EXPORT[Signal.TRACES])()
        await call.wait_for_connection()
        served_meanwhile = await send(channel, otlp.many(1))
        code = await call.code()

    assert (served_meanwhile, code) == (b"", grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_unknown_method_is_said() -> None:
    """Profiles, say, are not served here."""
    path = "/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export"
    async with served(MemoryTraces()) as channel:
        export: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await export(b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_taken_port_is_an_error() -> None:
    """Two receivers never share a port, which the kernel would allow."""
    receiver = GrpcReceiver(Intake(MemoryTraces(), max_body_bytes=1))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RuntimeError):
        await receiver.start("127.0.0.1", taken.getsockname()[1])
    await receiver.aclose()
