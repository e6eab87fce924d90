"""Answers of a trace store that add spans up: services, operations, who calls whom, what is different.

Before it: an adapter of `controller.traces`. After it: the explorer of the API, the metric source `traces`, and the
explanation of a rollback. Durations are nanoseconds; quantiles come from a log histogram and are within 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from controller.model.trace import TraceSummary


@dataclass(frozen=True, slots=True)
class Red:
    """Rate, errors, duration of some spans.

    Args:
        calls: How many.
        failed: How many of them have status error.
        p50_ns: Median duration; 0 when there are none. So the others.
        exemplar: Trace id of one of them, a failed one if there is one, "" when none.
    """

    calls: int = 0
    failed: int = 0
    p50_ns: int = 0
    p95_ns: int = 0
    p99_ns: int = 0
    exemplar: str = ""


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """What one version of a service served (spans of kind server and consumer; of all kinds when it serves nothing)."""

    service: str
    version: str
    red: Red
    last_seen_ns: int


@dataclass(frozen=True, slots=True)
class OperationRow:
    """What one operation of a service served."""

    service: str
    version: str
    operation: str
    kind: str
    red: Red


@dataclass(frozen=True, slots=True)
class Edge:
    """Calls from one version of a service to one of another.

    Args:
        callee: A service; or a peer that sends no spans (`server.address`, a queue), then without a version.
        kind: call, or message when a consumer links or is a child of a producer.
        red: From the callee's spans when it sends any, else from the caller's.
        buckets: The same calls by duration, as in `RateRow`.
    """

    caller: str
    caller_version: str
    callee: str
    callee_version: str
    kind: str
    red: Red
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceMap:
    """Who calls whom."""

    services: tuple[ServiceRow, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class RateRow:
    """One cell of rates over time, counters of one bucket.

    Args:
        at_ns: Begin of the bucket.
        buckets: Requests by duration, by `LADDER_NS`: counts[i] took at most LADDER_NS[i], the last one took longer.
    """

    at_ns: int
    service: str
    version: str
    operation: str
    kind: str
    release: str
    calls: int
    failed: int
    buckets: tuple[int, ...]
    exemplar: str = ""


@dataclass(frozen=True, slots=True)
class ErrorSignature:
    """Failures that look alike: operation and what failed.

    Args:
        error: exception.type, else error.type, else the status message without numbers and ids, else "error".
        base: How many in the base version; other: in the other one.
    """

    operation: str
    error: str
    base: int
    other: int
    exemplar: str


@dataclass(frozen=True, slots=True)
class OperationChange:
    """One operation in both versions."""

    operation: str
    kind: str
    base: Red
    other: Red


@dataclass(frozen=True, slots=True)
class CallChange:
    """How often one served request calls something else, in both versions.

    Args:
        callee: Service, peer or queue.
        base_calls: Calls; base_served: served requests; the ratio is calls a request.
    """

    callee: str
    operation: str
    base_calls: int
    base_served: int
    other_calls: int
    other_served: int


@dataclass(frozen=True, slots=True)
class VersionDifference:
    """What changed from one version of a service to another, in the same time. Most telling first."""

    service: str
    base: str
    other: str
    operations: tuple[OperationChange, ...]
    errors: tuple[ErrorSignature, ...]
    calls: tuple[CallChange, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """How often one attribute value occurs among selected spans and among the rest.

    Args:
        scope: span or resource.
        inside: Selected spans that have it, of `selected`; outside: others that have it, of `others`.
    """

    scope: str
    key: str
    value: str
    inside: int
    selected: int
    outside: int
    others: int


@dataclass(frozen=True, slots=True)
class TracePage:
    """Traces, newest first.

    Args:
        cursor: Ask with it for what follows; "" when there is no more.
        searched_since_ns: How far back the search had to look.
    """

    traces: tuple[TraceSummary, ...]
    cursor: str = ""
    searched_since_ns: int = 0


@dataclass(frozen=True, slots=True)
class AttributeKey:
    """An attribute that spans carry, for completion.

    Args:
        scope: span or resource.
        kind: str, int, float, bool, bytes, list or dict.
    """

    scope: str
    key: str
    kind: str
    services: tuple[str, ...]


def _ladder() -> tuple[int, ...]:
    """Return bounds that grow by 10 % from 0.1 ms to about 60 s, so that a quantile is within 5 %."""
    bounds, bound = [], 100_000.0
    while bound < 60e9:
        bounds.append(round(bound))
        bound *= 1.1
    return (*bounds, 60_000_000_000)


LADDER_NS = _ladder()
"""Upper bounds of the duration buckets, nanoseconds."""


def quantile_ns(buckets: tuple[int, ...], share: float) -> int:
    """Return a quantile from counts by `LADDER_NS`, by the middle of its bucket; 0 when there are none.

    Args:
        buckets: As in `RateRow`.
        share: 0 to 1.
    """
    if not sum(buckets):
        return 0
    wanted = share * sum(buckets)
    index = next(i for i, seen in enumerate(accumulate(buckets)) if seen and seen >= wanted)
    if index >= len(LADDER_NS):
        return LADDER_NS[-1]
    return round(((LADDER_NS[index - 1] if index else 0) + LADDER_NS[index]) / 2)
