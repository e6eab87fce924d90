"""Route of the question why: one answer with verdict, failing traces, differences and changes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter

from controller.api import insights, render, spans
from controller.api.releases import checked_id
from controller.model.searching import Search
from controller.releases.why import Explaining, Why


class WhyRoutes:
    """The handler."""

    def __init__(self, *, explaining: Explaining) -> None:
        self._explaining = explaining

    def router(self) -> APIRouter:
        """Return the route; the operation id is part of the API."""
        router = APIRouter(prefix="/v1/releases", tags=["releases"])
        router.add_api_route("/{release_id}/why", self.why, methods=["GET"], operation_id="explainRelease")
        return router

    async def why(self, release_id: str) -> dict[str, Any]:
        """Say why a release ended or stands as it does.

        The verdict is always there. `traces` says whether the rest could be had in time: ok, partly or unavailable.
        """
        return rendered(await self._explaining.why(checked_id(release_id)))


def rendered(found: Why) -> dict[str, Any]:
    """Return the answer as JSON."""
    release = found.release
    order, blamed = release.order, found.blamed
    return {
        "release": order.id,
        "target": order.target.name,
        "stable": order.target.stable,
        "version": order.version,
        "state": release.state.value,
        "outcome": release.outcome.value if release.outcome else None,
        "reason": found.sentence,
        "verdict": render.verdict(release),
        "traces": found.traces.value,
        "since": spans.moment(blamed.within.since_ns),
        "until": spans.moment(blamed.within.until_ns),
        "failing_traces": [spans.summary(one) for one in found.examples],
        "differences": insights.differences(found.differences, others=f"in {order.target.stable}"),
        "changes": list(found.changes),
        "changed": insights.difference(found.changed) if found.changed else None,
        "links": _links(order.id, order.target.stable, blamed),
    }


def _links(release: str, stable: str, blamed: Search) -> dict[str, str]:
    time = {"since": spans.moment(blamed.within.since_ns), "until": spans.moment(blamed.within.until_ns)}
    asked = {"service": blamed.service, "version": blamed.version, **time}
    if blamed.min_ns:
        asked |= {"kind": blamed.kind, "min_duration": f"{blamed.min_ns}ns"}
    else:
        asked |= {"status": blamed.status}
    versions = {"base": stable, "other": blamed.version, **time}
    return {
        "release": f"/v1/releases/{release}",
        "failing_traces": f"/v1/traces?{urlencode(asked)}",
        "differences": f"/v1/differences?{urlencode({**asked, 'kind': 'server', 'others_version': stable})}",
        "changed": f"/v1/services/{quote(blamed.service, safe='')}/difference?{urlencode(versions)}",
    }
