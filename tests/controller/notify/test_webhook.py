"""The signed webhook: what stands on the wire, what counts as taken, and what never leaks."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from controller.errors import ConfigurationError, DeliveryFailed, EgressRefused
from controller.model.notice import Notice
from controller.notify.webhook import WebhookNotifier
from controller.settings import Channel

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
NOTICE = Notice(
    id="rel-1.rolled_back",
    channel="hook",
    kind="release.rolled_back",
    release="rel-1",
    title="catalog v3 was rolled back",
    text="12 of 60 requests failed",
    at=1_700_000_000.25,
    details={"canary_failed": 12, "rate": 0.2, "link": None},
)
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
Request = tuple[str, dict[str, str], str]


@asynccontextmanager
async def receiver(
    reply: bytes, seen: list[Request] | None = None, *, then: bytes = b""
) -> AsyncIterator[int]:
    """A receiver that answers every request alike, and keeps on sending `then` if there is one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        if seen is not None:
            seen.append((first, headers, body.decode()))
        try:
            writer.write(reply)
            while then:
                writer.write(then)
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def webhook(
    port: int, *, wall_clock: Callable[[], float] | None = None, longest_s: float = 5.0
) -> WebhookNotifier:
    """A channel to a receiver on loopback whose address holds a secret."""
    channel = Channel(
        url=f"http://127.0.0.1:{port}/services/T0K3N?key=s3cret",
        secret=SecretStr(SECRET),
        allow=(f"127.0.0.1:{port}",),
    )
    if wall_clock is None:
        return WebhookNotifier(channel, longest_s=longest_s)
    return WebhookNotifier(channel, wall_clock=wall_clock, longest_s=longest_s)


async def refusal(send: Awaitable[None]) -> DeliveryFailed:
    """The failure of a delivery."""
    with pytest.raises(DeliveryFailed) as failure:
        await send
    return failure.value


async def test_webhook_is_standard_on_the_wire() -> None:
    """A notice is one POST of JSON with type, timestamp and data, and the three headers of Standard Webhooks."""
    seen: list[Request] = []
    async with receiver(NO_CONTENT, seen) as port:
        await webhook(port, wall_clock=lambda: 1_700_000_100.9).send(NOTICE)

    ((first, headers, body),) = seen
    assert first == "POST /services/T0K3N?key=s3cret HTTP/1.1"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("rel-1.rolled_back", "1700000100")
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "type": "release.rolled_back",
        "timestamp": "2023-11-14T22:13:20.250000Z",
        "data": {
            "id": "rel-1.rolled_back",
            "release": "rel-1",
            "title": "catalog v3 was rolled back",
            "text": "12 of 60 requests failed",
            "details": {"canary_failed": 12, "rate": 0.2, "link": None},
        },
    }
    sent_at = datetime.fromtimestamp(1_700_000_100, UTC)
    assert headers["webhook-signature"] == Webhook(KEY).sign("rel-1.rolled_back", sent_at, body)


async def test_webhook_passes_the_receivers_check_and_tampering_fails() -> None:
    """The library's own check takes what we send, and refuses the body with one letter changed."""
    seen: list[Request] = []
    async with receiver(NO_CONTENT, seen) as port:
        await webhook(port).send(NOTICE)

    ((_, headers, body),) = seen
    assert Webhook(SECRET).verify(body, headers)["data"]["release"] == "rel-1"
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(SECRET).verify(body.replace("12", "13"), headers)


async def test_webhook_repeat_is_signed_anew() -> None:
    """A repeat keeps its id and carries the time of its own try, so that a receiver's time window holds."""
    seen: list[Request] = []
    times = iter([1_000.0, 2_000.0])
    async with receiver(NO_CONTENT, seen) as port:
        notifier = webhook(port, wall_clock=lambda: next(times))
        await notifier.send(NOTICE)
        await notifier.send(NOTICE)

    assert [headers["webhook-id"] for _, headers, _ in seen] == ["rel-1.rolled_back"] * 2
    assert [headers["webhook-timestamp"] for _, headers, _ in seen] == ["1000", "2000"]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_webhook_any_2xx_is_taken(status: int) -> None:
    """A receiver takes a notice with any 2xx, with a page of HTML as well."""
    async with receiver(f"HTTP/1.1 {status} Fine\r\nContent-Type: text/html\r\n\r\n<html>".encode()) as port:
        await webhook(port).send(NOTICE)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 429, 500, 503])
