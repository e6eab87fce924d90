"""Counters of spans: how many, how many failed, how long they took, and a trace to look at. Pure.

Before it: spans in memory, or cells of a store's rollups. After it: `Red` and `RateRow`. Both kinds of store count and
finish with this, so that they can only differ in which spans they count.

A duration falls into the first bucket of `LADDER_NS` that is no shorter, longer ones into one more at the end. The
exemplar is the greatest trace id among failed spans; when none failed, among all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from controller.model.insight import LADDER_NS, Red, quantile_ns
from controller.model.searching import LATEST_NS, Range
from controller.model.trace import Span

STEP_NS = 10_000_000_000
"""The shortest bucket of time that is counted: 10 s."""
BUCKETS = len(LADDER_NS) + 1


@dataclass(slots=True)
class Tally:
    """Counters that grow.

    Args:
        buckets: By `LADDER_NS`, one more for longer ones.
        any_trace: The greatest trace id, "" when nothing was counted; failed_trace: of those that failed.
    """

    calls: int = 0
    failed: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    any_trace: str = ""
    failed_trace: str = ""

    def take(self, span: Span) -> None:
        """Count one span."""
        self.calls += 1
        self.buckets[bisect_left(LADDER_NS, span.duration_ns)] += 1
        self.any_trace = max(self.any_trace, span.trace_id)
        if span.status == "error":
            self.failed += 1
            self.failed_trace = max(self.failed_trace, span.trace_id)

    def merge(self, other: Tally) -> None:
        """Count everything that another one counted."""
        self.calls += other.calls
        self.failed += other.failed
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.any_trace = max(self.any_trace, other.any_trace)
        self.failed_trace = max(self.failed_trace, other.failed_trace)

    @property
    def exemplar(self) -> str:
        """Trace id to look at, "" when nothing was counted."""
        return self.failed_trace if self.failed else self.any_trace

    def red(self) -> Red:
        """Say it with quantiles."""
        p50_ns, p95_ns, p99_ns = (quantile_ns(tuple(self.buckets), share) for share in (0.5, 0.95, 0.99))
        return Red(self.calls, self.failed, p50_ns, p95_ns, p99_ns, self.exemplar)


def tally(spans: Iterable[Span]) -> Tally:
    """Count spans."""
    found = Tally()
    for span in spans:
        found.take(span)
    return found


def merged(tallies: Iterable[Tally]) -> Tally:
    """Count everything that they counted."""
    found = Tally()
    for one in tallies:
        found.merge(one)
    return found


def begin_ns(at_ns: int, step_ns: int = STEP_NS) -> int:
    """Return the begin of the bucket of time that a moment falls into; buckets are counted from 1970."""
    return at_ns - at_ns % step_ns


def widened(within: Range) -> Range:
    """Return a range of whole 10-s buckets: those that hold a moment of it. What is counted by bucket asks with it."""
    return Range(begin_ns(within.since_ns), min(LATEST_NS, begin_ns(within.until_ns - 1) + STEP_NS))


def in_range(spans: Sequence[Span], within: Range) -> list[Span]:
    """Return the spans that started in a range."""
    return [span for span in spans if within.since_ns <= span.start_ns < within.until_ns]
