"""Calls to servers that are odd, slow, greedy or gone."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from services.calls import LONGEST_BODY, Caller, CallFailed

Talking = Callable[[Any], AbstractAsyncContextManager[str]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def calling(url: str, **options: Any) -> AbstractAsyncContextManager[Caller]:
    provider = TracerProvider(shutdown_on_exit=False)
    options.setdefault("timeout_s", 2)
    return aclosing(Caller(provider, url=url, host="catalog.localhost", **options))


async def asked(caller: Caller) -> tuple[int, bytes] | str:
    try:
        answer = await caller.get("/a?b=%20c")
    except CallFailed as error:
        return error.reason
    return answer.status, answer.body


def saying(*answers: bytes, heard: list[bytes] | None = None, pause_s: float = 0) -> Any:
    """A server that gives these answers on each connection, one a request, and then closes it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            if heard is not None:
                heard.append(head)
            for start in range(0, len(answer), max(1, len(answer) // 3) if pause_s else len(answer) or 1):
                writer.write(answer[start : start + (max(1, len(answer) // 3) if pause_s else len(answer))])
                await writer.drain()
                await asyncio.sleep(pause_s)

    return talk


async def test_request_goes_out_as_given_and_connections_are_kept(talking: Talking) -> None:
    """Two calls use one connection, and the server sees path and host as they were given."""
    heard: list[bytes] = []
    async with talking(saying(OK, OK, heard=heard)) as url, calling(url) as caller:
        answers = [await asked(caller) for _ in range(2)]

    assert answers == [(200, b"ok")] * 2
    assert [head.split(b"\r\n")[0] for head in heard] == [b"GET /a?b=%20c HTTP/1.1"] * 2
    assert all(b"\r\nHost: catalog.localhost\r\n" in head for head in heard)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            (200, b"hello"),
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello")),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", (503, b"")),
    ],
)
async def test_every_framing_is_read(talking: Talking, answer: bytes, expected: tuple[int, bytes]) -> None:
    """Chunks, interim answers and closing servers, in one piece or in three."""
    for pause_s in (0.0, 0.001):
        async with talking(saying(answer, pause_s=pause_s)) as url, calling(url) as caller:
            assert await asked(caller) == expected


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "reset"),
        (b"\x00nonsense\r\n\r\n", "garbage"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "reset"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * LONGEST_BODY) + bytes(LONGEST_BODY + 1),
            "too_large",
        ),
    ],
)
async def test_answers_that_are_none_have_a_reason(talking: Talking, answer: bytes, reason: str) -> None:
    """Closed, garbage, cut off or without end: no answer, and the next call gets a fresh connection."""
    async with talking(saying(answer)) as url, calling(url) as caller:
        assert [await asked(caller) for _ in range(2)] == [reason] * 2


async def test_nobody_there_is_refused() -> None:
    """A dead address is a reason of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    async with calling(url) as caller:
        assert await asked(caller) == "refused"


async def test_slow_server_ends_at_the_timeout(talking: Talking) -> None:
    """The timeout bounds the call as a whole, also for a server that drips; the connection is not used again."""
    heard: list[bytes] = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        for byte in OK * 100:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.03)

    async with talking(drip) as url, calling(url, timeout_s=0.15) as caller:
        begun_s = time.monotonic()
        reasons = [await asked(caller) for _ in range(2)]
        took_s = time.monotonic() - begun_s

    assert reasons == ["timeout", "timeout"]
    assert took_s < 1.5
    assert len(heard) == 2


async def test_calls_at_once_are_bounded(talking: Talking) -> None:
    """One call too many fails at once instead of waiting, and later calls are served again."""
    release = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(OK)
        await writer.drain()

    async with talking(hold) as url, calling(url, max_in_flight=2) as caller:
        held = [asyncio.create_task(asked(caller)) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await asked(caller)
        release.set()
        answers = [*await asyncio.gather(*held), await asked(caller)]

    assert refused == "too_many"
    assert answers == [(200, b"ok")] * 3


async def test_idle_connection_that_was_closed_is_forgotten(talking: Talking) -> None:
    """A server that closes after each answer costs a new connection, never a failed call."""
    async with talking(saying(OK)) as url, calling(url) as caller:
        for _ in range(3):
            assert await asked(caller) == (200, b"ok")
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["products", "", "@elsewhere/", ":80@elsewhere/"])
async def test_paths_cannot_name_another_host(path: str) -> None:
    """What is no path never becomes a request."""
    async with calling("http://127.0.0.1:9") as caller:
        with pytest.raises(ValueError, match="path"):
            await caller.get(path)


async def test_paths_cannot_carry_headers(talking: Talking) -> None:
    """A line break in a path is refused or encoded; it never begins a header of its own."""
    heard: list[bytes] = []
    async with talking(saying(OK, heard=heard)) as url, calling(url) as caller:
        await caller.get("/a\r\nX: y")

    assert b"/a%0D%0AX:%20y" in heard[0] or b"/aX:%20y" in heard[0]
    assert b"\r\nX: y" not in heard[0]


async def test_hung_call_is_an_error_of_its_span(talking: Talking) -> None:
    """A server that never answers leaves a client span that failed, with the reason, not one that just ends."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking(hang) as url, aclosing(Caller(provider, url=url, host="x", timeout_s=0.1)) as caller:
        assert await asked(caller) == "timeout"

    (span,) = kept.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == "TimeoutError"


@pytest.mark.parametrize("url", ["https://127.0.0.1", "http://", "127.0.0.1:80"])
def test_proxy_urls_are_plain_http(url: str) -> None:
    """What this client is not made for is refused when the service starts."""
    with pytest.raises(ValueError, match="edge_url"):
        Caller(TracerProvider(shutdown_on_exit=False), url=url, host="x", timeout_s=1)