async def test_webhook_any_other_status_is_not_taken(status: int) -> None:
    """Every other answer fails with its status, without its body, and can be tried again."""
    reply = f"HTTP/1.1 {status} No\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 9\r\n\r\nleakybody".encode()
    async with receiver(reply) as port:
        failure = await refusal(webhook(port).send(NOTICE))

    assert str(status) in failure.message
    assert failure.retryable
    assert "leakybody" not in failure.message


async def test_webhook_taken_is_taken_whatever_the_body_does() -> None:
    """A receiver that says 200 and then never stops talking has taken the notice; it is not sent twice for that."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with receiver(head, then=b"1000\r\n" + b"x" * 4096 + b"\r\n") as port:
        await asyncio.wait_for(webhook(port).send(NOTICE), timeout=3)


async def test_webhook_slow_receiver_ends_at_the_deadline() -> None:
    """A receiver that drips its headers does not hold the channel longer than one try may take."""
    began = asyncio.get_running_loop().time()
    async with receiver(b"HTTP/1.1 200 OK\r\n", then=b"X: y\r\n") as port:
        failure = await refusal(webhook(port, longest_s=0.2).send(NOTICE))

    assert "0.2 s" in failure.message
    assert asyncio.get_running_loop().time() - began < 2


async def test_webhook_nobody_there_is_not_taken() -> None:
    """A receiver that is not there, or talks nonsense, fails the delivery and nothing else."""
    async with receiver(b"nonsense\r\n\r\n") as port:
        nonsense = await refusal(webhook(port).send(NOTICE))
    gone = await refusal(webhook(port).send(NOTICE))

    assert nonsense.retryable
    assert gone.retryable


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 500 No\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 302 No\r\nLocation: /\r\n\r\n"]
)
async def test_webhook_failure_leaks_nothing(reply: bytes) -> None:
    """Neither the secret nor the path and query of the address stand in an error or in what caused it."""
    async with receiver(reply) as port:
        failure: BaseException | None = await refusal(webhook(port).send(NOTICE))

    told = []
    while failure is not None:
        told.append(f"{failure!r} {failure}")
        failure = failure.__cause__ or failure.__context__
    for secret in ("s3cret", "T0K3N", SECRET.removeprefix("whsec_")):
        assert secret not in " ".join(told)


async def test_webhook_logs_leak_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Even with every library at debug, no log line holds the address's secrets, the signing secret or a signature."""
    caplog.set_level("DEBUG")
    async with receiver(NO_CONTENT) as port:
        await webhook(port).send(NOTICE)

    for secret in ("s3cret", "T0K3N", SECRET.removeprefix("whsec_"), "v1,"):
        assert secret not in caplog.text


async def test_webhook_inside_needs_the_allow_list() -> None:
    """An address on loopback that the channel does not list is refused for good, and never asked."""
    seen: list[Request] = []
    async with receiver(NO_CONTENT, seen) as port:
        channel = Channel(url=f"http://127.0.0.1:{port}/s3cret", secret=SecretStr(SECRET))
        with pytest.raises(EgressRefused) as refused:
            await WebhookNotifier(channel).send(NOTICE)

    assert seen == []
    assert "s3cret" not in refused.value.message
    assert not refused.value.retryable


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        base64.b64encode(KEY).decode(),
        "whsec_" + base64.b64encode(b"short").decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_hunter2-hunter2-hunter2-hunter2-hunter2",
        "whsec_\u00e9" + base64.b64encode(KEY).decode(),
    ],
)
def test_webhook_weak_secret_is_said_at_the_start(secret: str) -> None:
    """A secret that is not whsec_ and base64 of 24 to 64 bytes is a mistake of the settings, never signed with."""
    with pytest.raises(ConfigurationError) as refused:
        WebhookNotifier(Channel(url="https://hook.test/", secret=SecretStr(secret)))

    assert len(secret) < 10 or secret not in refused.value.message


def test_webhook_takes_a_secret_without_padding() -> None:
    """A secret whose base64 lost its padding, as some dashboards show it, is the same secret."""
    padded = base64.b64encode(bytes(25)).decode()

    WebhookNotifier(Channel(url="https://hook.test/", secret=SecretStr("whsec_" + padded.rstrip("="))))
