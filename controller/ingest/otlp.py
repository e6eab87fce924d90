"""Untrusted OTLP bodies: parsed, and cut down to what a store can keep.

Before it: the receivers (`over_http`, `over_grpc`). After it: the trace store, which gets only bodies that parse.
Nothing here waits.

What is refused whole (400): a body that is no protobuf or JSON of its signal, text that is not UTF-8, values nested
deeper than the parser goes (about 45 lists or maps), more than 10 000 resources or scopes, 100 000 spans, records or
data points, or 100 000 fields of one of them. What is left out alone and told as partial success: see `spans`, `logs` and
`points`. What is clipped, with the attribute `serinus.clipped` that names what was cut: see `clipping` and `spans`.
A body in which nothing was changed goes on byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.ingest import logs, points, spans
from controller.ingest.bodies import JSON, PROTOBUF, BodyRefused
from controller.ingest.floods import LONG, longest_part
from controller.ingest.otlp_json import to_protobuf
from controller.ingest.outcome import Outcome
from controller.model.telemetry import Signal

_REQUESTS: Mapping[Signal, tuple[type[Message], Callable[..., None]]] = {
    Signal.TRACES: (ExportTraceServiceRequest, spans.clean),
    Signal.LOGS: (ExportLogsServiceRequest, logs.clean),
    Signal.METRICS: (ExportMetricsServiceRequest, points.clean),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """One accepted body.

    Args:
        body: The export request of its signal in protobuf; b"" when nothing in it can be kept.
        items: How many spans, log records or data points it holds.
        rejected: How many were left out.
        told: Why, and what was clipped, for the sender; "" when everything was kept as it came.
        clipped: How many items, resources and scopes were cut.
    """

    body: bytes
    items: int
    rejected: int = 0
    told: str = ""
    clipped: int = 0


def accept(body: bytes, content_type: str, signal: Signal = Signal.TRACES) -> Batch:
    """Parse a body and leave out what nobody could ever find.

    Args:
        body: Unpacked.
        content_type: `PROTOBUF` or `JSON`.
        signal: What it should hold.

    Raises:
        BodyRefused: 400, it does not parse; 415, another content type.
    """
    request, clean = _REQUESTS[signal]
    if content_type == JSON:
        body = to_protobuf(body, signal, request())
    elif content_type != PROTOBUF:
        raise BodyRefused(f"content-type: expected {PROTOBUF} or {JSON}", status=415)
    closely = longest_part(body, signal) > LONG
    message: Any = request()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise BodyRefused(
            f"the body is not {request.__name__}, or holds text that is not UTF-8, or is nested too deep",
            status=400,
        ) from error
    outcome = Outcome()
    clean(message, outcome, closely=closely)
    if outcome.changed and outcome.kept:
        body = message.SerializeToString()
    return Batch(
        body if outcome.kept else b"",
        outcome.kept,
        outcome.rejected.total(),
        outcome.told(),
        outcome.clipped,
    )
