"""The live stream of one release: its journal as server-sent events, resumable, with progress in between.

Before it: `GET /v1/releases/{id}/events`. Read from the ledger again and again, so that a stream survives everything
that the ledger survives. `id` is the place in the journal; `progress` events have none, since only the newest matters.
The last event is `end`, after everything that was journaled.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from controller.api import render
from controller.api.metrics import ApiMetrics
from controller.api.releases import checked_id
from controller.errors import InvalidInput, Unavailable
from controller.observability import logger
from controller.releases.questions import Questions

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Streaming:
    """How streams behave.

    Args:
        most: Streams at once; more are answered 503.
        poll_s: Seconds between two looks at the ledger.
        heartbeat_polls: A comment after this many looks without news, so that dead callers are noticed.
        sleep: Waits; tests pass their own.
    """

    most: int = 64
    poll_s: float = 0.3
    heartbeat_polls: int = 30
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class TooManyStreams(Unavailable):
    """As many streams as allowed are open."""

    code = "too_many_streams"


class EventRoutes:
    """The handler, and the count of open streams."""

    def __init__(self, *, questions: Questions, streaming: Streaming, metrics: ApiMetrics) -> None:
        self._questions = questions
        self._streaming = streaming
        self._metrics = metrics
        self._open = 0

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter(prefix="/v1/releases", tags=["releases"])
        router.add_api_route(
            "/{release_id}/events",
            self.stream,
            methods=["GET"],
            operation_id="streamReleaseEvents",
            response_class=StreamingResponse,
            responses={200: {"content": {"text/event-stream": {}}}},
        )
        return router

    async def stream(self, release_id: str, request: Request) -> Response:
        """Stream a release's journal; Last-Event-ID resumes after that event. Ends with the event `end`."""
        after = _resume_at(request)
        await self._questions.peek(checked_id(release_id))
        if self._open >= self._streaming.most:
            raise TooManyStreams("too many event streams are open; close one, or ask for the release itself")
        return StreamingResponse(
            self._counted(release_id, after),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    async def _counted(self, release_id: str, after: int) -> AsyncIterator[bytes]:
        self._open += 1
        self._metrics.streams.set(self._open)
        try:
            yield b"retry: 1000\n\n"
            async for chunk in self._chunks(release_id, after):
                yield chunk
        finally:
            self._open -= 1
            self._metrics.streams.set(self._open)

    async def _chunks(self, release_id: str, after: int) -> AsyncIterator[bytes]:
        shown: dict[str, Any] = {}
        quiet = 0
        while True:
            try:
                # The release first: what ended it is in the journal before it counts as ended.
                release = await self._questions.peek(release_id)
                events = await self._questions.events(release_id, after=after)
            except Unavailable as error:
                # The answer has begun, so an error can only be said by ending it; the caller resumes.
                log.warning("stream_interrupted", release=release_id, code=error.code)
                return
            for event in events:
                after = event.seq
                yield message(event.kind, render.event(event), event.seq)
            if not events and not release.is_active:
                yield message("end", render.progress(release))
                return
            progress = render.progress(release)
            is_news = bool(events) or progress != shown
            if progress != shown:
                shown = progress
                yield message("progress", progress)
            quiet = 0 if is_news else quiet + 1
            if quiet and quiet % self._streaming.heartbeat_polls == 0:
                yield b": still here\n\n"
            if not events:
                await self._streaming.sleep(self._streaming.poll_s)


def message(kind: str, data: dict[str, Any], seq: int | None = None) -> bytes:
    """Build one server-sent event; JSON holds no line break, so one data line is enough."""
    place = f"id: {seq}\n" if seq is not None else ""
    return f"{place}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _resume_at(request: Request) -> int:
    given = request.headers.get("last-event-id", "0") or "0"
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise InvalidInput("expected the id of an event of this stream", field="Last-Event-ID")
    return int(given)
