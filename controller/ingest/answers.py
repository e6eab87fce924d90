"""The read side of the telemetry process: the questions of `controller.traces.wire`, answered from its store.

Before it: `controller.traces.remote` in the controller. After it: the trace store. For our own processes; people ask
the API.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from controller.errors import InvalidInput, TracesUnavailable
from controller.traces.port import TraceStore
from controller.traces.wire import QUESTIONS

LONGEST_QUESTION = 64 * 1024
_MOST_AT_ONCE = 16
"""Questions under way; more wait for their turn, until their asker gives up."""


class Answers:
    """Answers POST /internal/traces/{question}."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)

    async def answer(self, request: Request) -> Response:
        """Answer one question: 404 for an unknown one, 422 with the field, 503 when the store does not answer."""
        question = QUESTIONS.get(request.path_params["question"])
        if question is None:
            return JSONResponse({"error": "no such question; is it the same version?"}, 404)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_QUESTION:
                return JSONResponse({"error": f"longer than {LONGEST_QUESTION} bytes", "field": "body"}, 422)
        try:
            arguments = question.unpack(bytes(body))
            async with self._turns:
                found = await getattr(self._store, question.name)(**arguments)
        except InvalidInput as error:
            return JSONResponse({"error": error.message, "field": error.field}, 422)
        except TracesUnavailable as error:
            return JSONResponse({"error": error.message}, 503)
        # Up to megabytes: others are answered meanwhile.
        content = await asyncio.to_thread(question.answer, found)
        return Response(content, media_type=question.content_type)
