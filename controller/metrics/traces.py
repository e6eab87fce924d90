"""The metric source `traces`: the spans with which a service served, counted by `service.version`.

Before it: the trace store's rates, asked through `controller.traces.remote`. After it: the judge. Functions are passed in,
so that this folder knows neither traces nor routing. What it can tell, and what not:

* Every request that reached a service and was traced counts, also one that did not come through our edge. `failed` is the
  span's status error: by OpenTelemetry's rules an answer of 5xx or an exception, not one of 4xx.
* Sampled services are counted by what they send, and a span that was lost on its way is no request. So counts are not exact,
  and a version that dies takes its last spans with it: its restarts are the workloads' to tell.
* Spans arrive when a request is over and its SDK has sent it: about 2 s late here, 5 s with OpenTelemetry's defaults.
* No span of either version for `STALE_AFTER_S` is a source that is stale: a quiet service and a broken exporter look
  the same from here, and what nobody saw must not promote. So is one that misses spans of one version more than of the
  other, by the edge's counts (`coverage`), and one that saw only the first 10 s of a canary, and no failure.
* Counts are those of the running hour, by when a span started; its hour is the generation. So every worker reads the same,
  and one that starts anew misses nothing. Spans of the hour before that arrive after it are lost.
* Repeats of a caller are requests of their own: the store counts spans, not correlation IDs.
* Environments are told apart by version only, as `service.name` is the same in all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace

from controller.errors import InvalidInput, NotFound, SourceUnavailable, Unavailable
from controller.metrics.coverage import Coverage
from controller.metrics.port import MetricCapabilities, MetricSource
from controller.model.insight import LADDER_NS, RateRow
from controller.model.look import Arm, History, Reading, SourceState
from controller.model.running import Counts, Running
from controller.model.searching import Range
from controller.model.target import Target, TargetKey
from controller.observability import logger

CAPABILITIES = MetricCapabilities(has_latency=True, delay_s=2.0)
"""Not exact, not by instance, and nothing bounds how many requests fail together: callers may repeat them."""
STALE_AFTER_S = 10.0
"""Twice as long as OpenTelemetry's SDKs wait by default before they send."""
DEADLINE_S = 0.9
"""The port allows a reading one second."""
HISTORY_DEADLINE_S = 5.0
SHORT_S = 600.0
"""Up to here a history is read in steps of 10 s, a longer one in minutes."""
SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
MINUTES = 60
HOUR_NS = MINUTES * MINUTE_NS
BEFORE_NS = 10 * MINUTE_NS
LATE_NS = 2 * MINUTE_NS
"""A span that arrives so long after its start still counts."""
SERVED = "server"
BOUNDS_S = tuple(bound / SECOND_NS for bound in LADDER_NS)

log = logger(__name__)

Rates = Callable[[str, Range, int], Awaitable[tuple[RateRow, ...]]]


