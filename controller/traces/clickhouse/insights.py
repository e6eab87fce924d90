"""Questions that add spans up, from the rollups: services, operations, who calls whom, what is different.

Before it: `store`. After it: `red10_v1`, `edge10_v1` and, where a rollup does not know enough, `spans_v1`.
"""

from __future__ import annotations

from controller.model.insight import OperationRow, RateRow, ServiceMap, ServiceRow, Share, VersionDifference
from controller.model.searching import Range, Search
from controller.traces.clickhouse.crew import Crew


async def services(crew: Crew, within: Range) -> tuple[ServiceRow, ...]:
    """Return every version of every service."""
    raise NotImplementedError


async def operations(crew: Crew, service: str, within: Range) -> tuple[OperationRow, ...]:
    """Return the operations of a service."""
    raise NotImplementedError


async def service_map(crew: Crew, within: Range) -> ServiceMap:
    """Return who called whom."""
    raise NotImplementedError


async def map_of(crew: Crew, search: Search) -> ServiceMap:
    """Return who called whom in the traces of a search."""
    raise NotImplementedError


async def difference(crew: Crew, service: str, base: str, other: str, within: Range) -> VersionDifference:
    """Return what changed from one version to another."""
    raise NotImplementedError


async def shares(crew: Crew, selected: Search, others: Search) -> tuple[Share, ...]:
    """Count attribute values among selected spans and among others."""
    raise NotImplementedError


async def rates(crew: Crew, service: str, within: Range, every_s: int) -> tuple[RateRow, ...]:
    """Return counters per bucket of time."""
    raise NotImplementedError
