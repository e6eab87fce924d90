"""`make bench-routing`: shifts idle and under load, as a table, and in one line at the end.

Before it: the Makefile. After it: people; `shifts` says what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.routing.shifts import Outcome, measure


def main() -> None:
    """Run both series and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shifts", type=int, default=200)
    parser.add_argument("--gap-ms", type=float, default=100)
    parser.add_argument("--rate", type=float, default=1_000, help="requests a second of our own generator")
    given = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    for name, rate in (("idle", 0.0), ("loaded", given.rate)):
        folder = Path(tempfile.mkdtemp(prefix="srn"))
        try:
            series = measure(folder, shifts=given.shifts, gap_s=given.gap_ms / 1000, rate=rate)
            outcomes[name] = asyncio.run(series)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print("\n".join(rows(name, outcomes[name])), flush=True)
    print(one_line(outcomes, given.shifts))


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that `part` of the values do not pass; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def rows(name: str, outcome: Outcome) -> list[str]:
    """Return the lines of one series, milliseconds."""
    parts = (
        ("call -> first request on the new side", outcome.first),
        ("call -> last request started on the old side", outcome.last),
        ("call -> answer of the keeper", outcome.call),
    )
    lines = [
        f"{name}: {outcome.requests} requests, {outcome.failed} failed, {outcome.unseen} shifts not seen by a probe"
    ]
    for what, values in parts:
        p50, p99, worst = (1000 * percentile(values, part) for part in (0.5, 0.99, 1.0))
        lines.append(f"  {what:<46} p50 {p50:8.1f}  p99 {p99:8.1f}  max {worst:8.1f} ms")
    return lines


def one_line(outcomes: dict[str, Outcome], shifts: int) -> str:
    """Return the summary."""
    failed = sum(outcome.failed for outcome in outcomes.values())
    requests = sum(outcome.requests for outcome in outcomes.values())
    parts = [f"bench-routing: shifts {shifts} x {len(outcomes)}; failed requests {failed} of {requests}"]
    for name, outcome in outcomes.items():
        first, last = (
            "/".join(f"{1000 * percentile(values, part):.1f}" for part in (0.5, 0.99))
            for values in (outcome.first, outcome.last)
        )
        parts.append(f"{name} new p50/p99 {first} ms, old {last} ms")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
