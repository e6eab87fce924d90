"""Routes of Jaeger's query API, first and third generation, under /jaeger: the base URL of a data source.

Before it: the guard, which wants the same token as /v1. After it: the trace store. Errors have Jaeger's form, which its
clients read: 400 for parameters, 404 for an unknown trace, 503 when the store does not answer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from controller.api.jaeger import asking, v1, v3
from controller.api.jaeger.asking import Parameters
from controller.errors import InvalidInput, NotFound, TracesUnavailable, Unavailable
from controller.model.searching import MOST_TRACES, Page, Search
from controller.model.trace import Outline, Trace, TraceSummary
from controller.traces.port import MOST_SPANS, TraceStore

PREFIX = "/jaeger/api"
DEADLINE_S = 20.0
"""For all questions of one request together; Grafana gives up after 30 s."""
_AT_ONCE = 8
"""Traces that are fetched side by side; the store answers sixteen questions at once, for everybody."""

Asked = TypeVar("Asked")
Found = TypeVar("Found")
Handler = Callable[[Request], Awaitable[Callable[[], Any]]]
"""Answers what makes the JSON; that runs on a thread, because traces have megabytes."""


class JaegerRoutes:
    """The handlers.

    Args:
        traces: Answers.
        now_ns: Nanoseconds since 1970, for dependencies without a time.
    """

    def __init__(self, *, traces: TraceStore, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._traces = traces
        self._now_ns = now_ns

    def router(self) -> APIRouter:
        """Return the routes. They are Jaeger's, and so is their documentation."""
        router = APIRouter(prefix=PREFIX)
        for path, handler, error in (
            ("/v3/services", self.services_v3, _error_v3),
            ("/v3/operations", self.operations_v3, _error_v3),
            ("/v3/traces", self.find_v3, _error_v3),
            ("/v3/traces/{trace_id}", self.get_v3, _error_v3),
            ("/v3/trace-summaries", self.summaries_v3, _error_v3),
            ("/v3/dependencies", self.dependencies_v3, _error_v3),
            ("/services", self.services, _error_v1),
            ("/services/{service:path}/operations", self.operation_names, _error_v1),
            ("/operations", self.operations, _error_v1),
            ("/traces", self.find, _error_v1),
            ("/traces/{trace_id}", self.get, _error_v1),
            ("/dependencies", self.dependencies, _error_v1),
        ):
            router.add_api_route(path, _answering(handler, error), methods=["GET"], include_in_schema=False)
        return router

    async def services(self, _: Request) -> Callable[[], Any]:
        """Names of all services."""
        names = await self._services()
        return lambda: v1.envelope(names, total=len(names))

    async def operation_names(self, request: Request) -> Callable[[], Any]:
        """Names of the operations of a service."""
        found = await self._operations(request.path_params["service"])
        names = sorted({name for name, _ in found})
        return lambda: v1.envelope(names, total=len(names))

    async def operations(self, request: Request) -> Callable[[], Any]:
        """Names and kinds of the operations of a service."""
        parameters = _parameters(request)
        kind = asking.kind(parameters.text("spanKind"), "spanKind")
        found = await self._operations(_required(parameters, "service"), kind)
        shown = [{"name": name, "spanKind": kind} for name, kind in found]
        return lambda: v1.envelope(shown, total=len(shown))

    async def find(self, request: Request) -> Callable[[], Any]:
        """The newest traces with a span that fits, whole; or the traces whose ids are named."""
        parameters = _parameters(request)
        if named := [asking.trace_id(given) for given in parameters.all("traceID")]:
            return await self._named(list(dict.fromkeys(named)))
        search, page = asking.search_v1(parameters)
        found, left_out = await self._find(search, page)
        errors = [v1.error(413, "too many spans for one answer; ask for it alone", one) for one in left_out]
        return lambda: v1.envelope(
            [v1.trace(one) for one in found], total=len(found), limit=page.limit, errors=errors
        )

    async def get(self, request: Request) -> Callable[[], Any]:
        """One trace, whole."""
        found = await self._get(request)
        return lambda: v1.envelope([v1.trace(found)], total=1)

    async def dependencies(self, request: Request) -> Callable[[], Any]:
        """Who called whom in a stretch of time."""
        parameters = _parameters(request)
        found = await self._traces.service_map(asking.dependencies(parameters, self._now_ns()))
        only = parameters.text("service")
        edges = [edge for edge in found.edges if not only or only in (edge.caller, edge.callee)]
        return lambda: v1.envelope(v1.dependencies(edges))

    async def services_v3(self, _: Request) -> Callable[[], Any]:
        """Names of all services."""
        names = await self._services()
        return lambda: {"services": names}

    async def operations_v3(self, request: Request) -> Callable[[], Any]:
        """Names and kinds of the operations of a service."""
        parameters = _parameters(request)
        kind = asking.kind(parameters.text("spanKind", "span_kind"), "spanKind")
        found = await self._operations(_required(parameters, "service"), kind)
        return lambda: {"operations": [{"name": name, "spanKind": kind} for name, kind in found]}

    async def find_v3(self, request: Request) -> Callable[[], Any]:
        """Spans of the newest traces with a span that fits; none is 404 there."""
        found, _ = await self._find(*asking.search_v3(_parameters(request)))
        if not found:
            raise NotFound("no traces found")
        return lambda: v3.spans(span for one in found for span in one.spans)

    async def get_v3(self, request: Request) -> Callable[[], Any]:
        """Spans of one trace."""
        found = await self._get(request)
        return lambda: v3.spans(found.spans)

    async def summaries_v3(self, request: Request) -> Callable[[], Any]:
        """The newest traces with a span that fits, one line each."""
        search, page = asking.search_v3(_parameters(request))
        found = (await self._traces.search(search, page)).traces

        async def outline(one: TraceSummary) -> tuple[TraceSummary, Outline | None]:
            return one, await self._traces.outline(one.trace_id)

        shown = await _side_by_side(found, outline)
        return lambda: {"summaries": [v3.summary(one, spans) for one, spans in shown]}

    async def dependencies_v3(self, request: Request) -> Callable[[], Any]:
        """Who called whom in a stretch of time."""
        found = await self._traces.service_map(asking.dependencies_v3(_parameters(request)))
        return lambda: {"dependencies": v3.dependencies(found.edges)}

    async def _services(self) -> list[str]:
        return sorted({row.service for row in await self._traces.services() if row.service})

    async def _operations(self, service: str, kind: str = "") -> list[tuple[str, str]]:
        rows = await self._traces.operations(service)
        return sorted({(row.operation, row.kind) for row in rows if kind in ("", row.kind)})

    async def _get(self, request: Request) -> Trace:
        found = await self._traces.get(asking.trace_id(request.path_params["trace_id"]))
        if found is None or not found.spans:
            raise NotFound("trace not found")
        return found

    async def _find(self, search: Search, page: Page) -> tuple[list[Trace], list[str]]:
        """Return traces until they have as many spans as one answer may have, and the ids of those left out."""
        wanted: list[str] = []
        left_out: list[str] = []
        spans = 0
        for one in (await self._traces.search(search, page)).traces:
            spans += one.spans
            (wanted if spans <= MOST_SPANS or not wanted else left_out).append(one.trace_id)
        found = await _side_by_side(wanted, self._traces.get)
        return [one for one in found if one is not None], left_out

    async def _named(self, trace_ids: Sequence[str]) -> Callable[[], Any]:
        if len(trace_ids) > MOST_TRACES:
            raise InvalidInput(f"expected at most {MOST_TRACES}", field="traceID")
        found = await _side_by_side(trace_ids, self._traces.get)
        errors = [
            v1.error(404, "trace not found", trace_id)
            for trace_id, one in zip(trace_ids, found, strict=True)
            if one is None
        ]
        known = [one for one in found if one is not None]
        return lambda: v1.envelope([v1.trace(one) for one in known], total=len(known), errors=errors)


