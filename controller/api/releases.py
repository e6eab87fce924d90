"""Routes of releases: order, list, show, and the four commands. Thin: shapes in, use case, rendered out."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from controller.api.render import Renderer
from controller.api.schemas import CommandShape, StartShape, caller, read
from controller.errors import NotFound
from controller.model.release import CommandKind, Release
from controller.releases.use_cases import UseCases

ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class ReleaseRoutes:
    """The handlers."""

    def __init__(self, *, use_cases: UseCases, renderer: Renderer) -> None:
        self._use_cases = use_cases
        self._renderer = renderer

    def router(self) -> APIRouter:
        """Return the routes; operation ids are part of the API."""
        router = APIRouter(prefix="/v1/releases", tags=["releases"])
        router.add_api_route(
            "",
            self.start,
            methods=["POST"],
            operation_id="startRelease",
            status_code=202,
        )
        router.add_api_route("", self.list, methods=["GET"], operation_id="listReleases")
        router.add_api_route("/{release_id}", self.get, methods=["GET"], operation_id="getRelease")
        for kind, handler in (
            (CommandKind.PAUSE, self.pause),
            (CommandKind.RESUME, self.resume),
            (CommandKind.PROMOTE, self.promote),
            (CommandKind.ABORT, self.abort),
        ):
            router.add_api_route(
                f"/{{release_id}}/{kind.value}",
                handler,
                methods=["POST"],
                operation_id=f"{kind.value}Release",
                status_code=202,
            )
        return router

    async def start(self, request: Request) -> Response:
        """Order a release. 202 with its Location; the same Idempotency-Key gives the same release."""
        shape = await read(request, StartShape)
        release = await self._use_cases.ordering.start(shape.request(), caller(request))
        return self._accepted(release)

    async def list(
        self,
        target: Annotated[str | None, Query(max_length=63)] = None,
        active: bool | None = None,
        before: Annotated[str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9-]+$")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        """List releases, newest first; `next` is the `before` of the following page."""
        found = await self._use_cases.questions.list(target=target, active=active, before=before, limit=limit)
        return {
            "releases": [self._renderer.release(release) for release in found],
            "next": found[-1].order.id if len(found) == limit else None,
        }

    async def get(self, release_id: str) -> dict[str, Any]:
        """Show one release: where it stands, the numbers of the verdict, the alerts that went out."""
        account = await self._use_cases.questions.get(checked_id(release_id))
        return self._renderer.release(account.release, account.notices)

    async def pause(self, release_id: str, request: Request) -> Response:
        """Stay at the present share; judging and rollback go on."""
        return await self._tell(release_id, CommandKind.PAUSE, request)

    async def resume(self, release_id: str, request: Request) -> Response:
        """Go on after a pause."""
        return await self._tell(release_id, CommandKind.RESUME, request)

    async def promote(self, release_id: str, request: Request) -> Response:
        """Go on to the next step, or past a step that waits for a person."""
        return await self._tell(release_id, CommandKind.PROMOTE, request)

    async def abort(self, release_id: str, request: Request) -> Response:
        """Take the share back at once and for ever; works with the orchestrator down."""
        shape = await read(request, CommandShape)
        return self._accepted(
            await self._use_cases.aborting.abort(checked_id(release_id), shape.reason, caller(request))
        )

    async def _tell(self, release_id: str, kind: CommandKind, request: Request) -> Response:
        shape = await read(request, CommandShape)
        return self._accepted(
            await self._use_cases.commanding.tell(checked_id(release_id), kind, shape.reason, caller(request))
        )

    def _accepted(self, release: Release) -> Response:
        return JSONResponse(
            self._renderer.release(release),
            status_code=202,
            headers={"Location": f"/v1/releases/{release.order.id}"},
        )


def checked_id(release_id: str) -> str:
    """Return a release id from a path if it can be one at all.

    Raises:
        NotFound: It cannot.
    """
    if not ID.fullmatch(release_id):
        raise NotFound("no such release", field="release_id")
    return release_id
