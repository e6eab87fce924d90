"""Routes that add spans up: services, operations, the service map, two versions, and what is different about failures."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query

from controller.analysis.differing import Difference, differences, of_failures
from controller.api import insights
from controller.api.asking import Searched, Within
from controller.model.searching import LONGEST_TEXT, Search
from controller.traces.port import TraceStore

Version = Annotated[str, Query(min_length=1, max_length=LONGEST_TEXT)]


class ServiceRoutes:
    """The handlers."""

    def __init__(self, *, traces: TraceStore) -> None:
        self._traces = traces

    def router(self) -> APIRouter:
        """Return the routes; operation ids are part of the API."""
        router = APIRouter(prefix="/v1", tags=["traces"])
        for path, handler, operation_id in (
            ("/services", self.services, "listServices"),
            ("/services/{name}/operations", self.operations, "listOperations"),
            ("/services/{name}/difference", self.difference, "compareVersions"),
            ("/map", self.map, "getServiceMap"),
            ("/differences", self.differences, "listDifferences"),
        ):
            router.add_api_route(path, handler, methods=["GET"], operation_id=operation_id)
        return router

    async def services(self, within: Within) -> dict[str, Any]:
        """List every version of every service with its calls, failures and durations."""
        return {"services": [insights.service(one) for one in await self._traces.services(within)]}

    async def operations(self, name: str, within: Within) -> dict[str, Any]:
        """List the operations of a service by version, most calls first; empty for one that is not known."""
        found = await self._traces.operations(name, within)
        return {"operations": [insights.operation(one) for one in found]}

    async def map(self, search: Searched) -> dict[str, Any]:
        """Show who calls whom, versions apart: in a time, or in the newest 1 000 traces that a search finds."""
        if search == Search(within=search.within):
            return insights.service_map(await self._traces.service_map(search.within))
        return insights.service_map(await self._traces.map_of(search))

    async def difference(self, name: str, base: Version, other: Version, within: Within) -> dict[str, Any]:
        """Compare two versions of a service: new errors, durations by operation, calls a request."""
        return insights.difference(await self._traces.difference(name, base, other, within))

    async def differences(
        self,
        search: Searched,
        others_version: Annotated[
            str,
            Query(max_length=LONGEST_TEXT, description="Compare with spans of this version instead."),
        ] = "",
        limit: Annotated[int, Query(ge=1, le=50)] = 10,
    ) -> dict[str, Any]:
        """Say what is different about failing spans: attribute values that tell them from others, most telling first.

        Selected are the spans that the parameters describe, the failing ones unless a status, a duration or an
        expression is given. Others are those of the same service, operation, kind and time. Ask for one kind
        (`kind=server`), so that a request counts once. Beside spans of another version (`others_version`), what the
        good spans of the same version have as often is left out: it tells versions apart and explains no failure.
        """
        selected = search if _is_a_choice(search) else replace(search, status="error")
        others = Search(
            service=search.service,
            version=others_version or search.version,
            operation=search.operation,
            kind=search.kind,
            within=search.within,
        )
        words = "failing" if selected.status == "error" else "selected"
        return {
            "selected": _asked(selected),
            "others": _asked(others),
            "differences": insights.differences(
                await self._ranked(selected, others, limit),
                selected=words,
                others=f"in {others_version}" if others_version else "others",
            ),
        }

    async def _ranked(self, selected: Search, others: Search, limit: int) -> tuple[Difference, ...]:
        if others.version == selected.version:
            return differences(await self._traces.shares(selected, others), most=limit)
        beside, own = await asyncio.gather(
            self._traces.shares(selected, others),
            self._traces.shares(selected, replace(others, version=selected.version)),
        )
        return of_failures(beside, own, most=limit)


def _is_a_choice(search: Search) -> bool:
    return bool(search.status or search.min_ns or search.max_ns or search.where)


def _asked(search: Search) -> dict[str, Any]:
    """Return the conditions of a search that ask something, as they are compared."""
    return {
        one.name: getattr(search, one.name)
        for one in fields(search)
        if one.name != "within" and getattr(search, one.name)
    }
