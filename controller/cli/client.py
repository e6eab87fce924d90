"""The command line's way to the controller: where it is, with which token, and what its refusals mean.

Before it: the commands. After it: `controller.api`. The address comes from `<state_dir>/up.json` while a run is up in
this folder, else from the settings. Answers are bounded in time and size; nothing here reads a proxy variable.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from controller.errors import ConfigurationError, SerinusError, Unavailable
from controller.settings import Settings

if TYPE_CHECKING:
    import httpx

Result = TypeVar("Result")

DEADLINE_S = 15.0
"""Longest wait for one answer; the slowest use case gives up after 5 s by itself."""
SILENCE_S = 30.0
"""Longest silence of an event stream; the API says something every 10 s."""
MOST_BYTES = 16 * 1024 * 1024


class Refusal(SerinusError):
    """The controller answered with a problem.

    Args:
        status: HTTP status.
        problem: The problem document.
    """

    code: ClassVar[str] = "refused"

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        field = problem.get("field")
        super().__init__(
            str(problem.get("detail") or f"the controller answered {status}"),
            field=str(field) if field else None,
        )
        self.status = status
        self.problem = problem

    @property
    def kind(self) -> str:
        """The problem's stable code; "" when the answer was not ours."""
        return str(self.problem.get("code", ""))


class ControllerUnavailable(Unavailable):
    """The controller does not answer where it should be."""

    code = "controller_unavailable"


@dataclass(frozen=True, slots=True)
class Location:
    """Where the controller is.

    Args:
        url: Base address.
        token: Of this installation.
    """

    url: str
    token: str


def locate(settings: Settings) -> Location:
    """Find the controller.

    Raises:
        ConfigurationError: There is no token, so nothing was ever started here.
    """
    try:
        token = settings.token_file.read_text().strip()
    except OSError:
        raise ConfigurationError(
            f"no token at {settings.token_file}: start Serinus in this folder with `serinus up`, or name its state "
            "folder in SERINUS_STATE_DIR"
        ) from None
    return Location(url=_running(settings.state_dir / "up.json") or _configured(settings), token=token)


def _running(path: Path) -> str | None:
    """Return the address that a run wrote down; None when no run is up."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    url = found.get("api") if isinstance(found, dict) else None
    return url.rstrip("/") if isinstance(url, str) and url.startswith("http://") else None


def _configured(settings: Settings) -> str:
    host = f"[{settings.api.host}]" if ":" in settings.api.host else settings.api.host
    return f"http://{host}:{settings.api.port}"


class Api:
    """Calls the controller.

    Args:
        where: Asked before every call, since a run that was started again may have another port.
        transport: Instead of the network, for tests.
    """

    def __init__(
        self, *, where: Callable[[], Location], transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._where = where
        self._transport = transport

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer; {} when it is empty.

        Raises:
            Refusal: The controller answered with an error.
            ControllerUnavailable: No answer in time.
        """
        import httpx

        try:
            async with asyncio.timeout(DEADLINE_S), self._client(DEADLINE_S) as client:
                request = client.build_request(method, path, json=body, params=query, headers=headers)
                if body is None and method in ("POST", "PUT"):
                    request.headers["Content-Length"] = "0"
                answer = await client.send(request, stream=True)
                text = await _bounded(answer)
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unavailable() from error
        if answer.status_code >= 400:
            raise Refusal(answer.status_code, _object(text))
        return _object(text)

    @asynccontextmanager
    async def stream(self, path: str, *, last_event_id: str) -> AsyncIterator[AsyncIterator[Event]]:
        """Open an event stream.

        Raises:
            Refusal: The controller answered with an error.
            ControllerUnavailable: It does not answer, or the stream broke off.
        """
        import httpx
        from httpx_sse import EventSource

        headers = {"Accept": "text/event-stream"} | (
            {"Last-Event-ID": last_event_id} if last_event_id else {}
        )
        try:
            async with (
                self._client(SILENCE_S) as client,
                client.stream("GET", path, headers=headers) as answer,
            ):
                if answer.status_code >= 400:
                    raise Refusal(answer.status_code, _object(await _bounded(answer)))
                source = EventSource(answer).aiter_sse()
                yield (
                    Event(one.event, one.id, _object(one.data.encode())) async for one in source if one.data
                )
        except httpx.HTTPError as error:
            raise self._unavailable() from error

    def _client(self, patience_s: float) -> httpx.AsyncClient:
        import ssl

        import httpx

        at = self._where()
        return httpx.AsyncClient(
            # Plain HTTP on loopback. A context without any authority trusts nobody, and costs 1 ms instead of 50.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            base_url=at.url,
            headers={"Authorization": f"Bearer {at.token}"},
            timeout=patience_s,
            trust_env=False,
            transport=self._transport,
        )

    def _unavailable(self) -> ControllerUnavailable:
        return ControllerUnavailable(
            f"the controller does not answer at {self._where().url}; is `serinus up` running?"
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event.

    Args:
        kind: Journal kind, `progress` or `end`.
        id: Place in the journal; "" for those that have none.
        data: Its JSON object.
    """

    kind: str
    id: str
    data: dict[str, Any]


def talk(work: Callable[[Api], Awaitable[Result]]) -> Result:
    """Run one conversation with the controller that the settings of this process name."""
    from controller.settings import load

    settings = load()

    async def conversation() -> Result:
        return await work(Api(where=lambda: locate(settings)))

    return asyncio.run(conversation())


async def _bounded(answer: httpx.Response) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.aiter_bytes():
        size += len(chunk)
        if size > MOST_BYTES:
            raise ControllerUnavailable(
                f"an answer of more than {MOST_BYTES} bytes came; is this our controller?"
            )
        chunks.append(chunk)
    await answer.aclose()
    return b"".join(chunks)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
