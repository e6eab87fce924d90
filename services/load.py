"""The users of the sample shop: an open-loop generator with a constant arrival rate.

Before it: the demo, or a person. After it: the proxy, then the storefront. Requests are sent when they are due, however
slow the answers are, and latency counts from when a request was due: a stall of the shop is seen at its full length.
When too many are unanswered, further ones are dropped, counted and said. Every request has a correlation ID of its own.

Run as `python -m services.load --url http://127.0.0.1:8080 --host storefront.localhost --rate 300 --report -`.
Only loopback addresses are accepted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import secrets
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import httptools
import uvloop

from services.tally import Tally

PATHS = ("/", *(f"/products/{number}" for number in range(1, 9)))
_SWEEP_S = 0.05


@dataclass(frozen=True, slots=True)
class Aim:
    """What is asked for, how often, and for how long.

    Args:
        host: Loopback address.
        port: Port of the proxy.
        host_header: By which the proxy knows the target.
        rate: Requests a second.
        paths: Asked for in turn.
        prefix: Of the correlation IDs; a counter follows.
        seconds: When to stop; None only at SIGTERM.
        timeout_s: After which a request counts as failed.
        max_in_flight: More than this unanswered: new ones are dropped.
    """

    host: str
    port: int
    host_header: str
    rate: float = 300.0
    paths: tuple[str, ...] = PATHS
    prefix: str = "load"
    seconds: float | None = None
    timeout_s: float = 5.0
    max_in_flight: int = 512


class Connection(asyncio.Protocol):
    """One keep-alive connection; carries one request at a time.

    Args:
        load: Is told about answers and losses.
    """

    __slots__ = ("_load", "_parser", "due_s", "id", "is_busy", "transport")

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport | None = None
        self.is_busy = False
        self.id = ""
        self.due_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]

    def ask(self, head: bytes, correlation_id: str, due_s: float) -> None:
        """Send one request."""
        self.is_busy, self.id, self.due_s = True, correlation_id, due_s
        if self.transport is not None:
            self.transport.write(b"%b%b\r\n\r\n" % (head, correlation_id.encode()))

    def data_received(self, data: bytes) -> None:
        """Parse; whoever answers garbage is left."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.leave("garbage")

    def on_message_complete(self) -> None:
        """Finish the request; called by the parser."""
        if not self.is_busy:
            return
        status = self._parser.get_status_code()
        if status < 200:
            return
        self.is_busy = False
        stays = self._parser.should_keep_alive()
        self._load.answered(self, str(status), stays=stays)
        if not stays and self.transport is not None:
            self.transport.close()

    def leave(self, reason: str) -> None:
        """Give the request up and the connection with it."""
        if self.is_busy:
            self.is_busy = False
            self._load.answered(self, reason, stays=False)
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count what was under way."""
        self._load.lost(self)
        self.leave("reset")


class Load:
    """Sends the requests of one aim and counts what comes back.

    Args:
        aim: What to do.
        failures: Where each failed request is written, one JSON object a line; None keeps none.
    """

    def __init__(self, aim: Aim, *, failures: TextIO | None = None) -> None:
        self.aim = aim
        self.tally = Tally()
        self._failures = failures
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._drained = asyncio.Event()
        self._is_last = False
        self._heads = [
            f"GET {path} HTTP/1.1\r\nHost: {aim.host_header}\r\nX-Correlation-ID: ".encode()
            for path in aim.paths
        ]

    def stop(self) -> None:
        """Let no more requests go out; `run` returns when the open ones are done or timed out."""
        self._stop.set()

    async def run(self) -> None:
        """Send at the aim's rate until stopped or until its seconds are over."""
        loop = asyncio.get_running_loop()
        sweeper = loop.create_task(self._sweep())
        begun_s = loop.time()
        number = 0
        while not self._stop.is_set():
            if self.aim.seconds is not None and number / self.aim.rate >= self.aim.seconds:
                break
            due_s = begun_s + number / self.aim.rate
            now_s = loop.time()
            if due_s > now_s:
                await asyncio.sleep(due_s - now_s)
                continue
            self._send(number, due_s)
            number += 1
            if not number % 64:
                await asyncio.sleep(0)
        await self._finish(sweeper)

    async def _finish(self, sweeper: asyncio.Task[None]) -> None:
        if self._opening:
            await asyncio.wait(self._opening)
        self._is_last = True
        if self._busy:
            await self._drained.wait()
        sweeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeper
        for connection in tuple(self._idle):
            connection.leave("stopped")
        await asyncio.sleep(0)

    def _send(self, number: int, due_s: float) -> None:
        if len(self._busy) + len(self._opening) >= self.aim.max_in_flight:
            self.tally.dropped += 1
            return
        self.tally.sent += 1
        head = self._heads[number % len(self._heads)]
        correlation_id = f"{self.aim.prefix}-{number}"
        if self._idle:
            self._ask(self._idle.pop(), head, correlation_id, due_s)
            return
        opening = asyncio.get_running_loop().create_task(self._open(head, correlation_id, due_s))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, head: bytes, correlation_id: str, due_s: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.aim.timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self), self.aim.host, self.aim.port
                )
        except OSError as error:
            reason = "timeout" if isinstance(error, TimeoutError) else "refused"
            self._count(correlation_id, due_s, reason)
            return
        self._ask(connection, head, correlation_id, due_s)

    def _ask(self, connection: Connection, head: bytes, correlation_id: str, due_s: float) -> None:
        self._busy.add(connection)
        connection.ask(head, correlation_id, due_s)

    def answered(self, connection: Connection, status: str, *, stays: bool) -> None:
        """Count the end of a connection's request; called by the connection."""
        self._busy.discard(connection)
        self._count(connection.id, connection.due_s, status)
        if stays:
            self._idle.append(connection)
        if self._is_last and not self._busy:
            self._drained.set()

    def lost(self, connection: Connection) -> None:
        """Forget a closed connection; called by the connection."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _count(self, correlation_id: str, due_s: float, status: str) -> None:
        failed = self.tally.finish(status, asyncio.get_running_loop().time() - due_s)
        if failed and self._failures is not None:
            line = {"at": round(time.time(), 3), "correlation_id": correlation_id, "status": status}
            self._failures.write(json.dumps(line) + "\n")

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_S)
            oldest_s = loop.time() - self.aim.timeout_s
            for connection in [busy for busy in self._busy if busy.due_s < oldest_s]:
                connection.leave("timeout")


class Report:
    """The running report: one JSON object, replaced as a whole once a second.

    Args:
        load: What it is about.
        path: The file; "-" prints one line a second instead; None writes nothing.
    """

    def __init__(self, load: Load, *, path: str | None) -> None:
        self._load = load
        self._path = path
        self._started_at = time.time()
        self._begun_s = time.monotonic()

    async def keep(self) -> None:
        """Write once a second until cancelled."""
        while True:
            await asyncio.sleep(1)
            self.write(is_final=False)

    def write(self, *, is_final: bool) -> None:
        """Write now."""
        if self._path is None:
            return
        text = json.dumps(
            {
                "started_at": self._started_at,
                "seconds": round(time.monotonic() - self._begun_s, 3),
                "rate": self._load.aim.rate,
                "prefix": self._load.aim.prefix,
                **self._load.tally.report(),
                "is_final": is_final,
            }
        )
        if self._path == "-":
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
            return
        whole = Path(f"{self._path}.{os.getpid()}")
        try:
            whole.write_text(text + "\n")
            whole.replace(self._path)
        except OSError as error:
            # A full disk must not end the traffic; the next second tries again.
            sys.stderr.write(f"the report cannot be written: {error}\n")


def loopback(url: str) -> tuple[str, int]:
    """Return address and port of a loopback URL.

    Raises:
        ValueError: It is not plain http on a loopback address: this tool must not be turned on anybody.
    """
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    try:
        is_ours = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_ours = False
    if parts.scheme != "http" or not is_ours or parts.path not in ("", "/"):
        raise ValueError("url: expected http://<loopback address>:<port>")
    return host, parts.port or 80


async def generate(load: Load, *, report: str | None) -> Tally:
    """Run a load with its report until its seconds are over, or SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, load.stop)
    written = Report(load, path=report)
    keeper = loop.create_task(written.keep())
    await load.run()
    keeper.cancel()
    written.write(is_final=True)
    return load.tally


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m services.load", description="Open-loop load, loopback only."
    )
    parser.add_argument("--url", type=loopback, required=True, help="http://127.0.0.1:PORT")
    parser.add_argument("--host", default="storefront.localhost", help="Host header")
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second")
    parser.add_argument("--path", action="append", help="asked for in turn; can be given several times")
    parser.add_argument("--prefix", default=f"load-{secrets.token_hex(3)}", help="of the correlation IDs")
    parser.add_argument("--seconds", type=float, help="stop after this; else at SIGTERM")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds until a request counts as failed")
    parser.add_argument("--max-in-flight", type=int, default=512)
    parser.add_argument("--report", help="file of the running report, or - for standard output")
    parser.add_argument("--failures", help="file for failed requests, one JSON object a line")
    given = parser.parse_args()
    if not 0 < given.rate <= 100_000:
        parser.error("--rate: expected above 0 and at most 100000 requests a second")
    return given


def main() -> int:
    """Run the generator from the command line."""
    given = _arguments()
    host, port = given.url
    aim = Aim(
        host=host,
        port=port,
        host_header=given.host,
        rate=given.rate,
        paths=tuple(given.path or PATHS),
        prefix=given.prefix,
        seconds=given.seconds,
        timeout_s=given.timeout,
        max_in_flight=given.max_in_flight,
    )
    with contextlib.ExitStack() as files:
        lines = files.enter_context(Path(given.failures).open("a", buffering=1)) if given.failures else None
        uvloop.run(generate(Load(aim, failures=lines), report=given.report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
