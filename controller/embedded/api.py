"""Our own API as the supervisor and the demo use it: over loopback, with the generated token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.embedded.wire import Address, Answer, call
from controller.errors import InvalidInput, NotFound, Unavailable

DEADLINE_S = 10.0


class Api:
    """Calls under /v1.

    Args:
        port: Where the controller listens.
        token: Its token.
    """

    def __init__(self, *, port: int, token: str) -> None:
        self._address = Address(port)
        self._headers = {"Authorization": f"Bearer {token}", "Host": f"127.0.0.1:{port}"}

    async def get(self, path: str) -> Any:
        """Return what stands at a path under /v1.

        Raises:
            NotFound: Nothing.
            Unavailable: No answer, or a status of 500 and above.
            InvalidInput: Any other refusal.
        """
        return _value(await self._call("GET", path), path)

    async def send(
        self, method: str, path: str, payload: object, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Send JSON and return the answer's.

        Raises:
            NotFound, Unavailable, InvalidInput: As `get`; the message holds the problem's detail.
        """
        return _value(await self._call(method, path, payload, headers), path)

    async def _call(
        self, method: str, path: str, payload: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return await call(
            self._address,
            method,
            f"/v1{path}",
            payload=payload,
            headers={**self._headers, **(headers or {})},
            deadline_s=DEADLINE_S,
        )


def _value(answer: Answer, path: str) -> Any:
    if 200 <= answer.status < 300:
        return answer.json() if answer.body else None
    problem = answer.json() if answer.body else {}
    text = f"the API answers {answer.status} at {path}: {problem.get('detail', 'no detail')}"
    if answer.status >= 500:
        raise Unavailable(text)
    if answer.status == 404:
        raise NotFound(text)
    raise InvalidInput(text)
