"""One reading of both arms' counters, as the judge sees it.

A metric source returns a `Reading` of cumulative counters; the judging loop adds what the workloads know (ready,
restarts) and the clock, and hands a `Look` to `controller.analysis`. Nobody but the judge takes differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.model.wealth import Tally


class SourceState(StrEnum):
    """Whether the evidence can be trusted right now. No evidence and a dead source are different things."""

    OK = "ok"
    STALE = "stale"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Instance:
    """Cumulative counters of one instance (address) of a version."""

    id: str
    total: int = 0
    failed: int = 0
    in_flight: int = 0
    ready: bool | None = None
    """None when the source does not know."""


@dataclass(frozen=True, slots=True)
class Exceedance:
    """How many of `n` requests took longer than each of the frozen latency bounds; `n` is its own, histograms lag."""

    n: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Arm:
    """Cumulative counters of one arm since its generation began.

    `total` is answered plus failed, so that a dead host counts.
    """

    total: int = 0
    failed: int = 0
    over: Exceedance | None = None
    in_flight: int = 0
    ready: bool = True
    restarts: int | None = None
    """None when nobody counts them."""
    instances: tuple[Instance, ...] = ()
    buckets: tuple[int, ...] = ()
    """Requests by how long they took, in the buckets of `Reading.bounds_s` and one above them; empty when nobody
    measures. Only a reading has it: a look has `over`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a metric source answers for one target: cumulative counters of each version it knows.

    Args:
        generation: Changes when the counters began again from zero (a restart of whoever counts).
        source: Whether the numbers are fresh.
        age_s: How old the numbers are, seconds.
        arms: Counters by version. A version without an entry has had no request.
        bounds_s: Upper bounds of the latency buckets, seconds, growing; empty when the source has no latencies.
    """

    generation: str
    source: SourceState = SourceState.OK
    age_s: float = 0.0
    arms: Mapping[str, Arm] = field(default_factory=dict)
    bounds_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """One reading of both arms, with its place in the judge's time.

    Args:
        id: Counts the looks of one judge, from 1.
        at_s: The judge's boot clock, seconds. Only short differences mean anything: another host has another clock.
        source: Whether the numbers are fresh.
        skew_s: Age of the numbers, seconds.
        generation: As in `Reading`.
        stable: The arm that serves everybody else.
        canary: The arm that is judged.
    """

    id: int
    at_s: float
    source: SourceState
    generation: str
    stable: Arm
    canary: Arm
    skew_s: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """What a version served before a release, for base rate, traffic, and how unlike its instances are.

    Args:
        window_s: How long is known, seconds.
        total: Requests in it.
        failed: Those that failed.
        minutes: The same by minute (oldest first) and instance, at most 60 rows; every row has the instances in the
            same order, with an empty tally where one did not serve. Empty when nobody counts instances.
        earlier: Instances of earlier versions of the target, each with all that is remembered of it, newest first.
        bounds_s: Upper bounds of the latency buckets, seconds, growing; empty when the source has no latencies.
        bucket_minutes: Requests by how long they took, in these buckets and one above them; a row a minute, as above.
    """

    window_s: float
    total: int
    failed: int
    minutes: tuple[tuple[Tally, ...], ...] = ()
    earlier: tuple[Tally, ...] = ()
    bounds_s: tuple[float, ...] = ()
    bucket_minutes: tuple[tuple[int, ...], ...] = ()

    @property
    def buckets(self) -> tuple[int, ...]:
        """Requests of the whole window by how long they took."""
        rows = self.bucket_minutes or ((0,) * (len(self.bounds_s) + 1 if self.bounds_s else 0),)
        return tuple(sum(column) for column in zip(*rows, strict=True))

    @property
    def requests_per_s(self) -> float:
        """Traffic over the window; 0 for an empty window."""
        return self.total / self.window_s if self.window_s > 0 else 0.0

    @property
    def instances(self) -> tuple[Tally, ...]:
        """Each instance over the whole window."""
        return tuple(sum(column, Tally()) for column in zip(*self.minutes, strict=True))
