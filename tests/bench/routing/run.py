"""`make bench-routing`: shifts idle and under load, cost and scale, as a table, and in one line at the end.

Before it: the Makefile. After it: people; `shifts` and `cost` say what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.routing.cost import Cost, Scale, cost, scale
from tests.bench.routing.shifts import Outcome, measure


def main() -> None:
    """Run both series and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shifts", type=int, default=200)
    parser.add_argument("--gap-ms", type=float, default=100)
    parser.add_argument("--rate", type=float, default=1_000, help="requests a second of our own generator")
    parser.add_argument(
        "--requests", type=int, default=8_000, help="a round, for each listener, to measure its cost"
    )
    parser.add_argument("--services", type=int, nargs="*", default=[1, 100, 1_000, 5_000])
    given = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    for name, rate in (("idle", 0.0), ("loaded", given.rate)):
        with _folder() as folder:
            series = measure(folder, shifts=given.shifts, gap_s=given.gap_ms / 1000, rate=rate)
            outcomes[name] = asyncio.run(series)
        print("\n".join(rows(name, outcomes[name])), flush=True)
    with _folder() as folder:
        costs = asyncio.run(cost(folder, requests=given.requests))
    print(cost_row(costs), flush=True)
    scales = []
    for services in given.services:
        with _folder() as folder:
            scales.append(asyncio.run(scale(folder, services=services)))
        print(scale_row(scales[-1]), flush=True)
    print(one_line(outcomes, given.shifts, costs, scales))


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="srn"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def cost_row(costs: Cost) -> str:
    """Return the line about Envoy's CPU."""
    return (
        f"cost: Envoy {costs.plain:.0f} us a request plain, {costs.ours:.0f} ours (x {costs.ratio:.2f}), "
        f"{costs.shared:.0f} with a canary at 10 % (x {costs.shared_ratio:.2f})"
    )


def scale_row(one: Scale) -> str:
    """Return the line about one number of services."""
    return (
        f"{one.services} services, {one.leases} leases: acknowledged p50/p95 {_middle(one.begun_s)} ms at a release's "
        f"begin, {_middle(one.stepped_s)} ms at a step; {one.size} bytes, {1000 * one.cpu_s:.1f} ms of Python CPU for "
        f"both; reading counts takes {one.read_part:.0%} of a core; Envoy {one.memory / 2**20:.0f} MiB; all declared in "
        f"{one.declared_s:.1f} s"
    )


def _middle(values_s: Sequence[float]) -> str:
    return "/".join(f"{1000 * percentile(values_s, part):.1f}" for part in (0.5, 0.95))


def one_line(
    outcomes: dict[str, Outcome], shifts: int, costs: Cost | None = None, scales: Sequence[Scale] = ()
) -> str:
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
    if costs is not None:
        parts.append(f"edge CPU x {costs.ratio:.2f} of a plain listener")
    if scales:
        most = scales[-1]
        parts.append(
            f"{most.services} services: begin p50/p95 {_middle(most.begun_s)} ms, step {_middle(most.stepped_s)} ms"
        )
    return "; ".join(parts)


if __name__ == "__main__":
    main()
