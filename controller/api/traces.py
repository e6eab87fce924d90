"""Routes of traces: find, show, one span, and names for completion. The controller only passes the questions on."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, Query

from controller.api import spans
from controller.api.asking import Paged, Searched, Text
from controller.errors import NotFound
from controller.model.trace import Outline
from controller.traces.port import TraceStore
from controller.traces.tree import tree_of

TRACE_ID = re.compile(r"[0-9a-f]{32}")
SPAN_ID = re.compile(r"[0-9a-f]{16}")
SHOWN = 1_000
"""Rows of a tree in an answer, unless asked otherwise."""
MOST_ROWS = 20_000
"""About 8 MB. Whoever wants every span of a larger trace asks for it whole."""

Rows = Annotated[
    int, Query(ge=1, le=MOST_ROWS, description="Rows of the tree; the most telling spans come first.")
]


class TraceRoutes:
    """The handlers."""

    def __init__(self, *, traces: TraceStore) -> None:
        self._traces = traces

    def router(self) -> APIRouter:
        """Return the routes; operation ids are part of the API."""
        router = APIRouter(prefix="/v1/traces", tags=["traces"])
        for path, handler, operation_id in (
            ("", self.find, "findTraces"),
            ("/keys", self.keys, "listTraceKeys"),
            ("/values", self.values, "listTraceValues"),
            ("/{trace_id}", self.get, "getTrace"),
            ("/{trace_id}/spans/{span_id}", self.span, "getSpan"),
        ):
            router.add_api_route(path, handler, methods=["GET"], operation_id=operation_id)
        return router

    async def find(self, search: Searched, page: Paged) -> dict[str, Any]:
        """Find traces with a span that fits, newest first; `next` is the `cursor` of the following page."""
        return spans.page(await self._traces.search(search, page))

    async def get(
        self,
        trace_id: str,
        full: Annotated[
            bool, Query(description="Every span with all attributes, instead of the summary.")
        ] = False,
        limit: Rows = SHOWN,
    ) -> dict[str, Any]:
        """Show a trace: its tree with own time, critical path and first failures; `full` shows every span whole."""
        if full:
            found = await self._traces.get(checked_trace(trace_id))
            if found is None:
                raise _unknown()
            return await asyncio.to_thread(spans.whole, found)
        outline = await self._traces.outline(checked_trace(trace_id))
        if outline is None or not outline.spans:
            raise _unknown()
        return await self._summary(trace_id, outline, limit)

    async def span(self, trace_id: str, span_id: str) -> dict[str, Any]:
        """Show one span with all attributes, events, links, resource and scope."""
        found = (
            await self._traces.span(checked_trace(trace_id), span_id) if SPAN_ID.fullmatch(span_id) else None
        )
        if found is None:
            raise NotFound("no such span is known (any more)", field="span_id")
        return spans.span(found)

    async def keys(self, prefix: Text = "", service: Text = "") -> dict[str, Any]:
        """List attributes that spans carry, for completion."""
        found = await self._traces.keys(prefix, service)
        return {
            "keys": [
                {"scope": one.scope, "key": one.key, "kind": one.kind, "services": list(one.services)}
                for one in found
            ]
        }

    async def values(
        self,
        key: Annotated[str, Query(min_length=1, max_length=1024)],
        prefix: Text = "",
        service: Text = "",
    ) -> dict[str, Any]:
        """List values of an attribute, most frequent first, for completion."""
        return {"values": list(await self._traces.values(key, prefix, service))}

    async def _summary(self, trace_id: str, outline: Outline, limit: int) -> dict[str, Any]:
        correlation_id = await self._correlation_of(trace_id, outline)

        def rendered() -> dict[str, Any]:
            return {
                "trace_id": trace_id,
                "correlation_id": correlation_id,
                **spans.tree(tree_of(outline), limit),
                "links": spans.links(trace_id, correlation_id),
            }

        # A trace of 50 000 spans takes a second: others are answered meanwhile.
        return await asyncio.to_thread(rendered)

    async def _correlation_of(self, trace_id: str, outline: Outline) -> str:
        """Return the correlation ID of a trace: of its first span, or of the first of the next service behind a proxy."""
        firsts: dict[str, str] = {}
        for one in outline.spans:
            firsts.setdefault(one.service, one.span_id)
        for span_id in list(firsts.values())[:2]:
            found = await self._traces.span(trace_id, span_id)
            if found is not None and found.correlation_id:
                return found.correlation_id
        return ""


class CorrelationRoutes:
    """The handler of one correlation ID."""

    def __init__(self, *, traces: TraceStore) -> None:
        self._traces = traces

    def router(self) -> APIRouter:
        """Return the route; the operation id is part of the API."""
        router = APIRouter(prefix="/v1/correlations", tags=["traces"])
        router.add_api_route(
            "/{correlation_id}", self.timeline, methods=["GET"], operation_id="getCorrelation"
        )
        return router

    async def timeline(self, correlation_id: str, limit: Rows = SHOWN) -> dict[str, Any]:
        """Show all traces of a correlation ID on one timeline; consumers stand below the producers they link to."""
        outline = await self._traces.timeline(correlation_id) if len(correlation_id) <= 1024 else None
        if outline is None or not outline.spans:
            raise NotFound("no span carries this correlation ID (any more)", field="correlation_id")
        found = outline

        def rendered() -> dict[str, Any]:
            tree = tree_of(found)
            return {
                "correlation_id": correlation_id,
                "traces": spans.traces_of(tree),
                **spans.tree(tree, limit),
                "links": {"self": spans.links("", correlation_id)["correlation"]},
            }

        return await asyncio.to_thread(rendered)


def checked_trace(trace_id: str) -> str:
    """Return a trace id from a path if it can be one at all.

    Raises:
        NotFound: It cannot.
    """
    if not TRACE_ID.fullmatch(trace_id):
        raise _unknown()
    return trace_id


def _unknown() -> NotFound:
    return NotFound("no such trace is known (any more)", field="trace_id")
