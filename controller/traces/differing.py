"""What changed from one version of a service to another. Pure.

Before it: counters of both versions, from spans in memory or from a store. After it: `VersionDifference`. Both kinds
of store rank with this. The rules of counting, which SQL must meet too; the range is widened to whole buckets of 10 s:

* **Served**: spans of kind server and consumer of the version. What is said a request is said a served span.
* **Operations**: by name and kind, spans of every kind.
* **Errors**: spans with status error, by operation and signature (`signature_of`).
* **Calls**: spans of kind client and producer, by operation and callee: the service of the earliest span (by start, then
  span id) that enters from it (`edges`), else its peer, else "".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from controller.model.insight import CallChange, ErrorSignature, OperationChange, Red, VersionDifference
from controller.model.searching import Range
from controller.model.trace import Span, text
from controller.traces.adding import served
from controller.traces.edges import CALLERS, by_id, callers_of, peer_of
from controller.traces.tally import Tally, in_range, widened

MOST = 200
"""Rows of each part of an answer."""
LONGEST_MESSAGE = 200
"""Characters of a status message that count."""
NUMBER = "[0-9A-Za-z_-]*[0-9][0-9A-Za-z_-]*"
"""Words with a digit: numbers, ids, addresses, versions. RE2 reads it as Python does."""
Row = TypeVar("Row")


@dataclass(slots=True)
class Version:
    """Counters of one version.

    Args:
        operations: By operation and kind.
        errors: By operation and signature; how many, and the greatest trace id.
        calls: By callee and operation.
    """

    served: int = 0
    operations: dict[tuple[str, str], Tally] = field(default_factory=dict)
    errors: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    calls: dict[tuple[str, str], int] = field(default_factory=dict)


def difference(
    spans: Sequence[Span], service: str, base: str, other: str, within: Range
) -> VersionDifference:
    """Return what changed from one version to another."""
    callees = _callees(spans)
    mine = [span for span in in_range(spans, widened(within)) if span.service == service]
    versions = [_counted([span for span in mine if span.version == one], callees) for one in (base, other)]
    return ranked(service, base, other, *versions)


def signature_of(span: Span) -> str:
    """Say what failed so that failures which look alike say the same.

    `exception.type` of the first event that has one, else `error.type`; else the first 200 characters of the status
    message with every word that holds a digit as `#`, without spaces around; else "error".
    """
    for event in span.events:
        if kind := text(event.attributes, "exception.type"):
            return kind
    return text(span.attributes, "error.type") or without_numbers(span.status_message) or "error"


def without_numbers(message: str) -> str:
    """Return the begin of a message with `#` for every word that holds a digit."""
    return re.sub(NUMBER, "#", message[:LONGEST_MESSAGE]).strip(" ")


def ranked(service: str, base: str, other: str, before: Version, after: Version) -> VersionDifference:
    """Put counters side by side, most telling first; at most 200 of each.

    Operations by the change of their failed share, then of their p95, then by calls. Errors and calls by the change of
    their number per served request, then by their number. An error's exemplar is of the other version when it has any.
    """
    operations = [
        OperationChange(
            *key,
            *(side.operations[key].red() if key in side.operations else Red() for side in (before, after)),
        )
        for key in before.operations.keys() | after.operations.keys()
    ]
    none = (0, "")
    errors = [
        ErrorSignature(
            *key,
            before.errors.get(key, none)[0],
            after.errors.get(key, none)[0],
            (after.errors.get(key) or before.errors[key])[1],
        )
        for key in before.errors.keys() | after.errors.keys()
    ]
    calls = [
        CallChange(*key, before.calls.get(key, 0), before.served, after.calls.get(key, 0), after.served)
        for key in before.calls.keys() | after.calls.keys()
    ]
    per_request = _per_request(before.served, after.served)
    return VersionDifference(
        service,
        base,
        other,
        _first(operations, lambda one: (*_shift(one), one.operation, one.kind)),
        _first(
            errors,
            lambda one: (-per_request(one.base, one.other), -one.base - one.other, one.operation, one.error),
        ),
        _first(
            calls,
            lambda one: (
                -per_request(one.base_calls, one.other_calls),
                -one.base_calls - one.other_calls,
                one.callee,
                one.operation,
            ),
        ),
    )


def _first(rows: list[Row], key: Callable[[Row], tuple[float | str, ...]]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=key)[:MOST])


def _shift(one: OperationChange) -> tuple[float, int, int]:
    failed = [side.failed / side.calls if side.calls else 0.0 for side in (one.base, one.other)]
    return (
        -abs(failed[1] - failed[0]),
        -abs(one.other.p95_ns - one.base.p95_ns),
        -one.base.calls - one.other.calls,
    )


def _per_request(base_served: int, other_served: int) -> Callable[[int, int], float]:
    return lambda base, other: abs(other / max(1, other_served) - base / max(1, base_served))


def _callees(spans: Sequence[Span]) -> dict[tuple[str, str], str]:
    known = by_id(spans)
    found: dict[tuple[str, str], str] = {}
    for span in sorted(spans, key=lambda one: (one.start_ns, one.span_id)):
        for caller in callers_of(span, known):
            found.setdefault((caller.trace_id, caller.span_id), span.service)
    return found


def _counted(spans: Sequence[Span], callees: Mapping[tuple[str, str], str]) -> Version:
    operations: dict[tuple[str, str], Tally] = defaultdict(Tally)
    errors: dict[tuple[str, str], tuple[int, str]] = {}
    calls: dict[tuple[str, str], int] = defaultdict(int)
    for span in spans:
        operations[span.name, span.kind].take(span)
        if span.status == "error":
            key = (span.name, signature_of(span))
            count, trace_id = errors.get(key, (0, ""))
            errors[key] = (count + 1, max(trace_id, span.trace_id))
        if span.kind in CALLERS:
            calls[callees.get((span.trace_id, span.span_id)) or peer_of(span), span.name] += 1
    return Version(len(served(spans)), operations, errors, calls)
