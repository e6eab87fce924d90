"""Questions to a full store: `python -m tests.bench.traces.asking fill|ask FOLDER SPANS REPETITIONS BEGUN`.

Before it: `run`, a process each. After it: a line of JSON. `fill` commits up to 500 000 spans and multiplies them by SQL
with trace ids, correlation ids and times of their own; `ask` opens that folder as a new process does. BEGUN is when
`run` started the process, seconds since 1970.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from controller.errors import TracesUnavailable
from controller.model.searching import Page, Range, Search
from controller.traces.clickhouse.schema import COLUMNS, PARTITION_NS
from controller.traces.clickhouse.settling import settle
from controller.traces.clickhouse.store import ClickHouseTraces
from tests.bench.traces.bodies import SPANS_A_BODY, SPANS_A_SECOND, bodies
from tests.bench.traces.ingesting import batches, merged

BASE = 500_000
BATCH = 50_000
LENGTH_NS = 900 * 1_000_000_000
FILL_BYTES = 4 * 1024**3
Question = Callable[[], Awaitable[object]]


async def fill(folder: Path, spans: int) -> dict[str, float]:
    """Fill a store, and return its spans and bytes a span as it stands, and merged (not when it was multiplied)."""
    store = ClickHouseTraces(folder, memory_bytes=FILL_BYTES, deadline_s=120)
    base = min(spans, BASE)
    for batch, _ in batches(base, BATCH):
        await store.ingest(batch)
    for number in range(1, -(-spans // base)):
        await _run(store, _copy(number, base))
    await merged(store)
    while await settle(store._crew, quiet_s=0):
        pass
    standing = await _bytes_a_span(store)
    if spans <= BASE:
        await _run(store, "OPTIMIZE TABLE spans_v1 FINAL")
    found = {
        "spans": (await store.size()).spans,
        "bytes": standing,
        "merged_bytes": await _bytes_a_span(store),
    }
    await store.aclose()
    return found


async def _run(store: ClickHouseTraces, statement: str) -> None:
    await store._crew.write(lambda connection: connection.fetch(statement))


def _copy(number: int, base: int) -> str:
    back_ns = number * base * 1_000_000_000 // SPANS_A_SECOND
    others = {
        "trace_id": f"toFixedString(sipHash128(s.trace_id, {number}), 16)",
        "start": f"s.start - toIntervalNanosecond({back_ns})",
        "correlation_id": f"concat('cid-', lower(hex(sipHash64(s.correlation_id, {number}))))",
        "part": f"toUInt32(intDiv(toUnixTimestamp64Nano(s.start) - {back_ns}, {PARTITION_NS}))",
    }
    columns = ", ".join(f"{others.get(column, f's.{column}')} AS {column}" for column in COLUMNS)
    newest = "(SELECT max(start) FROM spans_v1)"
    return (
        f"INSERT INTO spans_in SELECT {columns} FROM spans_v1 AS s "
        f"WHERE s.start > {newest} - toIntervalNanosecond({base * 1_000_000_000 // SPANS_A_SECOND}) "
        "SETTINGS max_partitions_per_insert_block = 1000, min_insert_block_size_rows = 100000"
    )


async def _bytes_a_span(store: ClickHouseTraces) -> float:
    [[size, rows]] = await store._crew.ask(
        "SELECT sum(bytes_on_disk), sum(rows) FROM system.parts WHERE active AND table = 'spans_v1'"
    )
    return int(size) / max(1, int(rows))


async def ask(folder: Path, repetitions: int, begun: float) -> dict[str, object]:
    """Return seconds of every answer (`_seconds`), idle and beside 1 000 spans a second, memory and the first answer."""
    store = ClickHouseTraces(folder)
    await store.services(_last())
    first_s = time.time() - begun
    rows = await store._crew.ask(
        "SELECT lower(hex(trace_id)), correlation_id FROM spans_v1 "
        f"WHERE cityHash64(span_id) % 997 = 1 LIMIT {max(100, repetitions)}"
    )
    asked = questions(store, random.Random(3), [(str(one), str(other)) for one, other in rows])
    idle = await _timed(asked, repetitions)
    rss_mib = _rss_mib()
    ingesting = asyncio.create_task(_ingest_for_ever(store))
    await asyncio.sleep(min(2.0, repetitions / 10))
    loaded = await _timed(asked, repetitions)
    ingesting.cancel()
    with suppress(asyncio.CancelledError):
        await ingesting
    await store.aclose()
    return {
        "first_s": first_s,
        "rss_mib": rss_mib,
        "loaded_rss_mib": _rss_mib(),
        "idle": idle,
        "loaded": loaded,
    }


def questions(
    store: ClickHouseTraces, rng: random.Random, known: list[tuple[str, str]]
) -> Mapping[str, Question]:
    """Return the questions by name; each asks for something else every time."""

    async def correlated() -> object:
        cid = rng.choice(known)[1]
        return await store.search(Search(correlation_id=cid)), await store.timeline(cid)

    def slow_failures(within: Range) -> Search:
        return Search(service="payment", status="error", min_ns=5_000_000, within=within)

    return {
        "trace by id": lambda: store.get(rng.choice(known)[0]),
        "outline": lambda: store.outline(rng.choice(known)[0]),
        "correlation id": correlated,
        "search 15 min": lambda: store.search(slow_failures(_last()), Page(20)),
        "search all time": lambda: store.search(slow_failures(Range()), Page(20)),
        "map 15 min": lambda: store.service_map(_last()),
        "services 15 min": lambda: store.services(_last()),
        "rates 15 min": lambda: store.rates("payment", _last(), 10),
        "difference 15 min": lambda: store.difference("payment", "v1", "v2", _last()),
        "shares 15 min": lambda: store.shares(
            slow_failures(_last()), Search(service="payment", within=_last())
        ),
    }


def _last() -> Range:
    now = time.time_ns()
    return Range(now - LENGTH_NS, now)


async def _timed(asked: Mapping[str, Question], repetitions: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, question in asked.items():
        await _seconds(question)
        found[name] = [await _seconds(question) for _ in range(repetitions)]
    return found


async def _seconds(question: Question) -> float:
    """Return how long an answer took; infinity when there was none within the deadline."""
    begun = time.perf_counter()
    try:
        await question()
    except TracesUnavailable:
        return math.inf
    return time.perf_counter() - begun


async def _ingest_for_ever(store: ClickHouseTraces) -> None:
    made = [body for body, count in bodies(30_000, since_ns=time.time_ns(), seed=11) if count == SPANS_A_BODY]
    due = time.monotonic()
    while True:
        for body in made:
            await store.ingest([body])
            due += SPANS_A_BODY / SPANS_A_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))


def _rss_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


async def _main() -> dict[str, object]:
    what, folder, spans, repetitions, begun = sys.argv[1:]
    if what == "fill":
        return dict(await fill(Path(folder), int(spans)))
    return await ask(Path(folder), int(repetitions), float(begun))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main())))
