"""Which attribute values are more frequent among selected spans than among others.

Before it: `store`. After it: `spans_v1` and `resources_v1`, the newest 100 000 spans of each side; the rules are
`controller.traces.sharing`'s.
"""

from __future__ import annotations

from controller.model.insight import Share
from controller.model.searching import Search
from controller.model.trace import CORRELATION
from controller.traces.clickhouse import conditions, literal
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.hops import ONCE
from controller.traces.sharing import FEW_TRACES, LONGEST_VALUE, MOST_COUNTED, MOST_SHARES, ranked

_SCALARS = "('s', 'b', 'i', 'd')"
_PAIRS = f"""arrayFilter((p, letter) -> letter IN {_SCALARS} AND lengthUTF8(p.2) <= {LONGEST_VALUE},
    arrayZip(mapKeys({{attrs}}), mapValues({{attrs}})), splitByString('', toString({{kinds}})))"""


async def shares(crew: Crew, selected: Search, others: Search) -> tuple[Share, ...]:
    """Count attribute values among selected spans and among others."""
    inside = conditions.where(selected)
    outside = f"({conditions.where(others)}) AND NOT ({inside})"
    spans = f"SELECT 1 AS side, * FROM ({_newest(inside)}) UNION ALL SELECT 0 AS side, * FROM ({_newest(outside)})"
    [[chosen, rest]] = await crew.ask(f"SELECT countIf(side = 1), countIf(side = 0) FROM ({spans})")
    if not chosen:
        return ()
    rows = await crew.ask(_counted(spans, int(chosen), int(rest)))
    return ranked(
        [
            Share(scope, key, value, int(in_), int(chosen), int(out), int(rest))
            for scope, key, value, in_, out in rows
        ]
    )


def _newest(where: str) -> str:
    return f"""SELECT trace_id, span_id, res_id, attrs, toString(kinds) AS kinds FROM spans_v1 WHERE {where}
        ORDER BY start DESC, trace_id DESC, span_id DESC {ONCE} LIMIT {MOST_COUNTED}"""


def _counted(spans: str, chosen: int, rest: int) -> str:
    """Return a SELECT of values with their counts, without keys that are ids, the most telling first."""
    return f"""SELECT scope, key, item.1, item.2, item.3 FROM (
        SELECT scope, key, uniqExactMerge(traces) AS carriers, count() AS distinct_values,
            arrayJoin(arrayFilter(v -> v.2 * {max(1, rest)} > v.3 * {max(1, chosen)},
                groupArray((value, inside, outside)))) AS item
        FROM (
            SELECT 'span' AS scope, pair.1 AS key, pair.2 AS value, countIf(side = 1) AS inside,
                countIf(side = 0) AS outside, uniqExactState(trace_id) AS traces
            FROM ({spans}) ARRAY JOIN {_PAIRS.format(attrs="attrs", kinds="kinds")} AS pair
            GROUP BY key, value
            UNION ALL
            SELECT 'resource' AS scope, pair.1 AS key, pair.2 AS value, sum(inside), sum(outside),
                uniqExactMergeState(traces)
            FROM (
                SELECT res_id, countIf(side = 1) AS inside, countIf(side = 0) AS outside,
                    uniqExactState(trace_id) AS traces FROM ({spans}) GROUP BY res_id
            ) AS s
            INNER JOIN (
                SELECT res_id, any(attrs) AS attrs, any(kinds) AS kinds FROM resources_v1 GROUP BY res_id
            ) AS r ON s.res_id = r.res_id
            ARRAY JOIN {_PAIRS.format(attrs="r.attrs", kinds="r.kinds")} AS pair
            GROUP BY key, value
        )
        WHERE key != {literal.text(CORRELATION)}
        GROUP BY scope, key
        HAVING NOT (carriers >= {FEW_TRACES} AND 2 * distinct_values > carriers)
    )
    ORDER BY item.2 * {max(1, rest)} - item.3 * {max(1, chosen)} DESC, item.2 DESC, key, item.1, scope LIMIT {MOST_SHARES}"""
