"""Whether the spans of one version go missing, by what the edge counted. Pure.

Before it: readings of both, once a second. After it: the source `traces`, which is stale while spans of a version are
missing: what fails and then sends no span would else look like a version that does not fail.

Services may be sampled, and requests may pass by the edge, so a part of the edge's count says nothing by itself. But both
arms are sampled alike. So each version is held to the largest part that any version surely has (at most all of it). Found
is a loss of a fifth in two minutes, of a tenth in five, at 20 requests/s; what is less than that is not found.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

WINDOW_S = 300.0
"""A gap in which telemetry was down is forgotten after this."""
LATE_S = 10.0
"""So late a span may come: counts of the edge are compared with spans of so much later."""
FEWEST = 20
"""Requests of a version at the edge, below which nothing can be said."""
TOLERABLE = 0.02
"""A part so small may be missing for good; chance may add three standard deviations on both sides."""


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    edge: Mapping[str, int]
    traced: Mapping[str, int]


class Coverage:
    """Compares the newest minutes of both counts."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()

    def add(self, at_s: float, edge: Mapping[str, int], traced: Mapping[str, int]) -> None:
        """Take one reading.

        Args:
            at_s: When, seconds; grows.
            edge: Requests by version at the edge, cumulative. Fewer than before begins anew, here and in `traced`.
            traced: Spans by version, cumulative.
        """
        if self._samples and (_fell(self._samples[-1].edge, edge) or _fell(self._samples[-1].traced, traced)):
            self._samples.clear()
        self._samples.append(_Sample(at_s, dict(edge), dict(traced)))
        while self._samples[0].at_s < at_s - WINDOW_S - LATE_S:
            self._samples.popleft()

    def missing(self) -> tuple[str, ...]:
        """Return the versions of which more spans are missing than chance explains."""
        if not self._samples:
            return ()
        first, last, settled = self._samples[0], self._samples[-1], self._settled()
        asked = {
            version: more
            for version in settled.edge
            if (more := _grown(first.edge, settled.edge, version)) >= FEWEST
        }
        seen = {version: _grown(first.traced, last.traced, version) for version in asked}
        best = min(1.0, max((_surely(seen[version]) / asked[version] for version in asked), default=0.0))
        expected = {version: best * asked[version] * (1 - TOLERABLE) for version in asked}
        return tuple(version for version in asked if seen[version] < _surely(expected[version]))

    def unknown(self) -> tuple[str, ...]:
        """Return the versions all of whose requests are so new that spans of some may still be on their way."""
        if not self._samples:
            return ()
        first, last, settled = self._samples[0], self._samples[-1], self._settled()
        return tuple(
            version
            for version in last.edge
            if _grown(first.edge, last.edge, version) and not _grown(first.edge, settled.edge, version)
        )

    def _settled(self) -> _Sample:
        """Return the newest sample whose spans have arrived; the oldest one when none is old enough."""
        until_s = self._samples[-1].at_s - LATE_S
        return next((one for one in reversed(self._samples) if one.at_s <= until_s), self._samples[0])


def _surely(number: float) -> float:
    """Return a count less three standard deviations of it."""
    return max(0.0, number - 3 * math.sqrt(max(0.0, number)))


def _grown(first: Mapping[str, int], last: Mapping[str, int], version: str) -> int:
    return last.get(version, 0) - first.get(version, 0)


def _fell(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    return any(now.get(version, 0) < count for version, count in before.items())
