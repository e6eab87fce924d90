"""Routes of traces: by correlation ID, and by trace id. The controller only passes the questions on."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query

from controller.api import render
from controller.errors import NotFound
from controller.model.searching import Page, Search
from controller.traces.port import TraceStore

TRACE_ID = re.compile(r"[0-9a-f]{32}")


class TraceRoutes:
    """The handlers."""

    def __init__(self, *, traces: TraceStore) -> None:
        self._traces = traces

    def router(self) -> APIRouter:
        """Return the routes; operation ids are part of the API."""
        router = APIRouter(prefix="/v1/traces", tags=["traces"])
        router.add_api_route("", self.find, methods=["GET"], operation_id="findTraces")
        router.add_api_route("/{trace_id}", self.get, methods=["GET"], operation_id="getTrace")
        return router

    async def find(
        self,
        correlation_id: Annotated[str, Query(pattern=r"^[A-Za-z0-9._-]{1,128}$")],
        limit: Annotated[int, Query(ge=1, le=200)] = 20,
    ) -> dict[str, Any]:
        """Find the newest traces that carry a correlation ID."""
        found = await self._traces.search(Search(correlation_id=correlation_id), Page(limit=limit))
        return {"traces": [render.trace_summary(summary) for summary in found.traces]}

    async def get(self, trace_id: str) -> dict[str, Any]:
        """Show all spans of a trace."""
        found = await self._traces.get(trace_id) if TRACE_ID.fullmatch(trace_id) else None
        if found is None:
            raise NotFound("no such trace is known (any more)", field="trace_id")
        return render.trace(found)
