"""`make bench-traces`: ingest beside other ways, through the receivers, questions to a full store; a line at the end.

Before it: the Makefile. After it: people. Each part runs in a process and a folder of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.traces.asking import BASE
from tests.bench.traces.receiving import Received, received

ASIDE = 30_000
"""Spans for the ways beside ours, which take long."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=300_000, help="in the store that is asked")
    parser.add_argument("--ingest", type=int, default=300_000, help="spans for each way in")
    parser.add_argument("--repetitions", type=int, default=30, help="of each question")
    parser.add_argument("--skip-ingest", action="store_true", help="only the questions")
    given = parser.parse_args()
    parts = [] if given.skip_ingest else [*ways(given.ingest), *receivers(given.ingest)]
    parts.append(answers(given.spans, given.repetitions))
    print("bench-traces: " + "; ".join(parts))


def ways(spans: int) -> list[str]:
    """Measure the ways in, print a line each, and return parts of the summary."""
    rates: dict[str, float] = {}
    for way, size in (
        ("store", 10_000),
        ("store", 50_000),
        *((w, 10_000) for w in ("parse", "decode", "sqlite")),
    ):
        count = spans if way == "store" else min(spans, ASIDE)
        with _folder() as folder:
            one = _child("ingesting", way, str(folder), str(count), str(size))
        name = f"{way} {size // 1000} k" if way == "store" else way
        rates[name] = one["spans"] / one["cpu_s"]
        print(
            f"{name:<12} {rates[name]:9,.0f} spans/s a core with merges, "
            f"{one['spans'] / one['committed_s']:9,.0f} until the last commit, "
            f"{one['spans'] / one['wall_s']:9,.0f} spans/s by the clock",
            flush=True,
        )
    store = f"{rates['store 10 k']:,.0f}/{rates['store 50 k']:,.0f}"
    return [
        f"spans/s a core {store} at 10 k/50 k a batch, decoded {rates['decode']:,.0f}, SQLite {rates['sqlite']:,.0f}"
    ]


def receivers(spans: int) -> list[str]:
    """Measure both receivers, print a line each, and return parts of the summary."""
    with _folder() as folder:
        *both, visible = asyncio.run(received(folder, spans))
    for name, one in zip(("OTLP/HTTP", "OTLP/gRPC"), both, strict=True):
        assert isinstance(one, Received)
        print(
            f"{name:<12} {one.quiet:9,.0f} spans/s a core with all that follows, "
            f"{one.acknowledged:9,.0f} until the last answer, {one.wall:9,.0f} spans/s by the clock",
            flush=True,
        )
    print(f"end of a span -> visible: {_middle(visible)} ms", flush=True)
    return [
        f"by HTTP {both[0].acknowledged:,.0f}, by gRPC {both[1].acknowledged:,.0f}",
        f"visible p50/p99 {_middle(visible)} ms",
    ]


def answers(spans: int, repetitions: int) -> str:
    """Fill a store and ask it, print a line a question, and return a part of the summary."""
    with _folder() as folder:
        filled = _child("asking", "fill", str(folder), str(spans), "0", str(time.time()))
        found = _child("asking", "ask", str(folder), str(spans), str(repetitions), str(time.time()))
    merged = f", {filled['merged_bytes']:.1f} merged" if spans <= BASE else ""
    print(
        f"{filled['spans']:,} spans: {filled['bytes']:.1f} bytes a span as it stands{merged}; "
        f"{found['rss_mib']:.0f} MiB idle, {found['loaded_rss_mib']:.0f} MiB after 1 000 spans/s; "
        f"process start -> first answer {1000 * found['first_s']:.0f} ms"
    )
    for name, seconds in found["idle"].items():
        print(
            f"  {name:<18} p50/p99 {_middle(seconds):>14} ms, while ingesting {_middle(found['loaded'][name]):>14} ms"
        )
    told = ", ".join(
        f"{name} {_middle(found['idle'][name])}" for name in ("trace by id", "search 15 min", "map 15 min")
    )
    return f"{filled['spans']:,} spans at {filled['bytes']:.1f} bytes, p50/p99 ms: {told}; {found['rss_mib']:.0f} MiB"


def _middle(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return "/".join(
        f"{1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))]:.1f}" for part in (0.5, 0.99)
    )


def _child(module: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.traces.{module}", *arguments], stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="srn"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
