"""Names and values of attributes, for completion.

Before it: `store`. After it: `attr_keys_v1`, and `spans_v1` for values, newest first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from controller.model.insight import AttributeKey
from controller.model.searching import Range
from controller.traces.clickhouse import conditions
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.literal import text
from controller.traces.clickhouse.searching import WINDOWS_NS

MOST_KEYS = 200
MOST_VALUES = 100
ENOUGH_S = 1.0
"""When looking for more values has taken this long, what was found is the answer."""
_NAMES = {"s": "str", "i": "int", "d": "float", "b": "bool", "B": "bytes", "a": "list", "m": "dict"}


async def keys(crew: Crew, prefix: str, service: str) -> tuple[AttributeKey, ...]:
    """Return attributes whose name begins so, by name, scope and kind."""
    of_service = f" AND service = {text(service)}" if service else ""
    rows = await crew.ask(
        f"""SELECT scope, key,
            transform(kind, {list(_NAMES)}, {list(_NAMES.values())}, '') AS said,
            arraySort(groupUniqArray(service))
        FROM attr_keys_v1 WHERE startsWith(key, {text(prefix)}){of_service} AND kind != 'n'
        GROUP BY scope, key, kind ORDER BY key, scope, said LIMIT {MOST_KEYS}"""
    )
    return tuple(AttributeKey(scope, key, kind, tuple(services)) for scope, key, kind, services in rows)


async def values(
    crew: Crew, key: str, prefix: str, service: str, now_ns: Callable[[], int] = time.time_ns
) -> tuple[str, ...]:
    """Return values that begin so, most frequent first, from as far back as there is time to look."""
    begun, newest_ns = time.monotonic(), now_ns()
    found: tuple[str, ...] = ()
    for back_ns in (*WINDOWS_NS[1:], newest_ns):
        within = Range(since_ns=max(0, newest_ns - back_ns))
        found = await _values(crew, key, prefix, service, within)
        if len(found) == MOST_VALUES or time.monotonic() - begun > ENOUGH_S:
            break
    return found


async def _values(crew: Crew, key: str, prefix: str, service: str, within: Range) -> tuple[str, ...]:
    of_service = f" AND service = {text(service)}" if service else ""
    has = f"mapContains(attrs, {text(key)})"
    letter = f"substring(kinds, indexOf(mapKeys(attrs), {text(key)}), 1)"
    own = f"if({letter} IN ('s', 'i', 'b', 'd'), [attrs[{text(key)}]], [])"
    rows = await crew.ask(
        f"""WITH (SELECT CAST((groupArray(res_id), groupArray(said)), 'Map(UInt64, Array(String))')
                FROM (SELECT res_id, any({own}) AS said FROM resources_v1 WHERE {has} GROUP BY res_id)) AS of_resource
        SELECT value, count() AS spans
        FROM (
            SELECT arrayJoin(if({has}, {own}, of_resource[res_id])) AS value
            FROM spans_v1 WHERE {conditions.time(within)}{of_service}
        )
        WHERE startsWith(value, {text(prefix)}) GROUP BY value ORDER BY spans DESC, value LIMIT {MOST_VALUES}"""
    )
    return tuple(value for value, _ in rows)
