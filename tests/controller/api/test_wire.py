"""What only a real connection can do wrong: raw bytes on a loopback socket, against the real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.controller.cli.serving import Serving
from tests.controller.releases.world import TOKEN

HEAD = f"POST /v1/releases HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
JSON = b"Content-Type: application/json\r\n"
BODY = b'{"target": "catalog", "version": "v2"}'


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """A controller on a loopback port."""
    with capture_logs():
        found = Serving(tmp_path)
        yield found
        found.close()


def answer(serving: Serving, *parts: bytes) -> bytes:
    """Send bytes, close our side, and return everything that comes back."""
    port = int(serving.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            # The server may answer and close before it has read everything: that is what a cap is for.
            pass
        found = b""
        try:
            while chunk := connection.recv(65_536):
                found += chunk
        except ConnectionResetError:
            pass
        return found


def status(found: bytes) -> int:
    """Return the status of the first answer; 0 when there was none."""
    return int(found.split(b" ", 2)[1]) if found.startswith(b"HTTP/1.1 ") else 0


def test_a_chunked_flood_is_413(serving: Serving) -> None:
    """A body without a length is cut at the cap, long before 50 MB are read."""
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"

    found = answer(serving, HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 100)

    assert status(found) == 413


def test_a_body_that_breaks_off_is_never_taken(serving: Serving) -> None:
    """Fewer bytes than declared start nothing, even when what came is a whole document."""
    answer(serving, HEAD + JSON + b"Content-Length: 4000\r\n\r\n" + BODY)

    assert serving.world.runner.orders == []


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 38\r\nContent-Length: 40\r\n",
        b"Content-Length: abc\r\n",
        b"Content-Length: -5\r\n",
        b"X-Correlation-ID: a\x00b\r\nContent-Length: 38\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Host: evil.example\r\nContent-Length: 38\r\n",
    ],
)
def test_a_broken_head_is_4xx(serving: Serving, head: bytes) -> None:
    """Whatever cannot be read in one way only is refused, and starts nothing."""
    found = answer(serving, HEAD + JSON + head + b"\r\n" + BODY)

    assert 400 <= status(found) < 500
    assert serving.world.runner.orders == []


def test_a_smuggled_second_request_is_not_served(serving: Serving) -> None:
    """Length and chunking at once: no second request is read out of the body with the first one's rights."""
    smuggled = b"0\r\n\r\nGET /v1/targets HTTP/1.1\r\nHost: localhost\r\n\r\n"

    found = answer(
        serving, HEAD + JSON + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", smuggled
    )

    assert b'"targets"' not in found
    assert serving.world.runner.orders == []


def test_binary_ids_are_not_reflected(serving: Serving) -> None:
    """Bytes that are no text never come back in a header."""
    head = (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Correlation-ID: \xff\xfe\r\nConnection: close\r\n\r\n"
    )

    found = answer(serving, head)

    assert status(found) == 200
    assert b"\xff\xfe" not in found


def test_a_real_request_works_on_the_same_server(serving: Serving) -> None:
    """After all of that an ordinary request, byte by byte, is served."""
    head = HEAD + JSON + f"Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n".encode()
    answer(serving, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")

    found = answer(serving, *(bytes([byte]) for byte in head + BODY))

    assert status(found) == 202
    assert b"x-correlation-id" in found.lower()
