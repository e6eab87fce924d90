"""A process that ingests until it is killed: `python -m tests.controller.traces.clickhouse.writing FOLDER FIRST`.

It prints the number of each batch after the store has said that it is kept. Batch n is the trace with id n, of 200 spans.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.traces.clickhouse.store import ClickHouseTraces

SPANS = 200


def batch(number: int) -> bytes:
    """Return the body of one batch."""
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "writer"
    spans = group.scope_spans.add().spans
    now = time.time_ns()
    for which in range(SPANS):
        span = spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=(number * SPANS + which).to_bytes(8, "big"),
            name="write",
            start_time_unix_nano=now,
            end_time_unix_nano=now + 1_000,
        )
        span.attributes.add(key="number").value.int_value = number
    return message.SerializeToString()


async def main(folder: Path, number: int) -> None:
    """Ingest for ever."""
    store = ClickHouseTraces(folder)
    while True:
        await store.ingest([batch(number)])
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
