"""The remote store against telemetry processes that are dead, hung, slow, flooded or lying."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controller.errors import InvalidInput, TracesUnavailable
from controller.model.searching import Search
from controller.traces.remote import RemoteTraces

TRACE = "ab" * 16


@asynccontextmanager
async def liar(answer: bytes, *, then_hang: bool = False, drip_s: float = 0) -> AsyncIterator[str]:
    """A server that answers everything with the same bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, len(answer), 1 if drip_s else 65536):
            writer.write(answer[start : start + (1 if drip_s else 65536)])
            await writer.drain()
            await asyncio.sleep(drip_s)
        if then_hang:
            await reader.read()

    handlers: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        current = asyncio.current_task()
        assert current is not None
        handlers.add(current)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        if handlers:
            await asyncio.wait(handlers, timeout=2)


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"not json"),
        ok(b"[]"),
        ok(b"{}"),
        ok(b'{"traces": 1}'),
        ok(b'{"traces": [{"surprise": 1}], "cursor": 1}'),
        ok(b"\xff\xfe\x00"),
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 422 Unprocessable\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 422 Unprocessable\r\ncontent-length: 1\r\n\r\n[",
        ok(b"[" * 100_000),
        b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        b"\x00\x01garbage\r\n\r\n",
        b"",
    ],
)
async def test_answers_that_make_no_sense_are_unavailable(answer: bytes) -> None:
    """Whatever another process answers, callers see TracesUnavailable and nothing else."""
    async with liar(answer) as url:
        store = RemoteTraces(url)

        with pytest.raises(TracesUnavailable):
            await store.search(Search())
        with pytest.raises(TracesUnavailable):
            await store.service_map()
        await store.aclose()


@pytest.mark.parametrize("answer", [ok(b"not OTLP"), ok(b"[" * 100_000), ok(b"\x0a\xff\xff"), b""])
async def test_spans_that_make_no_sense_are_unavailable(answer: bytes) -> None:
    """Whole spans travel as OTLP; bytes that are none are no spans."""
    async with liar(answer) as url:
        store = RemoteTraces(url)

        with pytest.raises(TracesUnavailable):
            await store.get(TRACE)
        with pytest.raises(TracesUnavailable):
            await store.span(TRACE, TRACE[:16])
        await store.aclose()


async def test_a_refusal_keeps_its_reason_and_field() -> None:
    """422 is the caller's mistake, in the words of the other process."""
    reason = b'{"error": "expected a cursor of an earlier answer", "field": "cursor"}'
    head = b"HTTP/1.1 422 Unprocessable\r\ncontent-length: %d\r\n\r\n" % len(reason)
    async with liar(head + reason) as url:
        store = RemoteTraces(url)

        with pytest.raises(InvalidInput, match="an earlier answer") as caught:
            await store.search(Search())

        assert caught.value.field == "cursor"
        await store.aclose()


@pytest.mark.parametrize(("answer", "drip_s"), [(b"", 0.0), (ok(b" " * 1000), 0.01)])
async def test_hung_and_dripping_processes_end_at_the_deadline(answer: bytes, drip_s: float) -> None:
    """A process that says nothing, or a byte at a time, costs the total deadline and no more."""
    async with liar(answer, then_hang=True, drip_s=drip_s) as url:
        store = RemoteTraces(url, deadline_s=0.2)
        begun_s = time.monotonic()

        with pytest.raises(TracesUnavailable):
            await store.get(TRACE)

        assert time.monotonic() - begun_s < 1.0
        await store.aclose()


async def test_flood_is_cut_off() -> None:
    """An answer above the byte cap is left, not collected."""
    async with liar(ok(b" " * 300_000)) as url:
        store = RemoteTraces(url, longest_answer=100_000)

        with pytest.raises(TracesUnavailable, match="larger than 100000 bytes"):
            await store.get(TRACE)
        await store.aclose()


async def test_dead_process_is_unavailable() -> None:
    """Nobody listens: an error that says what to look at, at once."""
    async with liar(b"") as url:
        pass
    store = RemoteTraces(url)

    with pytest.raises(TracesUnavailable, match="is it up"):
        await store.search(Search())
    await store.aclose()


async def test_bodies_are_not_taken() -> None:
    """A reader says that it cannot ingest, and refuses when asked all the same."""
    store = RemoteTraces("http://127.0.0.1:9")

    with pytest.raises(TracesUnavailable):
        await store.ingest([b""])

    assert not store.capabilities().can_ingest
    await store.aclose()
