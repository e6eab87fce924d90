"""Who called whom: settled edges, and a join of what is not settled yet.

Before it: `store`. After it: `edge10_v1` by `settling`, `spans_v1` by `hops`; the rules are `controller.traces.edges`'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from controller.model.insight import Edge, ServiceMap
from controller.model.searching import LATEST_NS, Range, Search
from controller.traces.clickhouse import conditions, literal, rollups
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.hops import (
    COUNTED,
    ENDS,
    ONCE,
    callers_near,
    hop_of,
    hops,
    started,
    summed,
)
from controller.traces.clickhouse.settling import UNSETTLED, stretches
from controller.traces.edges import AROUND_NS, BEFORE_NS, MOST_TRACES_OF_MAP, edges_of

_COLUMNS = f"{ENDS}, calls, failed, buckets, exemplar, failed_exemplar"


async def service_map(crew: Crew, within: Range) -> ServiceMap:
    """Return the services of a time, and who called whom."""
    asked = rollups.buckets(within)
    rows, services = await asyncio.gather(
        crew.ask(f"SELECT at FROM ({UNSETTLED.format(range=asked)}) ORDER BY at"),
        rollups.services(crew, within),
    )
    open_ = stretches([int(at) for (at,) in rows])
    settled = f"""SELECT {_COLUMNS} FROM edge10_v1
        WHERE {asked} AND (bucket, generation) IN (
            SELECT bucket, max(generation) FROM settled10_v1 WHERE {asked} GROUP BY bucket
        ) AND NOT ({_among(open_)})"""
    parts = [settled]
    if open_:
        parts.append(f"SELECT {_COLUMNS} FROM ({hops(started(open_), callers_near(open_))}) WHERE {asked}")
    found = await crew.ask(summed(" UNION ALL ".join(parts)))
    return ServiceMap(services, _edges(found))


async def map_of(crew: Crew, search: Search) -> ServiceMap:
    """Return the same of the newest 1 000 traces with a span that fits."""
    rows = await crew.ask(
        f"""SELECT lower(hex(trace_id)), toUnixTimestamp64Nano(max(start)) AS newest FROM spans_v1
        WHERE {conditions.where(search)} GROUP BY trace_id
        ORDER BY newest DESC, trace_id DESC LIMIT {MOST_TRACES_OF_MAP}"""
    )
    if not rows:
        return ServiceMap((), ())
    newest = {trace_id: int(at_ns) for trace_id, at_ns in rows}
    # Said once in front: a thousand ids in every part of the statement would be more than it may be long.
    named = f"""WITH [{", ".join(f"'{trace_id.upper()}'" for trace_id in newest)}] AS ids,
        [{", ".join(f"toInt64({at_ns})" for at_ns in newest.values())}] AS moments """
    chosen = "trace_id IN (SELECT toFixedString(unhex(arrayJoin(ids)), 16))"
    around = f"""{chosen} AND {_between(newest.values(), AROUND_NS)}
        AND abs(toUnixTimestamp64Nano(start) - transform(hex(trace_id), ids, moments, toInt64(0))) <= {AROUND_NS}"""
    callers = _between(newest.values(), AROUND_NS + BEFORE_NS)
    served, found = await asyncio.gather(
        crew.ask(
            f"""{named} SELECT service, version, kind IN (2, 5) AS serves, toUnixTimestamp64Nano(max(start)), {COUNTED}
            FROM (SELECT * FROM spans_v1 WHERE {around} {ONCE})
            GROUP BY service, version, serves ORDER BY service, version, serves"""
        ),
        crew.ask(named + summed(f"SELECT {_COLUMNS} FROM ({hops(around, callers)})")),
    )
    return ServiceMap(rollups.service_rows(served), _edges(found))


def _between(moments: Collection[int], margin_ns: int) -> str:
    since_ns, until_ns = max(0, min(moments) - margin_ns), min(LATEST_NS, max(moments) + margin_ns)
    return f"start BETWEEN {literal.moment(since_ns)} AND {literal.moment(until_ns)}"


def _among(open_: Sequence[tuple[int, int]]) -> str:
    parts = [f"toUnixTimestamp(bucket) BETWEEN {first} AND {last}" for first, last in open_]
    return " OR ".join(parts) or "0"


def _edges(rows: Iterable[Sequence[Any]]) -> tuple[Edge, ...]:
    return edges_of(dict(map(hop_of, rows)))
