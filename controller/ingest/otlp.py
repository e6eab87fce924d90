"""Untrusted OTLP bodies: unpacked within bounds, parsed, and cut down to what is valid.

Before it: the HTTP side in `app`. After it: the trace store, which gets only bodies that parse. Nothing here waits.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from controller.errors import InvalidInput

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_DEEPEST_JSON = 40
"""Messages within messages; the same bound that the protobuf parser keeps for AnyValue in AnyValue, about."""
_MOST = (10_000, 10_000, 100_000)
"""Resources, scopes and spans of one body. An empty one has 2 bytes on the wire and up to 200 in memory: 16 MiB of
them would parse into 1.8 GB."""
_MOST_PARTS = 10_000
"""Attributes, events and links of one span, together."""
_PATH = (0x0A, 0x12, 0x12)
"""Wire tags on the way to a span: resource_spans = 1, scope_spans = 2, spans = 2."""
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types of fixed size, in bytes."""


class BodyRefused(InvalidInput):
    """A body that is not kept.

    Args:
        status: The HTTP status that OTLP gives for it: 400, 413 or 415.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, field="body")
        self.status = status


@dataclass(frozen=True, slots=True)
class Batch:
    """One accepted body.

    Args:
        body: `ExportTraceServiceRequest` in protobuf; b"" when no span was valid.
        spans: How many spans it holds.
        rejected: How many spans were left out, because trace id or span id is missing, zero or of a
            wrong length, or because one span has more than 10 000 attributes, events and links.
    """

    body: bytes
    spans: int
    rejected: int


class Unpacker:
    """Takes the chunks of one request body and holds at most a number of unpacked bytes.

    Args:
        encoding: The Content-Encoding header.
        max_bytes: Largest unpacked size.

    Raises:
        BodyRefused: 415, the encoding is not gzip or identity.
    """

    def __init__(self, encoding: str, *, max_bytes: int) -> None:
        if encoding not in ("", "identity", "gzip"):
            raise BodyRefused("content-encoding: expected gzip or identity", status=415)
        self._inflate = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        self._max_bytes = max_bytes
        self._body = bytearray()

    def __len__(self) -> int:
        return len(self._body)

    def feed(self, chunk: bytes) -> None:
        """Take one chunk.

        Raises:
            BodyRefused: 413, the unpacked body is too large (seen without unpacking the rest); 400, not gzip.
        """
        left = self._max_bytes - len(self._body)
        if self._inflate is None:
            self._body += chunk[: left + 1]
        else:
            try:
                self._body += self._inflate.decompress(chunk, left + 1)
            except zlib.error as error:
                raise BodyRefused("the body is not gzip", status=400) from error
            if self._inflate.unused_data:
                raise BodyRefused("the body goes on after the end of its gzip stream", status=400)
        if len(self._body) > self._max_bytes:
            raise BodyRefused(f"the body is larger than {self._max_bytes} bytes", status=413)

    def finish(self) -> bytes:
        """Return the whole body.

        Raises:
            BodyRefused: 400, the gzip stream is cut off.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise BodyRefused("the gzip stream is cut off", status=400)
        return bytes(self._body)


def accept(body: bytes, content_type: str) -> Batch:
    """Parse a body and leave out spans that nobody could ever find.

    Args:
        body: Unpacked.
        content_type: `PROTOBUF` or `JSON`.

    Raises:
        BodyRefused: 400, it does not parse; 415, another content type.
    """
    if content_type == PROTOBUF:
        pass
    elif content_type == JSON:
        body = _from_json(body)
    else:
        raise BodyRefused(f"content-type: expected {PROTOBUF} or {JSON}", status=415)
    _count(body, 0, len(body), 0, [0, 0, 0])
    try:
        message = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise BodyRefused("the body is not an ExportTraceServiceRequest", status=400) from error
    kept, rejected = _drop_invalid(message)
    if not kept:
        return Batch(b"", 0, rejected)
    return Batch(message.SerializeToString() if rejected else body, kept, rejected)


def _count(body: bytes, start: int, end: int, level: int, seen: list[int]) -> None:
    """Walk the wire form down to the spans without parsing, and refuse too many of anything.

    What is not well-formed is left to the parser, which says so.
    """
    at = start
    while at < end:
        tag, at = _varint(body, at, end)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length, at = _varint(body, at, end)
            if tag == _PATH[level]:
                seen[level] += 1
                if seen[level] > _MOST[level]:
                    raise BodyRefused("too many resources, scopes or spans in one body", status=400)
                if level < 2:
                    _count(body, at, min(at + length, end), level + 1, seen)
            at += length
        elif kind == _VARINT:
            _, at = _varint(body, at, end)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise BodyRefused("the body is not an ExportTraceServiceRequest", status=400)


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte, at = body[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at


def _from_json(body: bytes) -> bytes:
    try:
        tree = json.loads(body)
        if not isinstance(tree, dict):
            raise ValueError("expected an object")
        for span in _json_spans(tree):
            for holder in (span, *_objects(span, "links")):
                _ids_to_base64(holder)
        message = ExportTraceServiceRequest()
        ParseDict(tree, message, ignore_unknown_fields=True, max_recursion_depth=_DEEPEST_JSON)
    except (ParseError, ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise BodyRefused("the body is not an ExportTraceServiceRequest in JSON", status=400) from error
    return message.SerializeToString()


def _json_spans(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource_spans in _objects(tree, "resourceSpans", "resource_spans"):
        for scope_spans in _objects(resource_spans, "scopeSpans", "scope_spans"):
            yield from _objects(scope_spans, "spans")


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
    for name in ("traceId", "trace_id", "spanId", "span_id", "parentSpanId", "parent_span_id"):
        if holder.get(name) is not None:
            holder[name] = base64.b64encode(bytes.fromhex(holder[name])).decode()


def _drop_invalid(message: ExportTraceServiceRequest) -> tuple[int, int]:
    kept = rejected = 0
    for resource_spans in message.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            invalid = [index for index, span in enumerate(scope_spans.spans) if not _is_valid(span)]
            for index in reversed(invalid):
                del scope_spans.spans[index]
            kept += len(scope_spans.spans)
            rejected += len(invalid)
    return kept, rejected


def _is_valid(span: Span) -> bool:
    if len(span.attributes) + len(span.events) + len(span.links) > _MOST_PARTS:
        return False
    trace_id, span_id = span.trace_id, span.span_id
    return len(trace_id) == 16 and len(span_id) == 8 and any(trace_id) and any(span_id)
