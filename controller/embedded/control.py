"""The supervisor's own socket: versions are started, watched and retired here, and the state of all parts is told.

Before it: `controller.workloads.embedded` in worker and controller, `serinus status`. After it: `versions`. HTTP with
JSON on a unix socket that only this user can open:

    GET  /status                                     every part and every version
    POST /versions/{service}/{version}/start         {"addresses": [...]}
    GET  /versions/{service}/{version}/health        {"is_ready": ..., "restarts": ..., "reason": ...}
    POST /versions/{service}/{version}/retire        {}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict

from controller.embedded.versions import Versions
from controller.embedded.wire import Answer, Request
from controller.errors import NotFound, SerinusError


class Control:
    """Answers what comes in on the socket.

    Args:
        versions: What it acts on.
        status: Returns the state of the whole run, JSON-safe.
    """

    def __init__(self, *, versions: Versions, status: Callable[[], Mapping[str, object]]) -> None:
        self._versions = versions
        self._status = status

    async def answer(self, request: Request) -> Answer:
        """Answer one request; our own errors become their status with code and detail."""
        try:
            return _json(200, await self._act(request))
        except SerinusError as error:
            return _json(error.http_status, {"code": error.code, "detail": error.message})

    async def _act(self, request: Request) -> Mapping[str, object]:
        parts = request.path.strip("/").split("/")
        match (request.method, parts):
            case ("GET", ["status"]):
                return self._status()
            case ("POST", ["versions", service, version, "start"]):
                return {"addresses": self._versions.start(service, version)}
            case ("GET", ["versions", service, version, "health"]):
                return asdict(await self._versions.health(service, version))
            case ("POST", ["versions", service, version, "retire"]):
                await self._versions.retire(service, version)
                return {}
        raise NotFound("no such thing on the supervisor's socket")


def _json(status: int, value: object) -> Answer:
    return Answer(status, json.dumps(value).encode())
