"""Spans out of the store: rows of `spans_v1` and `resources_v1` put together again as they came.

Before it: `store`. After it: `crew`, and `decoding` for values that hold values. A span that was sent twice is one span.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from controller.model.trace import (
    KINDS,
    STATUSES,
    Attributes,
    Outline,
    Resource,
    Scope,
    Span,
    SpanEvent,
    SpanLink,
    SpanOutline,
    Value,
)
from controller.traces import decoding
from controller.traces.clickhouse.connection import Row
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.literal import octets, text, trace
from controller.traces.port import MOST_SPANS

_SPAN = """lower(hex(trace_id)), lower(hex(span_id)), lower(hex(parent_span_id)), toUnixTimestamp64Nano(start),
    duration_ns, name, kind, status, status_message, trace_state, flags, mapKeys(attrs), mapValues(attrs), kinds,
    arrayMap(r -> hex(r), rest), events, links, scope, scope_rest, dropped.1, dropped.2, dropped.3, res_id"""
_SHORT = """lower(hex(trace_id)), lower(hex(span_id)), lower(hex(parent_span_id)), service, version, name, kind,
    toUnixTimestamp64Nano(start), duration_ns, status, arrayMap(l -> lower(hex(l)), link_spans),
    if(status = 2, if(error != '', error, status_message), '')"""
_ONCE = "ORDER BY start, span_id LIMIT 1 BY trace_id, span_id"
_CACHED_RESOURCES = 4_096
_SETTLE_S = 0.2


class Resources:
    """Resources by id. What an id stands for never changes, so found ones are remembered."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._known: OrderedDict[int, Resource] = OrderedDict()

    async def of(self, ids: Iterable[int]) -> dict[int, Resource]:
        """Return those that are there."""
        wanted = set(ids)
        missing = wanted - self._known.keys()
        # A batch becomes visible table by table: a span may be there a moment before its resource.
        if missing and not await self._read(missing):
            await asyncio.sleep(_SETTLE_S)
            await self._read(missing)
        found = {one: self._known[one] for one in wanted if one in self._known}
        while len(self._known) > _CACHED_RESOURCES:
            self._known.popitem(last=False)
        return found

    async def _read(self, ids: set[int]) -> bool:
        rows = await self._crew.ask(
            "SELECT res_id, mapKeys(attrs), mapValues(attrs), kinds, arrayMap(r -> hex(r), rest), schema_url, dropped "
            f"FROM resources_v1 WHERE res_id IN ({', '.join(map(str, sorted(ids)))}) LIMIT 1 BY res_id"
        )
        for number, keys, values, kinds, rest, schema_url, dropped in rows:
            self._known[number] = Resource(_attributes(keys, values, kinds, rest), schema_url, dropped)
        return len(rows) == len(ids)


async def spans(crew: Crew, resources: Resources, trace_id: str, span_id: str = "") -> tuple[Span, ...]:
    """Return the spans of a trace by start, at most 50 000; only one when it is named."""
    only = f" AND span_id = toFixedString({octets(bytes.fromhex(span_id))}, 8)" if span_id else ""
    rows = await crew.ask(
        f"SELECT {_SPAN} FROM spans_v1 WHERE trace_id = {trace(trace_id)}{only} {_ONCE} LIMIT {MOST_SPANS}"
    )
    found = await resources.of(row[-1] for row in rows)
    return await asyncio.to_thread(_made, rows, found)


async def outline(crew: Crew, trace_id: str, limit: int) -> Outline | None:
    """Return the spans of a trace without their attributes, or None."""
    found = await _outline(crew, f"trace_id = {trace(trace_id)}", limit)
    return found if found.total else None


async def timeline(crew: Crew, correlation_id: str, limit: int) -> Outline:
    """Return the spans of all traces that carry a correlation ID, without their attributes."""
    carrying = f"SELECT trace_id FROM spans_v1 WHERE correlation_id = {text(correlation_id)}"
    return await _outline(crew, f"trace_id IN ({carrying})", limit)


