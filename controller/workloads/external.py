"""Workloads that somebody else runs: addresses come from the declaration, nothing is started or stopped.

For a user's own processes. Ready means that every declared address accepts a TCP connection within half a second: it
is a statement about the process, not about its answers, which the proxy counts. Nobody counts restarts here.
"""

from __future__ import annotations

import asyncio

from controller.errors import NotFound
from controller.model.target import Target
from controller.workloads.port import Health, Workloads

CONNECT_DEADLINE_S = 0.5


class ExternalWorkloads(Workloads):
    """Versions that run already, at the addresses of the declaration."""

    async def start(self, target: Target, version: str) -> tuple[str, ...]:
        """Return the declared addresses."""
        addresses = target.require(version)
        if not addresses:
            raise NotFound(
                f"{target.name} declares no address for this version, and nobody here can start it",
                field="version",
            )
        return addresses

    async def health(self, target: Target, version: str) -> Health:
        """Connect to every address at once; all of them must accept."""
        addresses = target.versions.get(version, ())
        if not addresses:
            return Health(False, None, "no address is declared")
        accepted = await asyncio.gather(*(_accepts(address) for address in addresses))
        silent = [address for address, is_open in zip(addresses, accepted, strict=True) if not is_open]
        if silent:
            return Health(
                False, None, f"no connection within {CONNECT_DEADLINE_S:g} s to {', '.join(silent)}"
            )
        return Health(True)

    async def retire(self, target: Target, version: str) -> None:
        """Do nothing: whoever started it stops it."""


async def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