async def _side_by_side(asked: Sequence[Asked], ask: Callable[[Asked], Awaitable[Found]]) -> list[Found]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def in_turn(one: Asked) -> Found:
        async with turns:
            return await ask(one)

    return list(await asyncio.gather(*map(in_turn, asked)))


def _answering(
    handler: Handler, error: Callable[[int, str], dict[str, Any]]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            async with asyncio.timeout(DEADLINE_S):
                make = await handler(request)
                return _json(200, await asyncio.to_thread(lambda: _text(make())))
        except InvalidInput as refused:
            return _json(400, _text(error(400, f"{refused.field or 'parameters'}: {refused.message}")))
        except NotFound as missing:
            return _json(404, _text(error(404, missing.message)))
        except (Unavailable, TimeoutError) as down:
            reason = (
                down if isinstance(down, Unavailable) else TracesUnavailable(f"no answer in {DEADLINE_S:g} s")
            )
            response = _json(503, _text(error(503, reason.message)))
            response.headers["Retry-After"] = "1"
            return response

    return answer


def _error_v1(code: int, message: str) -> dict[str, Any]:
    return v1.envelope(None, errors=[v1.error(code, message)])


def _error_v3(code: int, message: str) -> dict[str, Any]:
    return v3.error(code, message)


def _json(status: int, content: bytes) -> Response:
    return Response(content, status, media_type="application/json")


def _text(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _parameters(request: Request) -> Parameters:
    return Parameters(request.query_params.multi_items())


def _required(parameters: Parameters, name: str) -> str:
    if not (found := parameters.text(name)):
        raise InvalidInput("expected a name", field=name)
    return found
