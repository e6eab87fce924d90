"""The receiver of the demo's alerts: a loopback server that checks the Standard Webhooks signature, as anybody's should.

Before it: the delivery workflow, through `controller.egress`, on whose allow list this address stands. After it: the
story, which waits for the alert and shows it.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from controller.embedded.ports import LOOPBACK
from controller.embedded.wire import Address, Answer, Request, serve
from controller.settings import Channel

CHANNEL = "demo"
PATH = "/alerts"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert that was delivered and whose signature is right."""

    id: str
    kind: str
    release: str
    title: str
    text: str


class Receiver:
    """Takes alerts on a loopback port.

    Args:
        port: Where; reserved for it.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._secret = "whsec_" + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
        self._webhook = Webhook(self._secret)
        self._came = asyncio.Event()
        self.alerts: list[Alert] = []
        self.refused = 0

    @property
    def channel(self) -> Channel:
        """The channel that leads here."""
        return Channel(
            url=f"http://{LOOPBACK}:{self._port}{PATH}",
            secret=SecretStr(self._secret),
            allow=(f"{LOOPBACK}:{self._port}",),
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen while the context is open."""
        server = await serve(self.answer, Address(self._port))
        try:
            yield
        finally:
            server.close()

    async def answer(self, request: Request) -> Answer:
        """Take one alert, or refuse what nobody with the secret has signed."""
        try:
            body = self._webhook.verify(request.body, dict(request.headers))
            self.alerts.append(_alert(body))
        except (WebhookVerificationError, ValueError, KeyError, TypeError):
            self.refused += 1
            return Answer(400)
        self._came.set()
        return Answer(204)

    async def wait(self, release: str, *, within_s: float) -> tuple[Alert, ...]:
        """Return the different alerts about a release as soon as there is one, none when none came in time."""
        try:
            async with asyncio.timeout(within_s):
                while not self.about(release):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return ()
        return self.about(release)

    def about(self, release: str) -> tuple[Alert, ...]:
        """Return the different alerts about a release: a repeat has the same id."""
        return tuple({alert.id: alert for alert in self.alerts if alert.release == release}.values())


def _alert(body: Any) -> Alert:
    data = body["data"]
    return Alert(
        id=str(data["id"]),
        kind=str(body["type"]),
        release=str(data["release"]),
        title=str(data["title"]),
        text=str(data["text"]),
    )
