"""Which attribute values are more frequent among selected spans than among others. Pure.

Before it: the memory store. After it: `Share`s. The rules, which SQL must meet too:

* Selected are the newest 100 000 spans (by start, then trace id, then span id) that fit the first search; others are
  the newest 100 000 that fit the second and not the first.
* Counted are scalar attributes of span and resource, as `condition.plain` says them; values longer than 256 characters
  are left out.
* Left out are ids: `correlation.id`; and a key that at least 10 traces carry (selected and others together, counted
  values only) when it has more than half as many values as traces.
* A value is in the answer when its share among the selected is larger than among the others. Largest difference of
  shares first, then most selected, then by key, value and scope; at most 200.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from controller.model.insight import Share
from controller.model.searching import Search
from controller.model.trace import CORRELATION, Span
from controller.traces import selecting
from controller.traces.adding import scalar

MOST_SHARES = 200
MOST_COUNTED = 100_000
LONGEST_VALUE = 256
FEW_TRACES = 10
Key = tuple[str, str]
Value = tuple[str, str, str]
"""Scope, key, value."""


def shares(spans: Sequence[Span], selected: Search, others: Search) -> tuple[Share, ...]:
    """Count attribute values among selected spans and among others."""
    newest = sorted(spans, key=lambda one: (one.start_ns, one.trace_id, one.span_id), reverse=True)
    inside = [span for span in newest if selecting.fits(selected, span)]
    outside = [span for span in newest if selecting.fits(others, span) and not selecting.fits(selected, span)]
    sides = (inside[:MOST_COUNTED], outside[:MOST_COUNTED])
    counts: dict[Value, list[int]] = defaultdict(lambda: [0, 0])
    traces: dict[Key, set[str]] = defaultdict(set)
    for index, side in enumerate(sides):
        for span in side:
            for value in _values(span):
                counts[value][index] += 1
                traces[value[:2]].add(span.trace_id)
    ids = _ids(counts, {key: len(carriers) for key, carriers in traces.items()})
    found = [
        Share(*value, in_, len(sides[0]), out, len(sides[1]))
        for value, (in_, out) in counts.items()
        if value[:2] not in ids
    ]
    return ranked(found)


def ranked(found: Sequence[Share]) -> tuple[Share, ...]:
    """Return those that are more frequent among the selected, largest difference first, at most 200."""
    telling = [one for one in found if difference(one) > 0]
    telling.sort(key=lambda one: (-difference(one), -one.inside, one.key, one.value, one.scope))
    return tuple(telling[:MOST_SHARES])


def difference(one: Share) -> int:
    """Return the difference of the shares, times both numbers of spans: exact, and the same order within one answer."""
    return one.inside * max(1, one.others) - one.outside * max(1, one.selected)


def _ids(counts: Mapping[Value, object], traces: Mapping[Key, int]) -> set[Key]:
    distinct: dict[Key, int] = defaultdict(int)
    for scope, key, _ in counts:
        distinct[scope, key] += 1
    return {
        key
        for key, number in distinct.items()
        if key[1] == CORRELATION or (traces[key] >= FEW_TRACES and 2 * number > traces[key])
    }


def _values(span: Span) -> list[Value]:
    return [
        (scope, key, said)
        for scope, attributes in (("span", span.attributes), ("resource", span.resource.attributes))
        for key, value in attributes.items()
        if (said := scalar(value)) is not None and len(said) <= LONGEST_VALUE
    ]
