"""One way from raw OTLP bodies to rows, in a process of its own: `python -m tests.bench.traces.ingesting WAY FOLDER SPANS BATCH`.

Before it: `run`. After it: a line of JSON. CPU is that of all threads of the process, and of the store until its merges
have ended; making the bodies is outside. chDB must not be imported in a process that starts others.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.model.trace import Span
from controller.traces import decoding
from controller.traces.clickhouse.store import ClickHouseTraces
from tests.bench.traces.bodies import SPANS_A_SECOND, bodies

Batch = Sequence[bytes]
COLUMNS = (
    "trace_id, span_id, parent, name, kind, service, version, start, duration, status, correlation, attrs"
)
INDEXES = ("trace_id", "correlation", "service, start", "start")


def batches(spans: int, size: int) -> Iterator[tuple[list[bytes], int]]:
    """Yield batches of about `size` spans that end now, and how many spans each holds."""
    batch: list[bytes] = []
    held = 0
    for body, count in bodies(spans, since_ns=time.time_ns() - spans * 1_000_000_000 // SPANS_A_SECOND):
        batch.append(body)
        held += count
        if held >= size:
            yield batch, held
            batch, held = [], 0
    if batch:
        yield batch, held


def parse(batch: Batch) -> None:
    """Parse only: what any way through Python costs at least."""
    for body in batch:
        ExportTraceServiceRequest.FromString(body)


def decode(batch: Batch) -> None:
    """Make values of the model."""
    for body in batch:
        for _ in decoding.spans(body):
            pass


def sqlite(folder: Path) -> Callable[[Batch], None]:
    """Decode, and insert into a table with four indexes, a transaction a batch."""
    base = sqlite3.connect(folder / "spans.sqlite")
    base.execute("PRAGMA journal_mode = WAL")
    base.execute(f"CREATE TABLE spans ({COLUMNS})")
    for number, columns in enumerate(INDEXES):
        base.execute(f"CREATE INDEX i{number} ON spans ({columns})")

    def insert(batch: Batch) -> None:
        with base:
            base.executemany(
                f"INSERT INTO spans VALUES ({', '.join('?' * 12)})",
                (_row(span) for body in batch for span in decoding.spans(body)),
            )

    return insert


def _row(span: Span) -> tuple[object, ...]:
    said = span.resource.attributes
    return (
        *(span.trace_id, span.span_id, span.parent_span_id, span.name, span.kind),
        *(
            said.get("service.name"),
            said.get("service.version"),
            span.start_ns,
            span.duration_ns,
            span.status,
        ),
        *(span.attributes.get("correlation.id"), json.dumps(span.attributes)),
    )


async def into_store(folder: Path, made: Sequence[tuple[list[bytes], int]]) -> dict[str, float]:
    """Commit batches as the receiver does."""
    store = ClickHouseTraces(folder)
    await store.size()
    begun, cpu = time.perf_counter(), time.process_time()
    for batch, _ in made:
        await store.ingest(batch)
    wall_s, committed_s = time.perf_counter() - begun, time.process_time() - cpu
    await merged(store)
    cpu_s = time.process_time() - cpu
    await store.aclose()
    return {"cpu_s": cpu_s, "committed_s": committed_s, "wall_s": wall_s}


async def merged(store: ClickHouseTraces) -> None:
    """Return when nothing is being merged."""
    quiet = 0
    while quiet < 5:
        [[running]] = await store._crew.ask("SELECT count() FROM system.merges")
        quiet = 0 if int(running) else quiet + 1
        await asyncio.sleep(0.02)


def measure(way: str, folder: Path, spans: int, size: int) -> dict[str, float]:
    """Return `cpu_s` until merges have ended, `committed_s` of CPU until the last commit, `wall_s` and `spans`."""
    made = list(batches(spans, size))
    count = sum(held for _, held in made)
    if way == "store":
        return {"spans": count, **asyncio.run(into_store(folder, made))}
    work = sqlite(folder) if way == "sqlite" else {"parse": parse, "decode": decode}[way]
    begun, cpu = time.perf_counter(), time.process_time()
    for batch, _ in made:
        work(batch)
    cpu_s = time.process_time() - cpu
    return {"spans": count, "cpu_s": cpu_s, "committed_s": cpu_s, "wall_s": time.perf_counter() - begun}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
