"""Answers that add spans up, from the spans themselves. Pure.

Before it: the memory store. After it: the values of `model.insight`. Stores that speak SQL say the same from rollups;
the contract suite holds them against this.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.model.insight import (
    AttributeKey,
    OperationRow,
    RateRow,
    ServiceMap,
    ServiceRow,
    Share,
    VersionDifference,
)
from controller.model.searching import Range, Search
from controller.model.trace import Span


def services(spans: Sequence[Span], within: Range) -> tuple[ServiceRow, ...]:
    """Return every version of every service."""
    raise NotImplementedError


def operations(spans: Sequence[Span], service: str, within: Range) -> tuple[OperationRow, ...]:
    """Return the operations of a service."""
    raise NotImplementedError


def service_map(spans: Sequence[Span], within: Range) -> ServiceMap:
    """Return who called whom."""
    raise NotImplementedError


def map_of(spans: Sequence[Span], search: Search) -> ServiceMap:
    """Return who called whom in the traces of a search."""
    raise NotImplementedError


def difference(
    spans: Sequence[Span], service: str, base: str, other: str, within: Range
) -> VersionDifference:
    """Return what changed from one version to another."""
    raise NotImplementedError


def shares(spans: Sequence[Span], selected: Search, others: Search) -> tuple[Share, ...]:
    """Count attribute values among selected spans and among others."""
    raise NotImplementedError


def keys(spans: Sequence[Span], prefix: str, service: str) -> tuple[AttributeKey, ...]:
    """Return attributes that spans carry."""
    raise NotImplementedError


def values(spans: Sequence[Span], key: str, prefix: str, service: str) -> tuple[str, ...]:
    """Return values of an attribute."""
    raise NotImplementedError


def rates(spans: Sequence[Span], service: str, within: Range, every_s: int) -> tuple[RateRow, ...]:
    """Return counters per bucket of time."""
    raise NotImplementedError
