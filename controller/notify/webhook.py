"""The channel that posts signed JSON to an address of the user's own, as Standard Webhooks says.

Before it stands the outbox, whose delivery loop decides when to try again; after it the receiver, which checks the
signature and drops a repeat by `webhook-id`. The address is the user's, so everything goes through `controller.egress`.
See https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from standardwebhooks import Webhook

from controller.egress import Egress
from controller.errors import ConfigurationError, DeliveryFailed, Unavailable
from controller.model.notice import Notice
from controller.notify.port import Notifier
from controller.settings import Channel

LONGEST_S = 10.0
"""What the port promises: one try ends within this time, seconds."""
_PREFIX = "whsec_"
_KEY_BYTES = (24, 64)
"""Shortest and longest key that Standard Webhooks allows."""


class WebhookNotifier(Notifier):
    """Posts notices to one address.

    Args:
        channel: The address, its secret, and what the guard may let it reach.
        egress: Instead of one made from the channel's allow list.
        wall_clock: Seconds since 1970 (UTC), for the signature's time.
        longest_s: How long one try may take, seconds.

    Raises:
        ConfigurationError: The secret is not `whsec_` and base64 of 24 to 64 bytes, or the allow list is malformed.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        egress: Egress | None = None,
        wall_clock: Callable[[], float] = time.time,
        longest_s: float = LONGEST_S,
    ) -> None:
        self._url = channel.url
        self._signer = Webhook(_key(channel.secret.get_secret_value()))
        self._egress = egress or Egress(channel.allow)
        self._wall_clock = wall_clock
        self._longest_s = longest_s

    async def send(self, notice: Notice) -> None:
        """Post one notice; any 2xx means taken, and nothing of the answer's body is read.

        Raises:
            DeliveryFailed: Nobody answered in time, or with another status.
            EgressRefused: The guard does not allow the address.
        """
        body = _body(notice)
        now = datetime.fromtimestamp(math.floor(self._wall_clock()), UTC)
        headers = {
            "Content-Type": "application/json",
            # The id is ours alone and no time in seconds: with a user's dots in it, a receiver could be led to split
            # the signed text elsewhere.
            "webhook-id": notice.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(notice.id, now, body),
        }
        try:
            # No body is asked for: a receiver that took the notice must not turn that into a repeat by what it says
            # afterwards, or by how slowly.
            answer = await self._egress.request(
                "POST",
                self._url,
                headers=headers,
                body=body.encode(),
                deadline_s=self._longest_s,
                max_bytes=0,
            )
        except Unavailable as error:
            raise DeliveryFailed(f"the webhook did not take the notice: {error.message}") from error
        if not 200 <= answer.status < 300:
            redirect = (
                "; redirects are not followed, so put the final address" if 300 <= answer.status < 400 else ""
            )
            raise DeliveryFailed(f"the webhook answered {answer.status} where 2xx means taken{redirect}")


def _key(secret: str) -> bytes:
    low, high = _KEY_BYTES
    try:
        # The library drops letters that are not base64, so that a wrong secret would sign with another key.
        text = secret.removeprefix(_PREFIX)
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not low <= len(key) <= high:
        raise ConfigurationError(
            f"a webhook's secret: expected {_PREFIX} and the base64 of {low} to {high} bytes"
        )
    return key


def _body(notice: Notice) -> str:
    return json.dumps(
        {
            "type": notice.kind,
            "timestamp": datetime.fromtimestamp(notice.at, UTC).isoformat().replace("+00:00", "Z"),
            "data": {
                "id": notice.id,
                "release": notice.release,
                "title": notice.title,
                "text": notice.text,
                "details": {name: _plain(value) for name, value in notice.details.items()},
            },
        },
        separators=(",", ":"),
        allow_nan=False,
    )


def _plain(value: str | int | float | bool | None) -> str | int | float | bool | None:
    # JSON has no NaN; an alert goes out all the same, and says what the number was.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
