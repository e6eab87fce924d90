"""Prometheus series out of the trace store: who calls whom, and rate, errors, duration of every operation.

Before it: the trace store's `rates` and `service_map`. After it: /metrics of the telemetry process, under the names that
Grafana's service graph reads. A scrape starts a refresh when the numbers are old and waits for it only a moment, so that a
slow store costs freshness and never a scrape. Counters count what came since the process began, and never fall.

Operations are counted as spans arrive, for two minutes after their start. Calls between services are counted once, a minute
after their start: until then the callee's span may be missing, and the call would be told of a peer first and of the
service once more. Spans that arrive later are in the store and not in the series.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain

from starlette.requests import Request
from starlette.responses import Response

from controller import observability
from controller.errors import InvalidInput, TracesUnavailable
from controller.ingest.exposition import SECOND_NS, Row, counter, gauge, histogram
from controller.model.insight import Edge, RateRow
from controller.model.running import Counts, Running
from controller.model.searching import LATEST_NS, Range
from controller.traces.port import TraceStore

Labels = tuple[str, ...]
Sums = tuple[tuple[Labels, Counts], ...]
Exemplar = tuple[str, int]
"""Trace id, and when it was, nanoseconds since 1970."""
Handler = Callable[[Request], Awaitable[Response]]
OPEN_METRICS = "application/openmetrics-text"
END = b"# EOF\n"
STEP_NS = 10 * SECOND_NS
FRESH_S = 5.0
LEAST_REST = 10
"""A refresh is followed by at least so many times its own length of rest: at most a tenth of a core goes into this."""
PATIENCE_S = 0.03
"""A scrape waits so long for a refresh; then it tells what is known."""
DEADLINE_S = 20.0
OPEN_NS = 120 * SECOND_NS
SETTLED_NS = 60 * SECOND_NS
LONGEST_GAP_NS = 600 * SECOND_NS
"""What began longer ago than this when somebody scrapes again is not counted."""
MOST_OPERATIONS = 500
MOST_EDGES = 500
OTHER = "other"
SPAN_LABELS = ("service", "service_version", "span_name", "span_kind")
EDGE_LABELS = ("client", "client_version", "server", "server_version", "connection_type")
log = observability.logger(__name__)


class TraceSeries:
    """Keeps the series of one process.

    Args:
        store: Whose spans.
        now_ns: Nanoseconds since 1970.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        store: TraceStore,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._now_ns = now_ns
        self._clock = clock
        self._operations: Running[Labels] = Running()
        self._edges: Running[Labels] = Running()
        self._known_operations: set[Labels] = set()
        self._known_edges: set[Labels] = set()
        self._exemplars: dict[tuple[Labels, bool], Exemplar] = {}
        self._open_ns = self._settled_ns = _floor(now_ns())
        self._fresh_at = clock()
        self._due_at = clock()
        self._task: asyncio.Task[None] | None = None
        self._texts: dict[bool, bytes] = {}

    def beside(self, own: Handler) -> Handler:
        """Return a handler of /metrics that tells what another one tells, and the series after it."""

        async def show(request: Request) -> Response:
            response = await own(request)
            is_open = OPEN_METRICS in response.headers.get("content-type", "")
            series = await self.exposition(is_open=is_open)
            both = bytes(response.body).removesuffix(END) + series
            return Response(both, response.status_code, media_type=response.media_type)

        return show

    async def exposition(self, *, is_open: bool) -> bytes:
        """Return the series as text, at most `FRESH_S` old unless the store is slow.

        Args:
            is_open: As OpenMetrics, with exemplars and an end mark.
        """
        if self._task is None and self._clock() >= self._due_at:
            self._task = asyncio.create_task(self._refresh(), name="trace series")
            self._task.add_done_callback(self._done)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PATIENCE_S)
        if is_open not in self._texts:
            self._texts[is_open] = await self._written(is_open)
        return self._texts[is_open]

    async def aclose(self) -> None:
        """End a refresh that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _written(self, is_open: bool) -> bytes:
        """Write what is known now, on a thread: at most 4 MB, which take 60 ms."""
        age_s = max(0.0, self._clock() - self._fresh_at)
        operations, edges = tuple(self._operations.sums.items()), tuple(self._edges.sums.items())
        return await asyncio.to_thread(_text, age_s, operations, edges, dict(self._exemplars), is_open)

    async def _refresh(self) -> None:
        began_at = self._clock()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._read()
            self._fresh_at = self._clock()
        except InvalidInput as error:  # more cells than one answer may have
            self._open_ns = _floor(self._now_ns())
            log.warning("trace_series_left_out", reason=error.message)
        except (TracesUnavailable, TimeoutError) as error:
            log.warning("trace_series_not_read", reason=str(error) or "the store is slow")
        self._due_at = self._clock() + max(FRESH_S, LEAST_REST * (self._clock() - began_at))
        self._texts = {is_open: await self._written(is_open) for is_open in tuple(self._texts)}

    async def _read(self) -> None:
        now_ns = self._now_ns()
        self._open_ns = max(self._open_ns, _floor(now_ns - LONGEST_GAP_NS))
        rows = await self._store.rates("", Range(self._open_ns, LATEST_NS))
        # Thousands of cells where there are many operations; copies of the sums are made in one step of the interpreter.
        await asyncio.to_thread(lambda: self._operations.take(self._cells(rows)))
        self._open_ns = max(self._open_ns, _floor(now_ns - OPEN_NS))
        self._operations.forget(self._open_ns)
        since_ns = max(self._settled_ns, _floor(now_ns - LONGEST_GAP_NS))
        until_ns = _floor(now_ns - SETTLED_NS)
        if since_ns < until_ns:
            found = await self._store.service_map(Range(since_ns, until_ns))
            await asyncio.to_thread(lambda: self._edges.take(self._calls(found.edges, since_ns)))
            self._settled_ns = until_ns
            self._edges.forget(until_ns)

    def _cells(self, rows: Sequence[RateRow]) -> dict[tuple[int, Labels], Counts]:
        cells: dict[tuple[int, Labels], Counts] = {}
        for row in rows:
            labels: Labels = (row.service, row.version, row.operation, f"SPAN_KIND_{row.kind.upper()}")
            labels = _bounded(labels, self._known_operations, MOST_OPERATIONS)
            cell = (row.at_ns, labels)
            cells[cell] = cells.get(cell, Counts()) + Counts(row.calls, row.failed, row.buckets)
            self._remember(labels, row.exemplar, bool(row.failed), row.at_ns)
        return cells

    def _calls(self, edges: Sequence[Edge], at_ns: int) -> dict[tuple[int, Labels], Counts]:
        cells: dict[tuple[int, Labels], Counts] = {}
        for edge in edges:
            kind = "messaging_system" if edge.kind == "message" else ""
            labels: Labels = (edge.caller, edge.caller_version, edge.callee, edge.callee_version, kind)
            labels = _bounded(labels, self._known_edges, MOST_EDGES)
            cell = (at_ns, labels)
            more = Counts(edge.red.calls, edge.red.failed, edge.buckets)
            cells[cell] = cells.get(cell, Counts()) + more
            self._remember(labels, edge.red.exemplar, bool(edge.red.failed), at_ns)
        return cells

    def _remember(self, labels: Labels, trace_id: str, has_failed: bool, at_ns: int) -> None:
        if trace_id:
            self._exemplars[labels, has_failed] = (trace_id, at_ns)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._due_at = self._clock() + FRESH_S
            log.error("trace_series_broke", exc_info=error)


def _floor(at_ns: int) -> int:
    return max(0, at_ns - at_ns % STEP_NS)


def _bounded(labels: Labels, known: set[Labels], most: int) -> Labels:
    """Return the labels, or the row of all others when there are as many as there may be already."""
    if labels not in known:
        if len(known) >= most:
            return (OTHER,) * len(labels)
        known.add(labels)
    return labels


def _text(
    age_s: float,
    operations: Sums,
    edges: Sums,
    exemplars: Mapping[tuple[Labels, bool], Exemplar],
    is_open: bool,
) -> bytes:
    def row(values: Labels, labels: Labels, number: int, *, has_failed: bool) -> Row:
        return Row(values, number, *exemplars.get((labels, has_failed), ("", 0)))

    calls = (
        row((*labels, code), labels, number, has_failed=has_failed)
        for labels, counts in operations
        for has_failed, code, number in (
            (False, "STATUS_CODE_UNSET", counts.calls - counts.failed),
            (True, "STATUS_CODE_ERROR", counts.failed),
        )
    )
    total = (row(labels, labels, counts.calls, has_failed=False) for labels, counts in edges)
    failed = (row(labels, labels, counts.failed, has_failed=True) for labels, counts in edges)
    latency, seconds = (
        ((labels, counts.buckets) for labels, counts in sums if counts.buckets)
        for sums in (operations, edges)
    )
    spans, graph = "traces_spanmetrics", "traces_service_graph_request"
    written = (
        [gauge("serinus_traces_series_age_seconds", "How old the series from traces were when told.", age_s)],
        counter(f"{spans}_calls", "Served spans.", (*SPAN_LABELS, "status_code"), calls, is_open=is_open),
        histogram(f"{spans}_latency", "How long they took, seconds.", SPAN_LABELS, latency),
        counter(graph, "Calls from one service to another.", EDGE_LABELS, total, is_open=is_open),
        counter(f"{graph}_failed", "Those that failed.", EDGE_LABELS, failed, is_open=is_open),
        histogram(f"{graph}_server_seconds", "How long they took at the server.", EDGE_LABELS, seconds),
    )
    return "".join(chain(*written)).encode() + (END if is_open else b"")
