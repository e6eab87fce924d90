"""Port: where evidence comes from. Sources return cumulative COUNTERS, never a verdict.

Before it in the path: the proxies and services that count. After it: `controller.judging` takes differences and asks
`controller.analysis`. Values: `controller.model.look`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from controller.model.look import History, Reading
from controller.model.target import Target


@dataclass(frozen=True, slots=True)
class MetricCapabilities:
    """What a source can do; the defaults are the least.

    Args:
        is_exact: Every request is counted (not sampled).
        has_instances: Counters also come apart by instance.
        has_latency: Latency buckets come with each arm.
        largest_group: Most requests that can fail together as repeats of one; None when nothing bounds them.
        delay_s: How old the numbers usually are, seconds.
    """

    is_exact: bool = False
    has_instances: bool = False
    has_latency: bool = False
    largest_group: int | None = None
    delay_s: float = 60.0


class MetricSource(ABC):
    """Reads cumulative counters of both arms. An async context manager is not needed: `aclose` releases what it holds."""

    @abstractmethod
    async def read(self, target: Target) -> Reading:
        """Return the counters of every version of a target, in one reading.

        No requests yet is an empty reading with source OK. May block for at most one second.

        Raises:
            SourceUnavailable: The source does not answer. Never returned as zeros.
        """

    @abstractmethod
    async def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what a version served lately; a shorter window than asked for when less is known.

        Raises:
            SourceUnavailable: The source does not answer.
        """

    @abstractmethod
    def capabilities(self) -> MetricCapabilities:
        """Say what the source can do. Never blocks."""

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
