"""What a search asks, as SQL over `spans_v1`. Pure.

Before it: `model.searching` and `model.condition`. After it: a WHERE. It holds for exactly the spans for which
`selecting.fits` holds; a property test keeps the two together. Attributes of resources are asked of `resources_v1`,
whose rows are few, and the spans are those with one of their ids.
"""

from __future__ import annotations

import struct

from controller.model.condition import All, Any, Compare, Condition, Exists, Literal, Not, plain
from controller.model.expression import LONGEST_TEXT
from controller.model.searching import LATEST_NS, Range, Search
from controller.model.trace import KINDS, STATUSES
from controller.traces.clickhouse.literal import moment, text

_NUMBER = r"^-?[0-9]{1,18}(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?$"
_ORDERS = {"=": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def where(search: Search, within: Range | None = None) -> str:
    """Return the whole condition of a search as SQL.

    Args:
        search: What is asked.
        within: Another time than the search's own.
    """
    parts = [time(within or search.within), *_fields(search)]
    if (wanted := search.condition) is not None:
        parts.append(expression(wanted))
    return " AND ".join(parts)


def time(within: Range) -> str:
    """Return since <= start < until as SQL."""
    parts = []
    if within.since_ns > 0:
        parts.append(f"start >= {moment(within.since_ns)}")
    if within.until_ns < LATEST_NS:
        parts.append(f"start < {moment(within.until_ns)}")
    return " AND ".join(parts) or "1"


def expression(wanted: Condition) -> str:
    """Return an expression over attributes as SQL."""
    match wanted:
        case All(parts):
            return f"({' AND '.join(map(expression, parts))})"
        case Any(parts):
            return f"({' OR '.join(map(expression, parts))})"
        case Not(part):
            return f"(NOT {expression(part)})"
        case Exists(scope, key):
            return _scoped(scope, f"mapContains(attrs, {text(key)})", "1")
        case Compare(scope, key, operator, value):
            has = f"mapContains(attrs, {text(key)})"
            return _scoped(scope, has, _compares(key, operator, value))


def _fields(search: Search) -> list[str]:
    parts = [
        f"{column} = {text(asked)}"
        for column, asked in (
            ("service", search.service),
            ("version", search.version),
            ("name", search.operation),
            ("release", search.release),
            ("track", search.track),
            ("correlation_id", search.correlation_id),
        )
        if asked
    ]
    if search.kind:
        parts.append(f"kind = {KINDS.index(search.kind)}")
    if search.status:
        parts.append(f"status = {STATUSES.index(search.status)}")
    if search.min_ns:
        parts.append(f"duration_ns >= {int(search.min_ns)}")
    if search.max_ns:
        parts.append(f"duration_ns <= {int(search.max_ns)}")
    return parts


def _scoped(scope: str, has: str, compares: str) -> str:
    """Ask the span's attributes, the resource's, or the resource's where the span has none of that key."""
    of_resource = f"res_id IN (SELECT res_id FROM resources_v1 WHERE {has} AND {compares})"
    match scope:
        case "span":
            return f"({has} AND {compares})"
        case "resource":
            return f"({of_resource})"
        case _:
            return f"(({has} AND {compares}) OR (NOT {has} AND {of_resource}))"


def _compares(key: str, operator: str, value: Literal) -> str:
    """Return SQL over `attrs` and `kinds`, never NULL, of an attribute that is there."""
    found = f"attrs[{text(key)}]"
    letter = f"substring(kinds, indexOf(mapKeys(attrs), {text(key)}), 1)"
    if operator in ("=~", "!~"):
        # What RE2 does without being asked differs: in ClickHouse a dot fits a line break too.
        fits = f"match(substringUTF8({found}, 1, {LONGEST_TEXT}), {text('(?-s)' + str(value))})"
        return f"({letter} IN ('s', 'i', 'b', 'd') AND {fits if operator == '=~' else f'NOT {fits}'})"
    order = _ORDERS[operator]
    if isinstance(value, int | float) and not isinstance(value, bool):
        is_number = f"({letter} IN ('i', 'd') OR ({letter} = 's' AND match({found}, '{_NUMBER}')))"
        return f"({is_number} AND ifNull(toFloat64OrNull({found}) {order} {_float(value)}, 0))"
    return f"({letter} IN ('s', 'i', 'b', 'd') AND {found} {order} {text(plain(value))})"


def _float(value: float) -> str:
    """Say a number by its bits, so that no reading of text rounds it."""
    return f"reinterpretAsFloat64(unhex('{struct.pack('<d', float(value)).hex()}'))"