async def _outline(crew: Crew, condition: str, limit: int) -> Outline:
    rows = await crew.ask(f"SELECT {_SHORT} FROM spans_v1 WHERE {condition} {_ONCE} LIMIT {int(limit)}")
    total = len(rows)
    if total == limit:
        [[total]] = await crew.ask(f"SELECT uniqExact(trace_id, span_id) FROM spans_v1 WHERE {condition}")
    return Outline(tuple(map(_short, rows)), total)


def _short(row: Row) -> SpanOutline:
    trace_id, span_id, parent, service, version, name, kind, start_ns, duration_ns, status, linked, error = (
        row
    )
    return SpanOutline(
        trace_id,
        span_id,
        parent,
        service,
        version,
        name,
        KINDS[kind],
        start_ns,
        duration_ns,
        STATUSES[status],
        tuple(linked),
        error,
    )


def _made(rows: Sequence[Row], resources: dict[int, Resource]) -> tuple[Span, ...]:
    scopes: dict[tuple[str, str], Scope] = {}
    return tuple(_span(row, resources, scopes) for row in rows)


def _span(row: Row, resources: dict[int, Resource], scopes: dict[tuple[str, str], Scope]) -> Span:
    trace_id, span_id, parent, start_ns, duration_ns, name, kind, status, message, state, flags = row[:11]
    keys, values, kinds, rest, events, links, scope, scope_rest = row[11:19]
    if (scope, scope_rest) not in scopes:
        scopes[scope, scope_rest] = _scope(scope, scope_rest)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent,
        name=name,
        kind=KINDS[kind],
        start_ns=start_ns,
        duration_ns=duration_ns,
        status=STATUSES[status],
        status_message=message,
        trace_state=state,
        flags=flags,
        attributes=_attributes(keys, values, kinds, rest),
        events=tuple(_events(events)),
        links=tuple(_links(links)),
        resource=resources.get(row[22], Resource()),
        scope=scopes[scope, scope_rest],
        dropped=(row[19], row[20], row[21]),
    )


def _scope(name: str, rest: str) -> Scope:
    if not rest:
        return Scope(name)
    version, schema_url, dropped, pairs = json.loads(rest)
    return Scope(name, version, _pairs(pairs), schema_url, dropped)


def _events(found: str) -> Iterator[SpanEvent]:
    for name, at_ns, dropped, pairs in json.loads(found) if found else ():
        yield SpanEvent(name, int(at_ns), _pairs(pairs), dropped)


def _links(found: str) -> Iterator[SpanLink]:
    for trace_id, span_id, state, flags, dropped, pairs in json.loads(found) if found else ():
        yield SpanLink(trace_id.lower(), span_id.lower(), _pairs(pairs), state, flags, dropped)


def _pairs(found: Iterable[tuple[str, str, str]]) -> Attributes:
    made: dict[str, Value] = {}
    for key, letter, said in found:
        made.setdefault(key, _value(letter, said, said))
    return made


def _attributes(
    keys: Sequence[str], values: Sequence[str], kinds: str, rest: Sequence[str]
) -> dict[str, Value]:
    made: dict[str, Value] = {}
    others = iter(rest)
    for key, said, letter in zip(keys, values, kinds, strict=True):
        made.setdefault(key, _value(letter, said, next(others) if letter in "Bam" else ""))
    return made


def _value(letter: str, said: str, octets_hex: str) -> Value:
    """Return a value from its letter (`schema.KINDS`) and its text, or the hex of its bytes."""
    match letter:
        case "s":
            return said
        case "i":
            return int(said)
        case "b":
            return said == "true"
        case "d":
            return float(said)
        case "B":
            return bytes.fromhex(octets_hex)
        case "a":
            return decoding.value(AnyValue(array_value=ArrayValue.FromString(bytes.fromhex(octets_hex))))
        case "m":
            return decoding.value(AnyValue(kvlist_value=KeyValueList.FromString(bytes.fromhex(octets_hex))))
        case _:
            return None
