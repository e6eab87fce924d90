"""What every activity stands on: the ports of the worker, by name, and the target as the ledger has it now.

Before it: `workflows.worker` fills it from `controller.bootstrap`. After it: `workflows.activities`, with
`workflows.readiness` (may it begin, is it ready) and `workflows.draining` (may it be stopped).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.errors import ConfigurationError, NotFound
from controller.judging.clock import Clock
from controller.metrics.port import MetricSource
from controller.model.release import ReleaseOrder
from controller.model.target import Target
from controller.routing.port import LeaseKeeper
from controller.store.port import Store
from controller.workloads.port import Workloads


@dataclass(frozen=True, slots=True)
class Ground:
    """The ports of one worker.

    Args:
        keeper: Who keeps the leases.
        store: The ledger.
        workloads: Who starts and stops versions, by the name that targets use.
        source: Where counters come from.
        clock: The worker's clock.
    """

    keeper: LeaseKeeper
    store: Store
    workloads: Mapping[str, Workloads]
    source: MetricSource
    clock: Clock

    def workloads_of(self, order: ReleaseOrder) -> Workloads:
        """Return who starts and stops the versions of an order's target.

        Raises:
            ConfigurationError: This worker has no adapter of that name.
        """
        found = self.workloads.get(order.target.workloads)
        if found is None:
            known = ", ".join(sorted(self.workloads))
            raise ConfigurationError(
                f"no workloads adapter is called {order.target.workloads!r} in this worker; known: {known}"
            )
        return found

    async def target(self, order: ReleaseOrder) -> Target:
        """Return the target as the ledger has it now; as it was ordered when it was deleted meanwhile."""
        try:
            return await self.store.get_target(order.target.environment, order.target.name)
        except NotFound:
            return order.target

    async def remember_stable(self, order: ReleaseOrder) -> None:
        """Let the ledger say what the router does: the version of the order is stable."""
        target = await self.target(order)
        if target.stable != order.version:
            addresses = target.versions.get(order.version, order.target.versions.get(order.version, ()))
            await self.store.put_target(target.at(order.version, addresses).with_stable(order.version))
