"""What Jaeger's third query API answers: spans as OTLP in JSON, and short forms of traces. Pure.

Before it: `routes` with values of the trace store. After it: JSON. Ids are hex and enumerations numbers, as OTLP says, where
protobuf's own JSON has base64 and names.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.api.jaeger import v1
from controller.model.insight import Edge
from controller.model.trace import Outline, Span, TraceSummary
from controller.traces import decoding

_IDS = ("traceId", "spanId", "parentSpanId")


def spans(found: Iterable[Span]) -> dict[str, Any]:
    """Return spans of one or several traces."""
    message = ExportTraceServiceRequest.FromString(decoding.encode(found))
    tree = MessageToDict(message, use_integers_for_enums=True)
    for group in tree.get("resourceSpans", ()):
        for part in group.get("scopeSpans", ()):
            for span in part.get("spans", ()):
                for holder in (span, *span.get("links", ())):
                    _ids_to_hex(holder)
    return {"result": {"resourceSpans": tree.get("resourceSpans", [])}}


def summary(found: TraceSummary, outline: Outline | None) -> dict[str, Any]:
    """Return one line about a trace.

    Args:
        found: From a search.
        outline: Its spans, for the counts by service; None when they are gone meanwhile.
    """
    shown = outline.spans if outline is not None else ()
    known = {span.span_id for span in shown}
    orphans = sum(bool(span.parent_span_id) and span.parent_span_id not in known for span in shown)
    services: dict[str, list[int]] = {name: [0, 0] for name in found.services}
    for span in shown:
        counts = services.setdefault(span.service, [0, 0])
        counts[0] += 1
        counts[1] += span.status == "error"
    return {
        "traceId": found.trace_id,
        "rootServiceName": found.root_service,
        "rootOperationName": found.root_name,
        "minStartTimeUnixNano": str(found.start_ns),
        "maxEndTimeUnixNano": str(found.start_ns + found.duration_ns),
        "spanCount": found.spans,
        "errorSpanCount": found.failed,
        "orphanSpanCount": orphans,
        "services": [
            {"name": name, "spanCount": total, "errorSpanCount": failed}
            for name, (total, failed) in sorted(services.items())
        ],
    }


def dependencies(edges: Iterable[Edge]) -> list[dict[str, Any]]:
    """Return who called whom how often, all versions together; large numbers are text in protobuf's JSON."""
    return [{**one, "callCount": str(one["callCount"]), "source": "traces"} for one in v1.dependencies(edges)]


def error(code: int, message: str) -> dict[str, Any]:
    """Say what is wrong."""
    return {"error": {"httpCode": code, "message": message}}


def _ids_to_hex(holder: dict[str, Any]) -> None:
    for name in _IDS:
        if name in holder:
            holder[name] = base64.b64decode(holder[name]).hex()
