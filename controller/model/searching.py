"""What people ask a trace store: which spans, in which time, how many.

Before it: the API, the terminal and the use cases. After it: a trace store, which answers with `model.trace` and
`model.insight`. All conditions of a search hold for one and the same span; a trace is found when one of its spans fits.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.errors import InvalidInput
from controller.model.condition import Condition, parse
from controller.model.trace import KINDS, STATUSES

MOST_TRACES = 200
LATEST_NS = 2**63 - 1
"""Nanoseconds since 1970 in the year 2262: no store keeps a later time."""
LONGEST_TEXT = 1024


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time, nanoseconds since 1970: since <= start of a span < until."""

    since_ns: int = 0
    until_ns: int = LATEST_NS

    def __post_init__(self) -> None:
        if not 0 <= self.since_ns <= LATEST_NS:
            raise InvalidInput("expected nanoseconds since 1970", field="since")
        if not self.since_ns < self.until_ns <= LATEST_NS:
            raise InvalidInput("expected a moment after `since`, in nanoseconds since 1970", field="until")


@dataclass(frozen=True, slots=True)
class Search:
    """Which spans; empty fields ask nothing.

    Args:
        operation: The span's name, exactly.
        kind: One of `KINDS`.
        status: One of `STATUSES`.
        min_ns: Shortest duration, nanoseconds.
        max_ns: Longest duration, nanoseconds; 0 for any.
        release: `release.id` that the span carries.
        track: stable or canary, as the span carries it (a caller may have set it; arms are told apart by version).
        where: An expression over attributes (`model.condition`).
        within: The time in which the span started.
    """

    service: str = ""
    version: str = ""
    operation: str = ""
    kind: str = ""
    status: str = ""
    min_ns: int = 0
    max_ns: int = 0
    release: str = ""
    track: str = ""
    correlation_id: str = ""
    where: str = ""
    within: Range = Range()

    def __post_init__(self) -> None:
        for name in ("service", "version", "operation", "release", "track", "correlation_id"):
            if len(getattr(self, name)) > LONGEST_TEXT:
                raise InvalidInput(f"expected at most {LONGEST_TEXT} characters", field=name)
        _one_of(self.kind, KINDS, "kind")
        _one_of(self.status, STATUSES, "status")
        if not 0 <= self.min_ns <= LATEST_NS or not 0 <= self.max_ns <= LATEST_NS:
            raise InvalidInput("expected nanoseconds, 0 or more", field="min_ns or max_ns")
        if self.max_ns and self.max_ns < self.min_ns:
            raise InvalidInput("expected no less than the shortest duration", field="max_ns")
        if self.where:
            parse(self.where)

    @property
    def condition(self) -> Condition | None:
        """The parsed expression, None when there is none."""
        return parse(self.where) if self.where else None


@dataclass(frozen=True, slots=True)
class Page:
    """How many traces, and after which.

    Args:
        limit: 1 to 200.
        cursor: `TracePage.cursor` of the answer before, "" for the newest.
    """

    limit: int = 20
    cursor: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MOST_TRACES:
            raise InvalidInput(f"expected 1 to {MOST_TRACES}", field="limit")
        if len(self.cursor) > LONGEST_TEXT:
            raise InvalidInput("expected a cursor of an earlier answer", field="cursor")


def _one_of(value: str, known: tuple[str, ...], name: str) -> None:
    if value and value not in known:
        raise InvalidInput(f"expected one of {', '.join(known)}", field=name)
