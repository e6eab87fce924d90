"""Workloads of the embedded run: asks the supervisor, over its unix socket, to start, watch and retire versions.

Before it: the workflow's activities and the judging loop. After it: `controller.embedded.control`, which has the
meaning of each call.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from controller.errors import NotFound, WorkloadsUnavailable
from controller.model.target import Target
from controller.workloads.port import Health, Workloads

ORDER_DEADLINE_S = 5.0
HEALTH_DEADLINE_S = 1.0


class EmbeddedWorkloads(Workloads):
    """Versions that `serinus up` runs.

    Args:
        socket: Of the supervisor.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        # The supervisor closes after each answer: kept connections would only be found dead.
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=str(socket), limits=httpx.Limits(max_keepalive_connections=0)
            ),
            base_url="http://supervisor",
            timeout=ORDER_DEADLINE_S,
            trust_env=False,
        )

    async def start(self, target: Target, version: str) -> tuple[str, ...]:
        """Have the version started and return its addresses."""
        target.require(version)
        answer = await self._ask("POST", target, version, "start", ORDER_DEADLINE_S)
        return tuple(str(address) for address in answer.get("addresses", ()))

    async def health(self, target: Target, version: str) -> Health:
        """Ask the supervisor, which asks the version."""
        answer = await self._ask("GET", target, version, "health", HEALTH_DEADLINE_S)
        restarts = answer.get("restarts")
        return Health(
            is_ready=answer.get("is_ready") is True,
            restarts=restarts if isinstance(restarts, int) else None,
            reason=str(answer.get("reason", "the supervisor gave no reason")),
        )

    async def retire(self, target: Target, version: str) -> None:
        """Have the version stopped; a version that cannot be started here is not ours to stop."""
        try:
            await self._ask("POST", target, version, "retire", ORDER_DEADLINE_S)
        except NotFound:
            return

    async def aclose(self) -> None:
        """Release the client."""
        await self._client.aclose()

    async def _ask(
        self, method: str, target: Target, version: str, what: str, deadline_s: float
    ) -> dict[str, Any]:
        try:
            async with asyncio.timeout(deadline_s):
                response = await self._client.request(method, f"/versions/{target.name}/{version}/{what}")
            body = _object(response)
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            raise WorkloadsUnavailable(
                f"the supervisor does not answer on {self._socket}: {str(error) or 'timeout'}"
            ) from error
        if response.status_code == 404:
            raise NotFound(str(body.get("detail", "not found")), field="version")
        if response.status_code != 200:
            raise WorkloadsUnavailable(
                f"the supervisor answers {response.status_code}: {body.get('detail', '')}"
            )
        return body


def _object(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    if not isinstance(body, dict):
        raise ValueError("expected a JSON object")
    return body
