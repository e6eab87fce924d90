"""Services, operations, rates and attributes, added up from the spans themselves. Pure.

Before it: the memory store, which hands over every span once. After it: the values of `model.insight`. The rules below
are the specification: stores that speak SQL say the same from rollups, and the contract suite holds them against this.
`edges`, `differing` and `sharing` hold the rest.

What rollups answer (services, operations, maps, differences) counts whole buckets of 10 s: a range is widened to the
buckets that hold a moment of it. Names sort by code point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from controller.errors import InvalidInput
from controller.model import condition
from controller.model.insight import AttributeKey, OperationRow, RateRow, ServiceRow
from controller.model.searching import Range
from controller.model.trace import RELEASE, Attributes, Span, Value, text
from controller.traces.tally import Tally, begin_ns, in_range, tally, widened

SERVED = ("server", "consumer")
"""Kinds of spans with which a service serves; all counts of requests are theirs."""
MOST_OPERATIONS = 5_000
MOST_CELLS = 50_000
"""Rows of one answer about rates: about 25 MB as JSON."""
MOST_KEYS = 200
MOST_VALUES = 100
_NAMES: dict[type, str] = {
    bool: "bool",
    str: "str",
    int: "int",
    float: "float",
    bytes: "bytes",
    list: "list",
    dict: "dict",
}


def services(spans: Sequence[Span], within: Range) -> tuple[ServiceRow, ...]:
    """Return every version of every service with a span in the widened range, by name and version.

    Counts are of its spans of kind server and consumer; of all its spans when there are none of these.
    `last_seen_ns` is the latest start of any of its spans in the range.
    """
    found: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in in_range(spans, widened(within)):
        found[span.service, span.version].append(span)
    return tuple(
        ServiceRow(
            service,
            version,
            tally(served(mine) or mine).red(),
            max(span.start_ns for span in mine),
        )
        for (service, version), mine in sorted(found.items())
    )


def served(spans: Sequence[Span]) -> list[Span]:
    """Return those with which a service served somebody."""
    return [span for span in spans if span.kind in SERVED]


def operations(spans: Sequence[Span], service: str, within: Range) -> tuple[OperationRow, ...]:
    """Return the operations of a service in the widened range by version and kind, spans of every kind.

    Most calls first, then by operation, version and kind; at most 5 000.
    """
    found: dict[tuple[str, str, str], Tally] = defaultdict(Tally)
    for span in in_range(spans, widened(within)):
        if span.service == service:
            found[span.name, span.version, span.kind].take(span)
    ordered = sorted(found.items(), key=lambda one: (-one[1].calls, one[0]))
    return tuple(
        OperationRow(service, version, name, kind, counted.red())
        for (name, version, kind), counted in ordered[:MOST_OPERATIONS]
    )


def rates(spans: Sequence[Span], service: str, within: Range, every_s: int) -> tuple[RateRow, ...]:
    """Return counters of spans of kind server and consumer per bucket of time that begins in the range.

    A cell is one bucket, service, version, operation, kind and release (`release.id` of the span when it is text);
    they come in this order. Buckets are counted from 1970.

    Raises:
        InvalidInput: `every_s` is not 10 or a multiple; there are more than 50 000 cells.
    """
    step_ns = check_step(every_s) * 1_000_000_000
    found: dict[tuple[int, str, str, str, str, str], Tally] = defaultdict(Tally)
    for span in served(spans):
        at_ns = begin_ns(span.start_ns, step_ns)
        if within.since_ns <= at_ns < within.until_ns and service in ("", span.service):
            release = text(span.attributes, RELEASE)
            found[at_ns, span.service, span.version, span.name, span.kind, release].take(span)
    check_cells(len(found))
    return tuple(
        RateRow(*cell, counted.calls, counted.failed, tuple(counted.buckets), counted.exemplar)
        for cell, counted in sorted(found.items())
    )


def check_step(every_s: int) -> int:
    """Return the length of a bucket.

    Raises:
        InvalidInput: It is not 10 s or a multiple of it, up to a day.
    """
    if not 10 <= every_s <= 86_400 or every_s % 10:
        raise InvalidInput("expected 10 or a multiple of it, at most 86400 seconds", field="every_s")
    return every_s


def check_cells(cells: int) -> None:
    """Refuse an answer that is too large.

    Raises:
        InvalidInput: More than 50 000 cells.
    """
    if cells > MOST_CELLS:
        raise InvalidInput(
            f"more than {MOST_CELLS} cells; ask for one service, a shorter time or longer buckets",
            field="within",
        )


def keys(spans: Sequence[Span], prefix: str, service: str) -> tuple[AttributeKey, ...]:
    """Return attributes whose name begins so, by name, scope and kind; at most 200.

    One that occurs with values of two kinds is there twice; a value that was not set counts as none. `services` are all
    that carry it, or only the one asked for, sorted.
    """
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for span in spans:
        if service in ("", span.service):
            for scope, key, value in _pairs(span):
                if key.startswith(prefix) and value is not None:
                    found[key, scope, _NAMES[type(value)]].add(span.service)
    return tuple(
        AttributeKey(scope, key, kind, tuple(sorted(carriers)))
        for (key, scope, kind), carriers in sorted(found.items())[:MOST_KEYS]
    )


def values(spans: Sequence[Span], key: str, prefix: str, service: str) -> tuple[str, ...]:
    """Return the values of an attribute that begin so, as `condition.plain` says them.

    Each span counts once: its own attribute, or its resource's when it has none of that name. Lists, maps, bytes and
    values that were not set are left out. Most frequent first, then by text; at most 100.
    """
    found: dict[str, int] = defaultdict(int)
    for span in spans:
        if service in ("", span.service):
            said = scalar(
                span.attributes.get(key) if key in span.attributes else span.resource.attributes.get(key)
            )
            if said is not None and said.startswith(prefix):
                found[said] += 1
    return tuple(sorted(found, key=lambda value: (-found[value], value))[:MOST_VALUES])


def scalar(value: Value) -> str | None:
    """Say a scalar as `condition.plain` does; None for anything else."""
    return None if value is None or isinstance(value, list | dict | bytes) else condition.plain(value)


def _pairs(span: Span) -> Iterator[tuple[str, str, Value]]:
    scopes: tuple[tuple[str, Attributes], ...] = (
        ("span", span.attributes),
        ("resource", span.resource.attributes),
    )
    for scope, attributes in scopes:
        for key, value in attributes.items():
            yield scope, key, value
