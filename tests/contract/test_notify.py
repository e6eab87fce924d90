"""The contract of a channel: every adapter keeps it unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from controller.errors import DeliveryFailed
from controller.model.notice import Notice
from controller.notify.memory import MemoryNotifier
from controller.notify.port import Notifier
from controller.notify.webhook import WebhookNotifier
from controller.settings import Channel

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOTICE = Notice(
    "rel-1.rolled_back",
    "hook",
    "release.rolled_back",
    "rel-1",
    "catalog v3 was rolled back",
    "12 of 60 requests failed \U0001f424",
    1_700_000_000.25,
    {"canary_failed": 12, "rate": 0.2, "final": True, "trace": None},
)


@dataclass(slots=True)
class Receiver:
    """An HTTP receiver on loopback that keeps what carries a good signature."""

    taken: list[tuple[str, object]] = field(default_factory=list)
    failures_left: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request: 503 while failures are left, else 204 for a good signature and 401 for a bad one."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        exact = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        status = "204 No Content"
        if self.failures_left:
            self.failures_left -= 1
            status = "503 Service Unavailable"
        else:
            self.taken.append((headers["webhook-id"], Webhook(SECRET).verify(body, exact)))
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@dataclass(frozen=True, slots=True)
class Bench:
    """A channel, how to let it fail, and what reached the other side (ids, in order)."""

    notifier: Notifier
    fail: Callable[[int], None]
    taken: Callable[[], list[str]]


@pytest.fixture(params=["memory", "webhook"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each kind of channel with its other side."""
    if request.param == "memory":
        memory = MemoryNotifier()
        yield Bench(memory, memory.fail, lambda: [notice.id for notice in memory.sent])
        return
    receiver = Receiver()
    server = await asyncio.start_server(receiver, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    channel = Channel(
        url=f"http://127.0.0.1:{port}/hook?key=s3cret", secret=SecretStr(SECRET), allow=(f"127.0.0.1:{port}",)
    )
    notifier = WebhookNotifier(channel)

    def fail(times: int) -> None:
        receiver.failures_left = times

    yield Bench(notifier, fail, lambda: [notice for notice, _ in receiver.taken])
    await notifier.aclose()
    server.close()
    await server.wait_closed()


async def test_notify_notice_arrives_once(bench: Bench) -> None:
    """A notice that was sent is on the other side, once."""
    await bench.notifier.send(NOTICE)

    assert bench.taken() == ["rel-1.rolled_back"]


async def test_notify_failure_is_said_and_a_repeat_arrives(bench: Bench) -> None:
    """A receiver that does not take a notice is an error that a retry can heal; nothing is kept of the failed try."""
    bench.fail(2)

    for _ in range(2):
        with pytest.raises(DeliveryFailed) as failure:
            await bench.notifier.send(NOTICE)
        assert failure.value.retryable
    await bench.notifier.send(NOTICE)

    assert bench.taken() == ["rel-1.rolled_back"]


async def test_notify_repeats_carry_the_same_id(bench: Bench) -> None:
    """A repeat has the id of the first, so that the receiver can drop it; other notices keep their order."""
    for notice in (NOTICE, NOTICE, replace(NOTICE, id="rel-2.aborted", release="rel-2")):
        await bench.notifier.send(notice)

    assert bench.taken() == ["rel-1.rolled_back", "rel-1.rolled_back", "rel-2.aborted"]


async def test_notify_strange_text_is_delivered(bench: Bench) -> None:
    """Control letters and numbers that JSON lacks never keep an alert from going out."""
    notice = replace(NOTICE, text='\r\n\x00 "quoted" <b>', details={"rate": float("nan")})

    await bench.notifier.send(notice)

    assert bench.taken() == ["rel-1.rolled_back"]


async def test_notify_sends_at_once(bench: Bench) -> None:
    """Notices that are sent at the same time all arrive."""
    notices = [replace(NOTICE, id=f"rel-{n}.aborted") for n in range(5)]

    await asyncio.gather(*(bench.notifier.send(notice) for notice in notices))

    assert sorted(bench.taken()) == [notice.id for notice in notices]


async def test_notify_closes_twice(bench: Bench) -> None:
    """Closing a channel again is not an error."""
    await bench.notifier.aclose()
    await bench.notifier.aclose()
