"""Floods an OTLP/HTTP receiver with valid bodies at a rate, or as fast as it answers: `python -m tests.e2e.flooder URL MB_PER_S SECONDS`.

Prints what came of it as one line of JSON: megabytes that were sent, and answers by status.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SENDERS = 8


def body() -> bytes:
    """About a megabyte of spans as a service sends them."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "flood"
    spans = group.scope_spans.add().spans
    now = time.time_ns()
    for number in range(2_000):
        span = spans.add(
            trace_id=now.to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            name="GET /flood",
            kind="SPAN_KIND_SERVER",
            start_time_unix_nano=now,
            end_time_unix_nano=now + number,
        )
        for key in range(12):
            span.attributes.add(key=f"http.some.attribute.{key}").value.string_value = f"some value {key}"
    return made.SerializeToString()


def main() -> None:
    """Flood, and say what came of it."""
    url, rate, seconds = urlsplit(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    content, answers, lock = body(), Counter[str](), threading.Lock()
    began = time.monotonic()
    sent = 0

    def take_turn() -> float:
        """Return when the next body is due, seconds since the beginning."""
        nonlocal sent
        with lock:
            sent += 1
            return (sent - 1) * len(content) / 1e6 / rate

    def send() -> None:
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
        while (due_s := take_turn()) < seconds and time.monotonic() - began < seconds:
            time.sleep(max(0.0, began + due_s - time.monotonic()))
            try:
                connection.request("POST", "/v1/traces", content, {"Content-Type": "application/x-protobuf"})
                answer = connection.getresponse()
                answer.read()
                answers[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                answers[type(error).__name__] += 1
                connection.close()

    senders = [threading.Thread(target=send) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    took_s = time.monotonic() - began
    megabytes = sum(answers.values()) * len(content) / 1e6
    print(json.dumps({"megabytes": round(megabytes), "seconds": round(took_s, 1), "answers": answers}))


if __name__ == "__main__":
    main()
