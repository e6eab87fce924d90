"""The newest traces with a span that fits: looked for in windows of time that widen, newest first.

Before it: `store`. After it: `conditions` and `crew`. Most searches end in the first windows, however much is kept. A
trace stands where its newest span that fits does; a window finds spans, so each trace is looked at whole before it is
shown, which also leaves out those that an earlier page has shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from controller.model.insight import TracePage
from controller.model.searching import Page, Range, Search
from controller.model.trace import TraceSummary
from controller.traces.clickhouse.conditions import where
from controller.traces.clickhouse.connection import Row
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.literal import octets, traces
from controller.traces.selecting import Key, read_cursor, write_cursor

_SECOND_NS = 1_000_000_000
WINDOWS_NS = tuple(seconds * _SECOND_NS for seconds in (60, 900, 3_600, 6 * 3_600, 24 * 3_600))
"""How far back the windows reach; the last one reaches as far as the search."""


async def search(
    crew: Crew, asked: Search, page: Page, now_ns: Callable[[], int] = time.time_ns
) -> TracePage:
    """Return one page of traces, newest first.

    Raises:
        InvalidInput: The cursor is none.
    """
    before = read_cursor(page.cursor) if page.cursor else None
    whole = _until(asked.within, before[0] + 1) if before is not None else asked.within
    found: list[tuple[Key, TraceSummary]] = []
    since_ns = asked.within.since_ns
    for window in _windows(whole, now_ns()) if whole is not None else ():
        since_ns = window.since_ns
        found += await _in_window(crew, asked, window, before, page.limit + 1 - len(found))
        if len(found) > page.limit:
            break
    shown = found[: page.limit]
    cursor = write_cursor(shown[-1][0]) if len(found) > len(shown) else ""
    return TracePage(tuple(one for _, one in shown), cursor, since_ns)


def _until(within: Range, until_ns: int) -> Range | None:
    until_ns = min(within.until_ns, until_ns)
    return Range(within.since_ns, until_ns) if within.since_ns < until_ns else None


def _windows(within: Range, now_ns: int) -> Iterator[Range]:
    until_ns = within.until_ns
    newest_ns = min(until_ns, now_ns)
    for back_ns in WINDOWS_NS:
        since_ns = max(within.since_ns, newest_ns - back_ns)
        if within.since_ns < since_ns < until_ns:
            yield Range(since_ns, until_ns)
            until_ns = since_ns
    yield Range(within.since_ns, until_ns)


async def _in_window(
    crew: Crew, asked: Search, window: Range, before: Key | None, wanted: int
) -> list[tuple[Key, TraceSummary]]:
    """Return at most so many traces whose place is in the window and before a place."""
    found: list[tuple[Key, TraceSummary]] = []
    while len(found) < wanted:
        limit = wanted - len(found)
        places = await _places(crew, asked, window, before, limit)
        if places:
            summaries = await _summaries(crew, asked, [trace_id for _, trace_id in places])
            found += [(key, summaries[key]) for key in places if key in summaries]
            before = places[-1]
        if len(places) < limit:
            break
    return found


async def _places(crew: Crew, asked: Search, window: Range, before: Key | None, limit: int) -> list[Key]:
    having = ""
    if before is not None:
        having = f"HAVING (newest_ns, trace_id) < (toInt64({before[0]}), toFixedString({octets(bytes.fromhex(before[1]))}, 16))"
    rows = await crew.ask(
        f"SELECT toUnixTimestamp64Nano(max(start)) AS newest_ns, lower(hex(trace_id)) FROM spans_v1 "
        f"WHERE {where(asked, window)} GROUP BY trace_id {having} "
        f"ORDER BY newest_ns DESC, trace_id DESC LIMIT {limit}"
    )
    return [(newest_ns, trace_id) for newest_ns, trace_id in rows]


async def _summaries(crew: Crew, asked: Search, trace_ids: Sequence[str]) -> dict[Key, TraceSummary]:
    """Return a line about each trace from all its spans, by its true place."""
    rows = await crew.ask(
        f"""SELECT lower(hex(trace_id)), argMin(service, (parent_span_id != '', start, span_id)),
            argMin(name, (parent_span_id != '', start, span_id)), min(start_ns), max(start_ns + duration_ns) - min(start_ns),
            count(), countIf(status = 2), argMinIf(correlation_id, (start, span_id), correlation_id != ''),
            countIf(fits), arraySort(groupUniqArray(service)),
            lower(hex(argMaxIf(span_id, (start, span_id), fits))), maxIf(start_ns, fits)
        FROM (
            SELECT *, {where(asked)} AS fits, toUInt64(toUnixTimestamp64Nano(start)) AS start_ns FROM spans_v1
            WHERE trace_id IN {traces(trace_ids)} LIMIT 1 BY trace_id, span_id
        ) GROUP BY trace_id"""
    )
    return dict(map(_summary, rows))


def _summary(row: Row) -> tuple[Key, TraceSummary]:
    trace_id, service, name, start_ns, duration_ns, spans, failed, correlation_id, matched = row[:9]
    services, span_id, newest_ns = row[9:]
    summary = TraceSummary(
        trace_id=trace_id,
        root_service=service,
        root_name=name,
        start_ns=start_ns,
        duration_ns=duration_ns,
        spans=spans,
        failed=failed,
        correlation_id=correlation_id,
        matched=matched,
        services=tuple(services),
        span_id=span_id if matched else "",
    )
    return (newest_ns, trace_id), summary
