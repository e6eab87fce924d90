"""The demo's receiver takes what is signed and nothing else: `controller.embedded.demo.receiver`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from controller.embedded.demo.receiver import Receiver
from controller.embedded.ports import is_free
from controller.embedded.wire import Address, call
from controller.model.notice import Notice
from controller.notify.webhook import WebhookNotifier

NOTICE = Notice(
    id="rel-1.rolled_back",
    channel="demo",
    kind="release.rolled_back",
    release="rel-1",
    title="catalog v3: rolled back",
    text="catalog v3 failed 7 of 39 requests",
    at=1.0,
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An open receiver."""
    made = Receiver(next(port for port in range(31_500, 31_600) if is_free(port)))
    async with made.open():
        yield made


async def test_an_alert_of_ours_is_taken(receiver: Receiver) -> None:
    """What the webhook channel sends with the channel's secret arrives whole."""
    await WebhookNotifier(receiver.channel).send(NOTICE)

    [alert] = await receiver.wait("rel-1", within_s=1)

    assert (alert.id, alert.kind, alert.title) == ("rel-1.rolled_back", "release.rolled_back", NOTICE.title)
    assert alert.text == NOTICE.text


async def test_a_repeat_is_the_same_alert(receiver: Receiver) -> None:
    """Delivery is at least once; the id tells."""
    for _ in range(2):
        await WebhookNotifier(receiver.channel).send(NOTICE)

    assert len(await receiver.wait("rel-1", within_s=1)) == 1


async def test_what_nobody_signed_is_refused(receiver: Receiver) -> None:
    """An alert without the secret's signature is answered with 400 and counts for nothing."""
    port = int(receiver.channel.url.split(":")[2].split("/")[0])
    forged = {"type": "release.rolled_back", "data": {"id": "x", "release": "rel-1", "title": "", "text": ""}}

    answer = await call(Address(port), "POST", "/alerts", payload=json.loads(json.dumps(forged)))

    assert (answer.status, receiver.refused, receiver.about("rel-1")) == (400, 1, ())


async def test_no_alert_is_no_alert(receiver: Receiver) -> None:
    """Waiting ends, with nothing."""
    assert await receiver.wait("rel-1", within_s=0.05) == ()
