"""Workloads without processes, for tests and the simulator: says what it was told to say."""

from __future__ import annotations

import itertools
from dataclasses import replace

from controller.errors import WorkloadsUnavailable
from controller.model.target import Target
from controller.workloads.port import Health, Workloads


class MemoryWorkloads(Workloads):
    """Remembers what was started and retired; health can be scripted.

    Attributes:
        running: Names (`<target>.<version>`) of what runs, with its health.
        retired: Names of what was retired, in order.
        is_down: Every call raises `WorkloadsUnavailable` while it is set.
    """

    def __init__(self) -> None:
        self.running: dict[str, Health] = {}
        self.retired: list[str] = []
        self.is_down = False
        self._ports = itertools.count(9_001)
        self._addresses: dict[str, tuple[str, ...]] = {}

    async def start(self, target: Target, version: str) -> tuple[str, ...]:
        """Let it run and return its declared addresses, or a made-up one."""
        self._check()
        declared = target.require(version)
        name = f"{target.name}.{version}"
        self.running.setdefault(name, Health(True, 0))
        if not declared:
            self._addresses.setdefault(name, (f"127.0.0.1:{next(self._ports)}",))
        return declared or self._addresses[name]

    async def health(self, target: Target, version: str) -> Health:
        """Return the scripted health; what was declared with an address counts as running."""
        self._check()
        name = f"{target.name}.{version}"
        if name not in self.running and target.versions.get(version) and name not in self.retired:
            return Health(True, 0)
        return self.running.get(name, Health(False, None, "it is not started"))

    async def retire(self, target: Target, version: str) -> None:
        """Let it end."""
        self._check()
        name = f"{target.name}.{version}"
        if self.running.pop(name, None) is not None:
            self.retired.append(name)

    def crash(self, target: Target, version: str) -> None:
        """Count one restart."""
        name = f"{target.name}.{version}"
        now = self.running[name]
        self.running[name] = replace(now, restarts=(now.restarts or 0) + 1)

    def fail(self, target: Target, version: str, reason: str) -> None:
        """Make it not ready, for a reason; "" makes it ready again."""
        name = f"{target.name}.{version}"
        self.running[name] = replace(self.running[name], is_ready=not reason, reason=reason)

    def _check(self) -> None:
        if self.is_down:
            raise WorkloadsUnavailable("the memory workloads were told to be down")
