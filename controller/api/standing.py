"""Routes about Serinus itself: status for people, health and readiness for machines, metrics, and the way in."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, RedirectResponse, Response

from controller.api.guard import Token
from controller.api.metrics import MEDIA_TYPE, ApiMetrics
from controller.errors import SerinusError, Unauthorized
from controller.releases.use_cases import UseCases

MOST_ACTIVE = 200


def release_of_serinus() -> str:
    """Return the version of the installed distribution; "unknown" in a bare checkout."""
    try:
        return version("serinus")
    except PackageNotFoundError:
        return "unknown"


class StandingRoutes:
    """The handlers."""

    def __init__(self, *, use_cases: UseCases, token: Token, metrics: ApiMetrics) -> None:
        self._use_cases = use_cases
        self._token = token
        self._metrics = metrics

    def router(self) -> APIRouter:
        """Return the routes; operation ids are part of the API."""
        router = APIRouter(tags=["serinus"])
        router.add_api_route("/v1/status", self.status, methods=["GET"], operation_id="getStatus")
        router.add_api_route("/health", self.health, methods=["GET"], operation_id="getHealth")
        router.add_api_route("/ready", self.ready, methods=["GET"], operation_id="getReadiness")
        router.add_api_route("/metrics", self.exposition, methods=["GET"], operation_id="getMetrics")
        router.add_api_route("/", self.enter, methods=["GET"], include_in_schema=False)
        return router

    async def status(self) -> dict[str, Any]:
        """Say how every part is; always 200, since a part that is down is an answer."""
        parts = await self._use_cases.standing.parts()
        return {
            "version": release_of_serinus(),
            "is_well": all(part.is_well for part in parts),
            "parts": [{"name": part.name, "is_well": part.is_well, "code": part.code} for part in parts],
            "active_releases": await self._active(),
        }

    async def _active(self) -> list[str] | None:
        try:
            found = await self._use_cases.questions.list(
                target=None, active=True, before=None, limit=MOST_ACTIVE
            )
        except SerinusError:
            # Not known is not the same as none; `parts` says why.
            return None
        return [release.order.id for release in found]

    async def health(self) -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok"}

    async def ready(self) -> Response:
        """Say whether the ledger answers; 503 when it does not."""
        is_ready = await self._use_cases.standing.is_ready()
        return JSONResponse({"is_ready": is_ready}, status_code=200 if is_ready else 503)

    async def exposition(self) -> Response:
        """Return the metrics of this process."""
        return Response(self._metrics.exposition(), media_type=MEDIA_TYPE)

    async def enter(self, token: Annotated[str | None, Query(max_length=256)] = None) -> Response:
        """Take the one clickable URL, keep its token in a cookie, and go on without it in the address bar."""
        answer = RedirectResponse("/docs", status_code=303)
        if token is None:
            return answer
        if not self._token.matches(token):
            raise Unauthorized(
                "this link is not (or no longer) valid; take the one that was printed at start"
            )
        answer.set_cookie(self._token.cookie, token, httponly=True, samesite="strict", path="/")
        return answer
