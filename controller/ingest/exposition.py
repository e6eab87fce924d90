"""Counters and histograms as Prometheus reads them: its text format, and OpenMetrics with exemplars. Pure.

Before it: `series`. After it: /metrics. prometheus_client writes the same five times slower, and 1 000 label sets with
histograms would then cost most of a second a scrape.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from controller.model.insight import LADDER_NS

SECOND_NS = 10**9
_PLACES = (*range(7, len(LADDER_NS) - 1, 8), len(LADDER_NS) - 1)
_BOUNDS = tuple(f"{LADDER_NS[place] / SECOND_NS:.6g}" for place in _PLACES)
"""Every eighth bound of the store's ladder (each 2.1 times the one before), seconds: 141 buckets would be too many."""
_MIDDLES_S = tuple(
    (low + high) / 2 / SECOND_NS
    for low, high in zip((0, *LADDER_NS), (*LADDER_NS, LADDER_NS[-1]), strict=True)
)
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Row:
    """One counter.

    Args:
        values: Of the labels, in their order.
        number: How much was counted.
        trace_id: Of one of them, "" when none is known.
        at_ns: When that was, nanoseconds since 1970.
    """

    values: Sequence[str]
    number: int
    trace_id: str = ""
    at_ns: int = 0


def counter(
    name: str, about: str, labels: Sequence[str], rows: Iterable[Row], *, is_open: bool
) -> Iterator[str]:
    """Write a family of counters.

    Args:
        name: Without `_total`.
        about: One sentence.
        labels: Names.
        rows: The counters.
        is_open: As OpenMetrics, with exemplars.
    """
    family = name if is_open else f"{name}_total"
    yield f"# HELP {family} {about}\n# TYPE {family} counter\n"
    for row in rows:
        exemplar = f' # {{trace_id="{row.trace_id}"}} 1.0 {row.at_ns / SECOND_NS:.3f}' if row.trace_id else ""
        yield f"{name}_total{{{_pairs(labels, row.values)}}} {row.number}{exemplar if is_open else ''}\n"


def histogram(
    name: str, about: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], tuple[int, ...]]]
) -> Iterator[str]:
    """Write a family of histograms of seconds, alike in both formats.

    The sum is of the middles of the store's buckets, so within 5 %.

    Args:
        name: Without a suffix.
        about: One sentence.
        labels: Names.
        rows: Values of the labels, and counts by `LADDER_NS`.
    """
    yield f"# HELP {name} {about}\n# TYPE {name} histogram\n"
    for values, counts in rows:
        pairs, below = _pairs(labels, values), list(accumulate(counts))
        total_s = sum(number * middle for number, middle in zip(counts, _MIDDLES_S, strict=True) if number)
        yield "".join(
            f'{name}_bucket{{{pairs},le="{bound}"}} {below[place]}\n'
            for place, bound in zip(_PLACES, _BOUNDS, strict=True)
        )
        yield (
            f'{name}_bucket{{{pairs},le="+Inf"}} {below[-1]}\n'
            f"{name}_count{{{pairs}}} {below[-1]}\n{name}_sum{{{pairs}}} {total_s:.9g}\n"
        )


def gauge(name: str, about: str, number: float) -> str:
    """Write one gauge without labels."""
    return f"# HELP {name} {about}\n# TYPE {name} gauge\n{name} {number:.3f}\n"


def _pairs(labels: Sequence[str], values: Sequence[str]) -> str:
    return ",".join(
        f'{label}="{value.translate(_ESCAPES)}"' for label, value in zip(labels, values, strict=True)
    )