@dataclass(slots=True)
class _Service:
    """What is known about one service in one hour.

    Args:
        hour_ns: Its begin, nanoseconds since 1970.
        open_ns: From here on cells may still grow.
        grown_ns: When counts grew last, or were first asked for.
    """

    hour_ns: int
    open_ns: int
    grown_ns: int
    running: Running[str] = field(default_factory=Running)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class TracesSource(MetricSource):
    """Counters of every span that a service served.

    Args:
        rates: Counters of a service by time, version and operation (`TraceStore.rates`).
        counters: What the edge counted, for what spans cannot tell: requests in flight, whether an arm is there, and
            whether spans are missing. None when there is no edge.
        now_ns: Nanoseconds since 1970.
        stale_after_s: No new span for so long is a source that is stale, seconds.
    """

    def __init__(
        self,
        *,
        rates: Rates,
        counters: Callable[[TargetKey], Awaitable[Reading]] | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        stale_after_s: float = STALE_AFTER_S,
    ) -> None:
        self._rates = rates
        self._counters = counters
        self._now_ns = now_ns
        self._stale_after_s = stale_after_s
        self._services: dict[str, _Service] = {}
        self._coverage: dict[TargetKey, Coverage] = {}

    async def read(self, target: Target) -> Reading:
        """Return the counters of the running hour; stale when no span came lately."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                reading, edge = await asyncio.gather(self._read(target.name), self._edge(target.key))
        except (Unavailable, NotFound, InvalidInput, TimeoutError) as error:
            raise _unreadable(target.key, error) from error
        return reading if edge is None else self._beside(target, reading, edge)

    async def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what a version served in the newest minutes, at most an hour."""
        now_ns, step_s = self._now_ns(), 10 if window_s <= SHORT_S else 60
        since_ns = max(now_ns - round(min(window_s, MINUTES * 60.0) * SECOND_NS), 0)
        since_ns += -since_ns % (step_s * SECOND_NS)
        try:
            async with asyncio.timeout(HISTORY_DEADLINE_S):
                asked = Range(max(since_ns - BEFORE_NS, 0), now_ns + MINUTE_NS)
                rows = await self._rates(target.name, asked, step_s)
        except (Unavailable, InvalidInput, TimeoutError) as error:
            raise _unreadable(target.key, error) from error
        cells = _cells(row for row in rows if row.version == version)
        # Who was there before the window was there in all of it.
        first_ns = max(since_ns, min((at_ns for at_ns, _ in cells), default=now_ns))
        minutes: dict[int, Counts] = {}
        for (at_ns, _), counts in sorted(cells.items()):
            if at_ns >= first_ns:
                minute = min((at_ns - first_ns) // MINUTE_NS, MINUTES - 1)
                minutes[minute] = minutes.get(minute, Counts()) + counts
        return History(
            window_s=max(0, now_ns - first_ns) / SECOND_NS,
            total=sum(one.calls for one in minutes.values()),
            failed=sum(one.failed for one in minutes.values()),
            bounds_s=BOUNDS_S,
            bucket_minutes=tuple(one.buckets for one in minutes.values()),
        )

    def capabilities(self) -> MetricCapabilities:
        """Latencies, and counts that may miss spans."""
        return CAPABILITIES

    def _beside(self, target: Target, reading: Reading, edge: Reading) -> Reading:
        """Return the reading with what only the edge knows; stale when spans of a version are missing."""
        if edge.source is SourceState.DOWN:
            raise SourceUnavailable(
                f"the edge cannot say what is in flight at {target.key}: is Envoy running?"
            )
        arms = {
            version: replace(reading.arms.get(version, _EMPTY), in_flight=arm.in_flight, ready=arm.ready)
            for version in {**edge.arms, **reading.arms}
            for arm in (edge.arms.get(version, Arm()),)
        }
        coverage = self._coverage.setdefault(target.key, Coverage())
        if edge.source is SourceState.OK:
            coverage.add(self._now_ns() / SECOND_NS, _totals(edge), _totals(reading))
        missing = coverage.missing()
        if missing and reading.source is SourceState.OK:
            log.warning("spans_missing", target=target.key, versions=missing)
        # Failures that were seen are told at once; only what looks well has to wait until it is known to be whole.
        is_new = any(not arms[one].failed for one in coverage.unknown() if one != target.stable)
        return replace(reading, arms=arms, source=SourceState.STALE if missing or is_new else reading.source)

    async def _read(self, name: str) -> Reading:
        now_ns = self._now_ns()
        hour_ns = now_ns - now_ns % HOUR_NS
        known = self._services.get(name)
        if known is None or known.hour_ns != hour_ns:
            grown_ns = now_ns if known is None else known.grown_ns
            known = self._services[name] = _Service(hour_ns, hour_ns, grown_ns)
        async with known.turn:
            rows = await self._rates(name, Range(known.open_ns, hour_ns + HOUR_NS), 60)
            if known.running.take(_cells(rows)):
                known.grown_ns = max(known.grown_ns, now_ns)
            known.open_ns = max(known.open_ns, (now_ns - LATE_NS) // MINUTE_NS * MINUTE_NS)
            known.running.forget(known.open_ns)
        age_s = max(0.0, (now_ns - known.grown_ns) / SECOND_NS)
        return Reading(
            generation=f"traces-{hour_ns // SECOND_NS}",
            source=SourceState.STALE if age_s > self._stale_after_s else SourceState.OK,
            age_s=age_s,
            arms={
                version: Arm(total=counts.calls, failed=counts.failed, buckets=counts.buckets)
                for version, counts in known.running.sums.items()
            },
            bounds_s=BOUNDS_S,
        )

    async def _edge(self, target: TargetKey) -> Reading | None:
        return await self._counters(target) if self._counters is not None else None


def _totals(reading: Reading) -> dict[str, int]:
    return {version: arm.total for version, arm in reading.arms.items()}


_EMPTY = Arm(buckets=(0,) * (len(BOUNDS_S) + 1))


def _cells(rows: Iterable[RateRow]) -> dict[tuple[int, str], Counts]:
    """Add up all operations and releases of each bucket and version; spans of messages are no requests."""
    cells: dict[tuple[int, str], Counts] = {}
    for row in rows:
        if row.kind == SERVED:
            cell = (row.at_ns, row.version)
            cells[cell] = cells.get(cell, Counts()) + Counts(row.calls, row.failed, row.buckets)
    return cells


def _unreadable(target: TargetKey, error: Exception) -> SourceUnavailable:
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
    return SourceUnavailable(f"the traces of {target} cannot be read: {reason}")
