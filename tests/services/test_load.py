"""The open-loop generator: constant rate, honest latency, every failure named."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from services.load import Aim, Load, Report, loopback
from services.tally import Tally, is_failure

Talking = Callable[[Any], AbstractAsyncContextManager[str]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def answering(answer: bytes, heard: list[bytes] | None = None) -> Any:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if heard is not None:
                heard.append(head)
            writer.write(answer)
            await writer.drain()

    return talk


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass


async def run(url: str, *, failures: io.StringIO | None = None, **aim: Any) -> Load:
    host, port = loopback(url)
    load = Load(Aim(host=host, port=port, host_header="shop.localhost", **aim), failures=failures)
    await load.run()
    return load


async def test_every_due_request_is_sent_with_an_id_of_its_own(talking: Talking) -> None:
    """A rate of 1000 for 0.2 s is 200 requests, each with its number, for the paths in turn."""
    heard: list[bytes] = []
    async with talking(answering(OK, heard)) as url:
        load = await run(url, rate=1000, seconds=0.2, prefix="p", paths=("/", "/x"))

    report = load.tally.report()
    assert (load.tally.sent, report["requests"], report["errors"], report["dropped"]) == (200, 200, 0, 0)
    assert report["by_status"] == {"200": 200}
    ids = {
        line.split(b": ")[1] for head in heard for line in head.split(b"\r\n") if line.startswith(b"X-Corr")
    }
    assert ids == {b"p-%d" % number for number in range(200)}
    assert Counter(head.split(b" ")[1] for head in heard) == {b"/": 100, b"/x": 100}
    assert all(b"\r\nHost: shop.localhost\r\n" in head for head in heard)


async def test_failed_requests_are_written_down(talking: Talking) -> None:
    """Each 5xx is a line with time, id and status; 4xx are answers."""
    failures = io.StringIO()
    async with talking(answering(b"HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n")) as url:
        load = await run(url, rate=500, seconds=0.02, prefix="p", failures=failures)
    async with talking(answering(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")) as url:
        missing = await run(url, rate=500, seconds=0.02)

    lines = [json.loads(line) for line in failures.getvalue().splitlines()]
    assert sorted(line["correlation_id"] for line in lines) == sorted(f"p-{number}" for number in range(10))
    assert {line["status"] for line in lines} == {"502"}
    assert all(line["at"] > 1.5e9 for line in lines)
    assert (load.tally.report()["errors"], missing.tally.report()["errors"]) == (10, 0)


async def test_silent_server_costs_timeouts_and_drops_not_memory(talking: Talking) -> None:
    """Unanswered requests are bounded: more are dropped and counted; those sent end as timeouts."""
    async with talking(silence) as url:
        load = await run(url, rate=1000, seconds=0.1, timeout_s=0.15, max_in_flight=20)

    assert load.tally.sent + load.tally.dropped == 100
    assert load.tally.sent == 20
    assert load.tally.by_status == {"timeout": 20}


async def test_nobody_there_is_counted_as_refused() -> None:
    """A dead proxy is a failed request for each one that was due."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    load = await run(url, rate=1000, seconds=0.05)

    assert load.tally.by_status == {"refused": 50}
    assert load.tally.report()["errors"] == 50


@pytest.mark.parametrize(("answer", "status"), [(b"\x00\x00nonsense\r\n\r\n", "garbage"), (b"", "reset")])
async def test_lying_and_closing_servers_are_named(talking: Talking, answer: bytes, status: str) -> None:
    """Garbage and closed connections are failures under their own names."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with talking(talk) as url:
        load = await run(url, rate=500, seconds=0.02)

    assert load.tally.by_status == {status: 10}


async def test_latency_counts_from_when_a_request_was_due(talking: Talking) -> None:
    """A server that freezes for 0.2 s shows its freeze in full in the slowest latencies."""
    frozen = [True]

    async def freeze(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            if frozen and frozen.pop():
                await asyncio.sleep(0.2)
            writer.write(OK)
            await writer.drain()

    async with talking(freeze) as url:
        load = await run(url, rate=200, seconds=0.1, max_in_flight=100)

    slowest = load.tally.quantile_ms(1.0)
    assert slowest is not None
    assert slowest >= 190


async def test_stop_lets_open_requests_finish(talking: Talking) -> None:
    """After `stop` nothing more goes out, and what went out is counted."""
    async with talking(answering(OK)) as url:
        host, port = loopback(url)
        load = Load(Aim(host=host, port=port, host_header="x", rate=200))
        running = asyncio.create_task(load.run())
        while load.tally.sent < 5:
            await asyncio.sleep(0.001)
        load.stop()
        await asyncio.wait_for(running, 5)

    assert load.tally.by_status.total() == load.tally.sent


async def test_report_is_always_one_whole_object(tmp_path: Path) -> None:
    """The report file holds JSON with every number, and a folder that is gone does not end the traffic."""
    load = Load(Aim(host="127.0.0.1", port=1, host_header="x", rate=300, prefix="p"))
    load.tally.finish("200", 0.004)
    path = tmp_path / "report.json"

    Report(load, path=str(path)).write(is_final=True)
    Report(load, path=str(tmp_path / "gone" / "report.json")).write(is_final=False)

    report = json.loads(path.read_text())
    assert report["requests"] == 1
    assert (report["rate"], report["prefix"], report["is_final"]) == (300, "p", True)
    assert 4.0 <= report["p50_ms"] <= 4.2
    assert list(tmp_path.iterdir()) == [path]


def test_quantiles_are_within_five_per_cent() -> None:
    """Latency classes never show a request as faster than it was, nor as more than 5 % slower."""
    tally = Tally()
    for millisecond in range(1, 1001):
        tally.finish("200", millisecond / 1000)

    p50, p99 = tally.quantile_ms(0.5), tally.quantile_ms(0.99)

    assert p50 is not None
    assert p99 is not None
    assert 500 <= p50 <= 525
    assert 990 <= p99 <= 1040
    assert Tally().quantile_ms(0.5) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://10.0.0.1:80",
        "http://127.0.0.1.example.com",
        "https://127.0.0.1",
        "http://0.0.0.0:80",
        "ftp://localhost",
        "http://",
        "http://[::ffff:10.0.0.1]",
        "http://127.0.0.1/path",
    ],
)
def test_only_loopback_is_a_target(url: str) -> None:
    """This tool cannot be turned on anybody else."""
    with pytest.raises(ValueError, match="loopback"):
        loopback(url)


def test_loopback_urls_are_taken_apart() -> None:
    """Address and port of a loopback URL, whatever name it has."""
    urls = ("http://localhost:1", "http://127.0.0.1", "http://[::1]:3/")

    assert [loopback(url) for url in urls] == [("127.0.0.1", 1), ("127.0.0.1", 80), ("::1", 3)]


def test_what_counts_as_failure() -> None:
    """5xx and no answer; nothing else."""
    assert [is_failure(status) for status in ("200", "404", "499", "500", "timeout", "reset")] == [
        False,
        False,
        False,
        True,
        True,
        True,
    ]
