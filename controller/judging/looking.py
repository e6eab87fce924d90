"""One look: counters from the metric source, health from the workloads, time from the clock.

Neither part can stop the judge: a source that does not answer is a look with source DOWN, and workloads that do not
answer say nothing about the candidate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.analysis.ladder import exceedances
from controller.errors import (
    ConfigurationError,
    InvalidInput,
    NotFound,
    SourceUnavailable,
    WorkloadsUnavailable,
)
from controller.judging.clock import Clock
from controller.metrics.port import MetricSource
from controller.model.look import Arm, Exceedance, History, Look, Reading, SourceState
from controller.model.release import ReleaseOrder
from controller.model.start import Rung
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

    @property
    def largest_group(self) -> int | None:
        """Most requests that the source may count for one failure; None when it does not know."""
        return self._source.capabilities().largest_group

    async def look(self, release: ReleaseOrder, *, number: int, rungs: Sequence[Rung] = ()) -> Look:
        """Look at both arms of a release now.

        Args:
            release: Whose arms.
            number: Of the look.
            rungs: Bounds above which requests are counted as slow, where the source has latencies.
        """
        reading, health = await asyncio.gather(self._read(release), self._health(release))
        canary = _measured(reading, release.version, rungs)
        return Look(
            id=number,
            at_s=self._clock.boot_s(),
            source=reading.source,
            generation=reading.generation,
            stable=_measured(reading, release.target.stable, rungs),
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


def _measured(reading: Reading, version: str, rungs: Sequence[Rung]) -> Arm:
    """Return an arm with its buckets turned into counts above each rung; a version without requests has none slow."""
    arm = reading.arms.get(version, Arm())
    if not rungs or not reading.bounds_s:
        return replace(arm, buckets=())
    if not arm.buckets:
        return replace(arm, over=Exceedance(0, (0,) * len(rungs)))
    try:
        return replace(arm, buckets=(), over=exceedances(reading.bounds_s, arm.buckets, rungs))
    except InvalidInput:  # the source counts in other buckets than when the release began
        return replace(arm, buckets=())
