"""SQL of hops: callers joined with callees, as `controller.traces.edges` says. Pure.

Before it: `settling` and `edges`, which say which spans. After it: a SELECT of one row a hop, with counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controller.model.searching import LATEST_NS
from controller.traces.clickhouse.literal import moment
from controller.traces.clickhouse.schema import BUCKET
from controller.traces.edges import AFTER_NS, BEFORE_NS, Hop
from controller.traces.tally import BUCKETS, STEP_NS, Tally

Stretch = tuple[int, int]
"""Begin of the first and of the last 10-s bucket of a stretch of time, seconds since 1970."""
LAST_S = 2**32 - 1
"""The last bucket that there is; everything later counts there."""
ONCE = "LIMIT 1 BY trace_id, span_id"
"""A span that was sent twice counts once."""
ENDS = "caller, caller_version, callee, callee_version, kind, via, is_peer"
COUNTERS = f"""count() AS calls, countIf(status = 2) AS failed, sumMap(map({BUCKET}, toUInt64(1))) AS buckets,
    max(trace_id) AS exemplar, maxIf(trace_id, status = 2) AS failed_exemplar"""
BUCKET_OF = "toDateTime(toStartOfInterval(start, INTERVAL 10 SECOND), 'UTC')"
_CALLERS_OF = """arrayDistinct(arrayConcat(
    if(length(parent_span_id) = 8, [(trace_id, toFixedString(parent_span_id, 8))], []),
    if(kind = 5, arrayMap((t, s) -> (toFixedString(t, 16), toFixedString(s, 8)),
        arrayFilter((t, s) -> length(t) = 16 AND length(s) = 8, link_traces, link_spans),
        arrayFilter((s, t) -> length(t) = 16 AND length(s) = 8, link_spans, link_traces)), [])))"""


def started(stretches: Sequence[Stretch], *, before_ns: int = 0, after_ns: int = 0) -> str:
    """Return the condition that a span started in one of some stretches, or so long before or after one."""
    parts = []
    for first_s, last_s in stretches:
        since_ns = max(0, first_s * 1_000_000_000 - before_ns)
        until_ns = LATEST_NS if last_s >= LAST_S else last_s * 1_000_000_000 + STEP_NS + after_ns
        parts.append(f"(start >= {moment(since_ns)} AND start < {moment(min(LATEST_NS, until_ns))})")
    return f"({' OR '.join(parts)})" if parts else "0"


def callees(of: str) -> str:
    """Return a SELECT of spans and, in `wanted`, who may have called them: one row a pair.

    Args:
        of: Condition on `spans_v1`.
    """
    return f"""SELECT trace_id, span_id, start, duration_ns, service, version, kind, status,
        arrayJoin({_CALLERS_OF}) AS wanted
    FROM (
        SELECT trace_id, span_id, parent_span_id, start, duration_ns, service, version, kind, status,
            link_traces, link_spans
        FROM spans_v1 WHERE ({of}) AND (parent_span_id != '' OR (kind = 5 AND notEmpty(link_spans))) {ONCE}
    )"""


def _traces_of(of: str) -> str:
    """Return a SELECT of the traces in which callers can be; to ask for them first spares most of the join."""
    linked = "arrayMap(t -> toFixedString(t, 16), arrayFilter(t -> length(t) = 16, link_traces))"
    return f"""SELECT arrayJoin(arrayConcat([trace_id], if(kind = 5, {linked}, []))) FROM spans_v1 WHERE ({of})"""


def pairs(of: str, callers: str, *, narrow: bool = True) -> str:
    """Return a SELECT of callees `s` and the callers `c` that they enter from, to be finished by a column list in front.

    Args:
        of: Condition on `spans_v1` for callees.
        callers: Condition on `spans_v1` for callers.
        narrow: Look at callers in the callees' traces only, which pays when those are few among all.
    """
    within = f" AND trace_id IN ({_traces_of(of)})" if narrow else ""
    return f"""FROM ({callees(of)}) AS s
    INNER JOIN (
        SELECT trace_id, span_id, start, service, version, name, kind, peer FROM spans_v1
        PREWHERE ({callers}){within} {ONCE}
    ) AS c ON s.wanted.1 = c.trace_id AND s.wanted.2 = c.span_id
    WHERE toUnixTimestamp64Nano(s.start) - toUnixTimestamp64Nano(c.start) BETWEEN -{AFTER_NS} AND {BEFORE_NS}
        AND (c.service != s.service OR (c.kind IN (3, 4) AND s.kind IN (2, 5)))"""


def hops(of: str, callers: str) -> str:
    """Return a SELECT of hops per bucket of time: `bucket`, `ENDS` and `COUNTERS`.

    Args:
        of: Condition on `spans_v1` for the spans that are counted.
        callers: Condition on `spans_v1` that their callers meet.
    """
    return f"""SELECT {BUCKET_OF} AS bucket, {ENDS}, {COUNTERS}
    FROM (
        SELECT s.trace_id AS trace_id, s.start AS start, s.duration_ns AS duration_ns, s.status AS status,
            c.service AS caller, c.version AS caller_version, s.service AS callee, s.version AS callee_version,
            if(s.kind = 5 OR c.kind = 4, 'message', 'call') AS kind, if(c.kind IN (3, 4), c.peer, '') AS via,
            0 AS is_peer
        {pairs(of, callers)}
        UNION ALL
        SELECT trace_id, start, duration_ns, status, service AS caller, version AS caller_version, peer AS callee,
            '' AS callee_version, if(spans.kind = 4, 'message', 'call') AS kind, '' AS via, 1 AS is_peer
        FROM (
            SELECT trace_id, span_id, start, duration_ns, status, service, version, peer, kind
            FROM spans_v1 WHERE ({of}) AND kind IN (3, 4) AND peer != '' {ONCE}
        ) AS spans
    )
    GROUP BY bucket, {ENDS}"""


def callers_near(stretches: Sequence[Stretch]) -> str:
    """Return the condition on callers of spans that started in some stretches: not too long before them."""
    return started(stretches, before_ns=BEFORE_NS, after_ns=AFTER_NS)


def summed(rows: str) -> str:
    """Return a SELECT of counters, added up over time, from a SELECT of `ENDS` and `COUNTERS`."""
    return f"""SELECT {ENDS}, {SUMS} FROM ({rows}) GROUP BY {ENDS}"""


COUNTED = f"""count(), countIf(status = 2), sumMap(map({BUCKET}, toUInt64(1))), lower(hex(max(trace_id))),
    lower(hex(maxIf(trace_id, status = 2)))"""
"""Columns that add spans up."""
SUMS = """sum(calls), sum(failed), sumMap(buckets), lower(hex(max(exemplar))), lower(hex(max(failed_exemplar)))"""


def hop_of(row: Sequence[Any]) -> tuple[Hop, Tally]:
    """Read a row of `summed`."""
    caller, caller_version, callee, callee_version, kind, via, is_peer, *sums = row
    return Hop(caller, caller_version, callee, callee_version, kind, via, bool(is_peer)), tally_of(sums)


def tally_of(row: Sequence[Any]) -> Tally:
    """Read the columns of `SUMS`."""
    calls, failed, counts, any_trace, failed_trace = row
    buckets = [0] * BUCKETS
    for index, count in counts.items():
        buckets[int(index)] = int(count)
    return Tally(int(calls), int(failed), buckets, any_trace, failed_trace if failed else "")
