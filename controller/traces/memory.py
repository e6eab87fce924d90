"""Trace store in memory: keeps the newest raw bodies and decodes them when somebody asks.

Before it: `controller.ingest`, which has validated the bodies. After it: the answers of `controller.ingest`'s read side.
Nothing is indexed: a search first looks for the bytes of the id in the raw bodies (64 MiB in tens of milliseconds) and
parses only bodies that hold them. A body costs its own size and nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from controller.errors import InvalidInput, TracesUnavailable
from controller.model.trace import Scalar, Span, SpanEvent, Trace, TraceSummary
from controller.traces.port import TraceCapabilities, TraceStore

CORRELATION_KEY = "correlation.id"
_KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_FEW = 8
"""Up to this many trace ids, looking for each one's bytes is cheaper than parsing every body."""


class _Found(NamedTuple):
    """A span as it came, with the resource it came under."""

    resource: Resource
    span: WireSpan


class MemoryTraces(TraceStore):
    """Keeps the newest bodies up to a number of bytes.

    Args:
        keep_bytes: When the bodies are larger together, the oldest are dropped and counted.
    """

    def __init__(self, keep_bytes: int = 64 * 1024 * 1024) -> None:
        self._keep_bytes = keep_bytes
        self._bodies: deque[bytes] = deque()
        self._held_bytes = 0
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many bodies were dropped to make room, since the start."""
        return self._dropped

    @property
    def held_bytes(self) -> int:
        """The size of all bodies kept now, bytes."""
        return self._held_bytes

    async def ingest(self, bodies: Sequence[bytes]) -> None:
        """Keep bodies. Never blocks.

        Raises:
            TracesUnavailable: Together they are larger than the whole store; nothing was kept.
        """
        size = sum(map(len, bodies))
        if size > self._keep_bytes:
            raise TracesUnavailable(
                f"a batch of {size} bytes is larger than the store of {self._keep_bytes} bytes"
            )
        self._bodies.extend(bodies)
        self._held_bytes += size
        while self._held_bytes > self._keep_bytes:
            self._held_bytes -= len(self._bodies.popleft())
            self._dropped += 1

    async def find(self, *, correlation_id: str, limit: int = 20) -> tuple[TraceSummary, ...]:
        """Return the traces of a correlation ID that came last, newest start first. Works on a thread.

        Raises:
            InvalidInput: The limit is not 1 to 200.
        """
        if not 1 <= limit <= 200:
            raise InvalidInput("expected 1 to 200", field="limit")
        return await asyncio.to_thread(_find, tuple(self._bodies), correlation_id, limit)

    async def get(self, trace_id: str) -> Trace | None:
        """Return a trace, or None when the id is not known (or is none). Works on a thread."""
        key = _key(trace_id)
        if key is None:
            return None
        found = await asyncio.to_thread(_spans, tuple(self._bodies), {key})
        if key not in found:
            return None
        spans = sorted((_decode(one) for one in found[key]), key=lambda span: (span.start_ns, span.span_id))
        return Trace(trace_id, tuple(spans))

    def capabilities(self) -> TraceCapabilities:
        """Takes bodies, and forgets them with the process."""
        return TraceCapabilities(is_durable=False, can_ingest=True)


def _key(trace_id: str) -> bytes | None:
    try:
        key = bytes.fromhex(trace_id)
    except ValueError:
        return None
    return key if len(key) == 16 and key.hex() == trace_id else None


def _find(bodies: Sequence[bytes], correlation_id: str, limit: int) -> tuple[TraceSummary, ...]:
    text = correlation_id.encode()
    # As it stands on the wire: a string value (field 1) of this length.
    needle = b"\x0a" + _varint(len(text)) + text
    keys: dict[bytes, None] = {}
    for body in reversed(bodies):
        if len(keys) >= limit:
            break
        if needle in body:
            for one in _walk(body):
                if _correlation(one.span) == correlation_id:
                    keys[one.span.trace_id] = None
    found = _spans(bodies, keys.keys())
    summaries = [_summary(key.hex(), spans, correlation_id) for key, spans in found.items()]
    return tuple(sorted(summaries, key=lambda summary: summary.start_ns, reverse=True)[:limit])


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _walk(body: bytes) -> Iterator[_Found]:
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _Found(resource_spans.resource, span)


def _spans(bodies: Sequence[bytes], keys: Iterable[bytes]) -> dict[bytes, list[_Found]]:
    """Return every known span of each trace; a span that was sent twice (a retry) counts once."""
    wanted = set(keys)
    found: dict[bytes, dict[bytes, _Found]] = {}
    for body in bodies if wanted else ():
        if len(wanted) <= _FEW and not any(key in body for key in wanted):
            continue
        for one in _walk(body):
            if (key := one.span.trace_id) in wanted:
                found.setdefault(key, {}).setdefault(one.span.span_id, one)
    return {key: list(spans.values()) for key, spans in found.items()}


def _correlation(span: WireSpan) -> str:
    for attribute in span.attributes:
        if attribute.key == CORRELATION_KEY:
            return attribute.value.string_value
    return ""


def _summary(trace_id: str, found: Sequence[_Found], correlation_id: str) -> TraceSummary:
    root = min(found, key=lambda one: (bool(one.span.parent_span_id), one.span.start_time_unix_nano))
    start_ns = min(one.span.start_time_unix_nano for one in found)
    end_ns = max(one.span.end_time_unix_nano for one in found)
    return TraceSummary(
        trace_id=trace_id,
        root_service=_text(root.resource.attributes, "service.name"),
        root_name=root.span.name,
        start_ns=start_ns,
        duration_ns=max(0, end_ns - start_ns),
        spans=len(found),
        failed=sum(one.span.status.code == Status.STATUS_CODE_ERROR for one in found),
        correlation_id=correlation_id,
    )


def _text(attributes: Iterable[KeyValue], key: str) -> str:
    return next((found.value.string_value for found in attributes if found.key == key), "")


def _decode(one: _Found) -> Span:
    span = one.span
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        service=_text(one.resource.attributes, "service.name"),
        version=_text(one.resource.attributes, "service.version"),
        name=span.name,
        kind=_named(_KINDS, span.kind),
        start_ns=span.start_time_unix_nano,
        duration_ns=max(0, span.end_time_unix_nano - span.start_time_unix_nano),
        status=_named(_STATUSES, span.status.code),
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(
            SpanEvent(event.name, event.time_unix_nano, _attributes(event.attributes))
            for event in span.events
        ),
    )


def _named(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else names[0]


def _attributes(pairs: Iterable[KeyValue]) -> Mapping[str, Scalar | list[Scalar]]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Scalar | list[Scalar]:
    if value.WhichOneof("value") == "array_value":
        return [_scalar(item) for item in value.array_value.values]
    return _scalar(value)


def _scalar(value: AnyValue) -> Scalar:
    """Return a value that JSON can hold.

    As OTLP/JSON does: bytes become base64, numbers that are not finite become their names; and what is nested deeper
    than a list becomes JSON text.
    """
    plain = _plain(value)
    return json.dumps(plain, separators=(",", ":")) if isinstance(plain, list | dict) else plain


_Plain = Scalar | list["_Plain"] | dict[str, "_Plain"]


def _plain(value: AnyValue) -> _Plain:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return _number(value.double_value)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
        case _:
            return None


def _number(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
