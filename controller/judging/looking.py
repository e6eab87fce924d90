"""One look: counters from the metric source, health from the workloads, time from the clock.

Neither part can stop the judge: a source that does not answer is a look with source DOWN, and workloads that do not
answer say nothing about the candidate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from controller.errors import ConfigurationError, NotFound, SourceUnavailable, WorkloadsUnavailable
from controller.judging.clock import Clock
from controller.metrics.port import MetricSource
from controller.model.look import Arm, History, Look, Reading, SourceState
from controller.model.release import ReleaseOrder
from controller.workloads.port import Health, Workloads

UNKNOWN = Health(is_ready=True)
HISTORY_S = 3600.0


class Eye:
    """Composes looks.

    Args:
        source: Where counters come from.
        workloads: Who watches versions, by the name that targets use.
        clock: The judge's clock.
    """

    def __init__(self, *, source: MetricSource, workloads: Mapping[str, Workloads], clock: Clock) -> None:
        self._source = source
        self._workloads = workloads
        self._clock = clock

    async def look(self, release: ReleaseOrder, *, number: int) -> Look:
        """Look at both arms of a release now."""
        reading, health = await asyncio.gather(self._read(release), self._health(release))
        canary = reading.arms.get(release.version, Arm())
        return Look(
            id=number,
            at_s=self._clock.boot_s(),
            source=reading.source,
            generation=reading.generation,
            stable=reading.arms.get(release.target.stable, Arm()),
            canary=replace(canary, ready=canary.ready and health.is_ready, restarts=health.restarts),
            skew_s=reading.age_s,
        )

    async def history(self, release: ReleaseOrder) -> History:
        """Return what stable served in the last hour; nothing when the source does not know."""
        try:
            return await self._source.history(release.target, release.target.stable, HISTORY_S)
        except (SourceUnavailable, NotFound):
            return History(window_s=0.0, total=0, failed=0)

    async def _read(self, release: ReleaseOrder) -> Reading:
        try:
            return await self._source.read(release.target)
        except SourceUnavailable:
            return Reading(generation="", source=SourceState.DOWN)

    async def _health(self, release: ReleaseOrder) -> Health:
        watcher = self._workloads.get(release.target.workloads)
        if watcher is None:
            raise ConfigurationError(
                f"no workloads adapter is called {release.target.workloads!r} in this worker"
            )
        try:
            return await watcher.health(release.target, release.version)
        except WorkloadsUnavailable:
            return UNKNOWN
