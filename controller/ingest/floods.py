"""A look at the wire form of a body before it is parsed: how many parts it has, and how long the longest is.

Before it: `otlp`. After it: the protobuf parser. An empty span has 2 bytes on the wire and up to 200 in memory: 16 MiB
of them would parse into 1.8 GB, so they are counted first. What is not well-formed is left to the parser, which says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.ingest.bodies import BodyRefused
from controller.model.telemetry import Signal

LONG = 2048
"""Bytes. A part that is no longer can hold neither too many parts of its own nor a value that is too long."""
MOST_PARTS = 100_000
"""Fields of one span, log record or metric, before it is parsed."""

_PARTS = frozenset({0x0A}), frozenset({0x12}), frozenset({0x12})
"""Wire tags on the way down: resource_* = 1, scope_* = 2, and spans, log_records or metrics = 2."""
_POINTS = frozenset({0x2A, 0x3A, 0x4A, 0x52, 0x5A}), frozenset({0x0A})
"""And in a metric: gauge = 5, sum = 7, histogram = 9, exponential_histogram = 10 or summary = 11, and data_points = 1."""
_WAY: Mapping[Signal, tuple[frozenset[int], ...]] = {
    Signal.TRACES: _PARTS,
    Signal.LOGS: _PARTS,
    Signal.METRICS: _PARTS + _POINTS,
}
_MOST = (10_000, 10_000, 100_000, 100_000, 100_000)
"""Resources, scopes, spans (or records, or metrics), and in metrics also data and data points, of one body."""
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types of fixed size, in bytes."""


def longest_part(body: bytes, signal: Signal) -> int:
    """Return the bytes of the longest resource, scope, span, record or data point of a body, about.

    Raises:
        BodyRefused: 400, there are too many parts, or this is no protobuf message.
    """
    walk = _Walk(body, _WAY[signal])
    walk.down(0, len(body), 0)
    return walk.longest


class _Walk:
    def __init__(self, body: bytes, way: tuple[frozenset[int], ...]) -> None:
        self._body = body
        self._way = way
        self._seen = [0] * len(way)
        self.longest = 0

    def down(self, start: int, end: int, level: int) -> None:
        body, on_the_way, is_last = self._body, self._way[level], level + 1 == len(self._way)
        at = start
        while at < end:
            tag, at = _varint(body, at, end)
            kind = tag & 7
            if kind == _LENGTH_DELIMITED:
                length, at = _varint(body, at, end)
                if tag not in on_the_way:
                    self.longest = max(self.longest, length)
                else:
                    self._count(level)
                    if not is_last:
                        self.down(at, min(at + length, end), level + 1)
                    elif length > LONG:
                        self.longest = max(self.longest, length)
                        _refuse_too_many_fields(body, at, min(at + length, end))
                at += length
            elif kind == _VARINT:
                _, at = _varint(body, at, end)
            elif kind in _FIXED:
                at += _FIXED[kind]
            else:
                raise BodyRefused("the body is not protobuf", status=400)

    def _count(self, level: int) -> None:
        self._seen[level] += 1
        if self._seen[level] > _MOST[level]:
            raise BodyRefused(
                "too many resources, scopes, spans, records or data points in one body; send smaller batches",
                status=400,
            )


def _refuse_too_many_fields(body: bytes, at: int, end: int) -> None:
    fields = 0
    while at < end:
        tag, at = _varint(body, at, end)
        if tag & 7 == _LENGTH_DELIMITED:
            length, at = _varint(body, at, end)
            at += length
        elif tag & 7 == _VARINT:
            _, at = _varint(body, at, end)
        else:
            at += _FIXED.get(tag & 7, end)
        fields += 1
        if fields > MOST_PARTS:
            raise BodyRefused(f"more than {MOST_PARTS} attributes, events and links in one span", status=400)


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte, at = body[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at
