"""Counters that only grow, out of cells of time that still change. Pure.

Before it: `RateRow`s of a trace store, asked again and again for the same newest buckets of time, because spans arrive
late. After it: cumulative counters by version for the judge, and by label for a scrape. A cell is counted by how much it
grew since it was seen before; what a store forgets or begins anew is never taken back and never counted twice.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls, those that failed, and all of them by duration; empty buckets when nobody measured."""

    calls: int = 0
    failed: int = 0
    buckets: tuple[int, ...] = ()

    def __add__(self, other: Counts) -> Counts:
        if not self.calls:
            return other
        buckets = tuple(
            mine + theirs for mine, theirs in zip_longest(self.buckets, other.buckets, fillvalue=0)
        )
        return Counts(self.calls + other.calls, self.failed + other.failed, buckets)

    def since(self, seen: Counts) -> Counts:
        """Return what came after an earlier reading; nothing when that one had as many, or more: it began anew."""
        if not seen.calls:
            return self
        if self.calls <= seen.calls:
            return Counts()
        calls = self.calls - seen.calls
        buckets = tuple(
            max(0, now - old) for now, old in zip_longest(self.buckets, seen.buckets, fillvalue=0)
        )
        return Counts(calls, min(max(0, self.failed - seen.failed), calls), buckets)


class Running(Generic[Key]):
    """Sums by key.

    Attributes:
        sums: What was counted so far; no number in it ever falls.
    """

    def __init__(self) -> None:
        self.sums: dict[Key, Counts] = {}
        self._seen: dict[tuple[int, Key], Counts] = {}

    def take(self, cells: Mapping[tuple[int, Key], Counts]) -> bool:
        """Count by how much cells grew; returns whether one did.

        Args:
            cells: By the begin of their time, nanoseconds since 1970, and key.
        """
        grew = False
        for cell, counts in cells.items():
            more = counts.since(self._seen.get(cell, Counts()))
            self._seen[cell] = counts
            if more.calls:
                self.sums[cell[1]] = self.sums.get(cell[1], Counts()) + more
                grew = True
        return grew

    def forget(self, before_ns: int) -> None:
        """Forget cells that begin before a moment; never take one of them again."""
        self._seen = {cell: counts for cell, counts in self._seen.items() if cell[0] >= before_ns}
