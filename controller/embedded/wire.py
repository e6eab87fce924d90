"""The smallest HTTP/1.1 that the supervisor needs: one call, one answer, over loopback or a unix socket.

It asks parts whether they are ready, speaks to our own API and to Envoy's admin socket, and serves the control socket
and the demo's receiver of alerts. httptools parses. A web framework would add 0.3 s of CPU to the process that
everything else waits for, and httpx as much again (measured, DECISIONS.md); this is no way out of the machine, that is
`controller.egress`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httptools

from controller.errors import Unavailable

LARGEST_BODY = 4 * 1024 * 1024
LARGEST_REQUEST = 64 * 1024
SERVING_DEADLINE_S = 5.0
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """A loopback port, or a unix socket when `socket` is set."""

    port: int = 0
    socket: Path | None = None
    host: str = "127.0.0.1"

    def __str__(self) -> str:
        """Name it for people."""
        return str(self.socket) if self.socket else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            Unavailable: It is none.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Unavailable(f"expected JSON in an answer with status {self.status}, found none") from error


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked; header names are lower case."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Answer]]


class _Parsed:
    """What httptools calls while it parses either side's message."""

    def __init__(self, largest_body: int) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_complete = False
        self._largest_body = largest_body

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self.body += part
        if len(self.body) > self._largest_body:
            raise ValueError(f"body above {self._largest_body} bytes")

    def on_message_complete(self) -> None:
        self.is_complete = True


async def connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection; the caller bounds the wait."""
    if address.socket is not None:
        return await asyncio.open_unix_connection(str(address.socket))
    return await asyncio.open_connection(address.host, address.port)


async def call(
    address: Address,
    method: str,
    path: str,
    *,
    payload: object = None,
    headers: Mapping[str, str] | None = None,
    deadline_s: float = 2.0,
) -> Answer:
    """Send one request and return the answer, whatever its status.

    Args:
        address: Where to.
        method: Such as GET.
        path: With query, already encoded.
        payload: Sent as JSON when not None.
        headers: Added to ours.
        deadline_s: For everything together, seconds.

    Raises:
        Unavailable: Nobody answered in time, or not with HTTP.
    """
    try:
        async with asyncio.timeout(deadline_s):
            return await _exchange(address, _head(method, path, payload, headers or {}))
    except (OSError, TimeoutError, ValueError, httptools.HttpParserError) as error:
        raise Unavailable(f"{address} did not answer {method} {path}: {str(error) or 'timeout'}") from error


def _head(method: str, path: str, payload: object, headers: Mapping[str, str]) -> bytes:
    body = b"" if payload is None else json.dumps(payload).encode()
    lines = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body)), **headers}
    if payload is not None:
        lines["Content-Type"] = "application/json"
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


async def _exchange(address: Address, request: bytes) -> Answer:
    reader, writer = await connect(address)
    try:
        writer.write(request)
        await writer.drain()
        parsed = _Parsed(LARGEST_BODY)
        parser = httptools.HttpResponseParser(parsed)
        while not parsed.is_complete:
            chunk = await reader.read(_CHUNK)
            if not chunk:
                break
            parser.feed_data(chunk)
        # Only a body without a length ends with its connection.
        has_end = parsed.headers.keys() & {"content-length", "transfer-encoding"}
        if not parsed.is_complete and (has_end or not parsed.headers):
            raise ConnectionError("the connection was closed before the end of the answer")
        return Answer(parser.get_status_code(), bytes(parsed.body), parsed.headers)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def serve(handler: Handler, address: Address) -> asyncio.Server:
    """Listen; each connection carries one request and ends within 5 s. A unix socket is made 0600.

    The handler's own errors must be answers already: what it raises ends the connection without one.
    """

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SERVING_DEADLINE_S):
                request = await _read_request(reader)
                writer.write(_answer_bytes(await handler(request)))
                await writer.drain()
        except (OSError, TimeoutError, httptools.HttpParserError, ValueError):
            pass  # Whoever asked has gone, or does not speak HTTP: there is nobody to tell.
        finally:
            writer.close()

    if address.socket is not None:
        address.socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(on_connection, path=str(address.socket))
        address.socket.chmod(0o600)  # The folder is 0700: nobody else came in between.
        return server
    return await asyncio.start_server(on_connection, address.host, address.port)


async def _read_request(reader: asyncio.StreamReader) -> Request:
    parsed = _Parsed(LARGEST_REQUEST)
    parser = httptools.HttpRequestParser(parsed)
    seen = 0
    while not parsed.is_complete:
        chunk = await reader.read(_CHUNK)
        seen += len(chunk)
        if not chunk or seen > 2 * LARGEST_REQUEST:
            raise ValueError("no complete request")
        parser.feed_data(chunk)
    return Request(
        parser.get_method().decode("latin-1"),
        parsed.target.decode("latin-1"),
        bytes(parsed.body),
        parsed.headers,
    )


def _answer_bytes(answer: Answer) -> bytes:
    head = {
        "Content-Type": "application/json",
        **answer.headers,
        "Content-Length": str(len(answer.body)),
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"HTTP/1.1 {answer.status} -\r\n{lines}\r\n".encode("latin-1") + answer.body
