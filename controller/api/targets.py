"""Routes of targets: declare, show, list, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from controller.api import render
from controller.api.schemas import TargetShape, read
from controller.errors import NotFound
from controller.model.target import DEFAULT_ENVIRONMENT, NAME
from controller.releases.declaring import Declaring

Environment = Annotated[str, Query(max_length=63, pattern=r"^[a-z0-9-]+$")]


class TargetRoutes:
    """The handlers."""

    def __init__(self, *, declaring: Declaring) -> None:
        self._declaring = declaring

    def router(self) -> APIRouter:
        """Return the routes; operation ids are part of the API."""
        router = APIRouter(prefix="/v1/targets", tags=["targets"])
        router.add_api_route("", self.list, methods=["GET"], operation_id="listTargets")
        router.add_api_route("/{name}", self.get, methods=["GET"], operation_id="getTarget")
        router.add_api_route(
            "/{name}",
            self.put,
            methods=["PUT"],
            operation_id="putTarget",
        )
        router.add_api_route(
            "/{name}", self.delete, methods=["DELETE"], operation_id="deleteTarget", status_code=204
        )
        return router

    async def list(self) -> dict[str, Any]:
        """List all targets."""
        return {"targets": [render.target(found) for found in await self._declaring.list()]}

    async def get(self, name: str, environment: Environment = DEFAULT_ENVIRONMENT) -> dict[str, Any]:
        """Show one target, with the version that is stable now."""
        return render.target(await self._declaring.get(environment, _checked(name)))

    async def put(self, name: str, request: Request, move_stable: bool = False) -> Response:
        """Declare a target or replace its declaration; a known target keeps its stable version (see `note`)."""
        shape = await read(request, TargetShape)
        declared = await self._declaring.put(shape.target(name), move_stable=move_stable)
        body = render.target(declared.target)
        if declared.note:
            body["note"] = declared.note
        return JSONResponse(body, status_code=201 if declared.is_new else 200)

    async def delete(self, name: str, environment: Environment = DEFAULT_ENVIRONMENT) -> Response:
        """Delete a target and its route; refused while a release of it is active."""
        await self._declaring.delete(environment, _checked(name))
        return Response(status_code=204)


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise NotFound("no such target is declared", field="name")
    return name
