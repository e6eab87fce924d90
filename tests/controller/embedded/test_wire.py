"""The supervisor's own small HTTP: `controller.embedded.wire`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controller.embedded import wire
from controller.embedded.probes import answers, listens
from controller.embedded.wire import Address, Answer, Request, call, serve
from controller.errors import Unavailable


@asynccontextmanager
async def _server(handler: Callable[[Request], Awaitable[Answer]], path: Path) -> AsyncIterator[Address]:
    address = Address(socket=path / "s")
    server = await serve(handler, address)
    try:
        yield address
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def _raw(bytes_sent: bytes, *, stays_open: bool = False) -> AsyncIterator[Address]:
    """A server that sends what it is given, whatever it is asked."""
    held: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(bytes_sent)
        held.append(writer)
        if not stays_open:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield Address(server.sockets[0].getsockname()[1])
    finally:
        for writer in held:
            writer.close()
        server.close()


async def _echo(request: Request) -> Answer:
    return Answer(
        207, request.body, {"X-Asked": f"{request.method} {request.path} {request.headers['x-me']}"}
    )


async def test_a_call_carries_method_path_headers_and_body_both_ways(tmp_path: Path) -> None:
    """What is asked arrives, and what is answered comes back."""
    async with _server(_echo, tmp_path) as address:
        answer = await call(address, "PUT", "/a?b=c", payload={"d": [1]}, headers={"X-Me": "you"})

    assert (answer.status, answer.json()) == (207, {"d": [1]})
    assert answer.headers["x-asked"] == "PUT /a?b=c you"


async def test_a_unix_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The socket is made 0600, and a dead run's left-over is replaced."""
    (tmp_path / "s").write_text("left over")

    async with _server(_echo, tmp_path):
        mode = (tmp_path / "s").stat().st_mode & 0o777

    assert mode == 0o600


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["nothing", "another protocol", "half a head", "half a body", "a negative length"],
)
async def test_what_is_no_whole_answer_is_unavailable(said: bytes) -> None:
    """A server that breaks off or speaks something else is not believed."""
    async with _raw(said) as address:
        with pytest.raises(Unavailable):
            await call(address, "GET", "/")


async def test_a_silent_server_is_left_at_the_deadline() -> None:
    """The deadline holds for the whole exchange, also when bytes have come."""
    async with _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na", stays_open=True) as address:
        with pytest.raises(Unavailable, match="timeout"):
            await call(address, "GET", "/", deadline_s=0.1)


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer above the cap is an error, not memory."""
    # The cap is megabytes; a test need not send them.
    monkeypatch.setattr(wire, "LARGEST_BODY", 10)

    async with _raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100) as address:
        with pytest.raises(Unavailable):
            await call(address, "GET", "/")


async def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    """A missing socket and a closed port are said with their name."""
    with pytest.raises(Unavailable, match=r"none\.sock did not answer GET /x"):
        await call(Address(socket=tmp_path / "none.sock"), "GET", "/x")


async def test_an_answer_that_is_no_json_is_unavailable() -> None:
    """Only JSON is read as JSON."""
    with pytest.raises(Unavailable, match="expected JSON"):
        Answer(502, b"<html>").json()


@pytest.mark.parametrize(
    "asked", [b"\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200_000]
)
async def test_a_server_gets_rid_of_nonsense_and_floods(tmp_path: Path, asked: bytes) -> None:
    """The connection ends, and the next client is served."""

    async def well(request: Request) -> Answer:
        return Answer(200)

    async with _server(well, tmp_path) as address:
        reader, writer = await asyncio.open_unix_connection(str(address.socket))
        writer.write(asked)
        try:
            answer = await reader.read()
        except ConnectionError:
            answer = b""
        writer.close()
        after = await call(address, "GET", "/")

    assert answer == b""
    assert after.status == 200


async def test_probes_say_why_not(tmp_path: Path) -> None:
    """A probe is content with a listener or a 200, and names what it found otherwise."""

    async def unwell(request: Request) -> Answer:
        return Answer(200 if request.path == "/health" else 503)

    async with _server(unwell, tmp_path) as address:
        said = [
            await listens(address)(),
            await answers(address, "/health")(),
            await answers(address, "/ready")(),
        ]
    gone = await listens(Address(socket=tmp_path / "gone"))()

    assert said[:2] == ["", ""]
    assert said[2].endswith("/ready answers 503")
    assert gone.startswith("nobody listens on")
