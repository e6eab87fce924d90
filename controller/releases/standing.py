"""Use case: how the parts of Serinus are, for `/v1/status`, `/ready` and the command line. Never fails, never hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from controller.errors import SerinusError
from controller.model.target import TargetKey
from controller.routing.port import LeaseKeeper
from controller.runner.port import ReleaseRunner
from controller.store.port import Store
from controller.traces.port import TraceStore

PATIENCE_S = 1.0
"""Longest wait for one part; they are asked at once, so this bounds the whole answer."""

Probe = Callable[[], Awaitable[object]]

LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Part:
    """How one part is.

    Args:
        name: ledger, router, orchestrator or traces.
        is_well: It answered in time.
        code: Why it is not well: the error's code, or `slow`; "" when it is.
    """

    name: str
    is_well: bool
    code: str = ""


class Standing:
    """Asks the parts how they are.

    Args:
        probes: A harmless question to each part, by name.
        patience_s: Longest wait for one answer.
    """

    def __init__(self, *, probes: Mapping[str, Probe], patience_s: float = PATIENCE_S) -> None:
        self._probes = dict(probes)
        self._patience_s = patience_s

    async def parts(self) -> tuple[Part, ...]:
        """Return how every part is, after at most `patience_s`."""
        return tuple(await asyncio.gather(*(self._ask(name) for name in self._probes)))

    async def is_ready(self) -> bool:
        """Say whether the controller can serve: the ledger answers. The others may be down: an abort works without."""
        return (await self._ask(LEDGER)).is_well

    async def _ask(self, name: str) -> Part:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._probes[name]()
        except SerinusError as error:
            return Part(name, is_well=False, code=error.code)
        except TimeoutError:
            return Part(name, is_well=False, code="slow")
        return Part(name, is_well=True)


def probes(
    *, store: Store, keeper: LeaseKeeper, runner: ReleaseRunner, traces: TraceStore
) -> dict[str, Probe]:
    """Return the question for each port: cheap, read-only, about nothing in particular."""
    return {
        LEDGER: lambda: store.list_releases(active=True, limit=1),
        "router": keeper.targets,
        "orchestrator": lambda: runner.runs(TargetKey("local.none"), "rel-none"),
        "traces": traces.size,
    }
