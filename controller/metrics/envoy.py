"""The metric source `envoy`: what the edge counted, as the router read it.

Before it: the router, which reads Envoy's counters once a second for everybody. After it: the judge. Two functions are
passed in (`LeaseKeeper.counters` and `.history`), so that this folder knows nothing of routing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from controller.errors import NotFound, SourceUnavailable, Unavailable
from controller.metrics.port import MetricCapabilities, MetricSource
from controller.model.look import History, Reading, SourceState
from controller.model.target import Target, TargetKey

CAPABILITIES = MetricCapabilities(
    is_exact=True, has_instances=True, has_latency=True, largest_group=1, delay_s=1.0
)
"""A group of one: the edge repeats a request only when it reached no service, and takes each try that it repeated out
of what failed. So one failure of a service is one count. (Repeats of the callers are requests like any other.)"""


class EnvoySource(MetricSource):
    """Counters of every request at the edge.

    Args:
        counters: Returns the newest reading of a target.
        history: Returns what a version served in the newest seconds.
    """

    def __init__(
        self,
        *,
        counters: Callable[[TargetKey], Awaitable[Reading]],
        history: Callable[[TargetKey, str, float], Awaitable[History]],
    ) -> None:
        self._counters = counters
        self._history = history

    async def read(self, target: Target) -> Reading:
        """Return the newest reading; one that says DOWN is an error, not a row of zeros."""
        try:
            reading = await self._counters(target.key)
        except (Unavailable, NotFound) as error:
            raise SourceUnavailable(f"the edge's counters of {target.key} cannot be read: {error}") from error
        if reading.source is SourceState.DOWN:
            raise SourceUnavailable(
                f"the edge's counters of {target.key} are {reading.age_s:.0f} s old: is Envoy running?"
                if reading.age_s < 1e9
                else f"the edge's counters of {target.key} were never read: is Envoy running?"
            )
        return reading

    async def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what a version served lately."""
        try:
            return await self._history(target.key, version, window_s)
        except (Unavailable, NotFound) as error:
            raise SourceUnavailable(f"the edge's history of {target.key} cannot be read: {error}") from error

    def capabilities(self) -> MetricCapabilities:
        """Exact counts by instance and latencies, a second old at most; no repeats of our own among them."""
        return CAPABILITIES
