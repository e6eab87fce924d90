"""OTLP/JSON to protobuf: ids in hex, numbers in text, unknown fields ignored.

Before it: `otlp`. After it: the same way that protobuf bodies go. The slow way: about thirty times the work.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from controller.ingest.bodies import BodyRefused
from controller.model.telemetry import Signal

_DEEPEST = 40
"""Messages within messages; the same bound that the protobuf parser keeps for AnyValue in AnyValue, about."""
_PARTS: Mapping[Signal, tuple[tuple[str, str], ...]] = {
    Signal.TRACES: (("resourceSpans", "resource_spans"), ("scopeSpans", "scope_spans"), ("spans", "")),
    Signal.LOGS: (
        ("resourceLogs", "resource_logs"),
        ("scopeLogs", "scope_logs"),
        ("logRecords", "log_records"),
    ),
    Signal.METRICS: (
        ("resourceMetrics", "resource_metrics"),
        ("scopeMetrics", "scope_metrics"),
        ("metrics", ""),
    ),
}
_DATA = ("gauge", "sum", "histogram", "exponentialHistogram", "exponential_histogram")
_IDS = ("traceId", "trace_id", "spanId", "span_id", "parentSpanId", "parent_span_id")


def to_protobuf(body: bytes, signal: Signal, message: Message) -> bytes:
    """Return a body as protobuf.

    Args:
        body: JSON.
        signal: What it should hold.
        message: An empty request of that signal; filled.

    Raises:
        BodyRefused: 400, it does not parse.
    """
    try:
        tree = json.loads(body)
        if not isinstance(tree, dict):
            raise ValueError("expected an object")
        for holder in _with_ids(tree, signal):
            _ids_to_base64(holder)
        ParseDict(tree, message, ignore_unknown_fields=True, max_recursion_depth=_DEEPEST)
        return message.SerializeToString()
    except (ParseError, ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise BodyRefused(f"the body is not OTLP {signal.value} in JSON", status=400) from error


def _with_ids(tree: dict[str, Any], signal: Signal) -> Iterator[dict[str, Any]]:
    found = [tree]
    for names in _PARTS[signal]:
        found = [part for holder in found for part in _objects(holder, *names)]
    for part in found:
        yield part
        yield from _objects(part, "links")
        for data in (part.get(name) for name in _DATA):
            if isinstance(data, dict):
                for point in _objects(data, "dataPoints", "data_points"):
                    yield from _objects(point, "exemplars")


def _objects(holder: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in names:
        value = holder.get(name)
        if value is not None and not isinstance(value, list):
            raise ValueError(f"{name}: expected a list")
        for item in value or ():
            if not isinstance(item, dict):
                raise ValueError(f"{name}: expected objects")
            found.append(item)
    return found


def _ids_to_base64(holder: dict[str, Any]) -> None:
    """OTLP/JSON writes ids in hex, where protobuf's own JSON has base64."""
    for name in _IDS:
        if holder.get(name) is not None:
            holder[name] = base64.b64encode(bytes.fromhex(holder[name])).decode()
