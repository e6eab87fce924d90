"""Untrusted bodies: what is kept, what is refused, and that refusing stays cheap."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.ingest.bodies import JSON, PROTOBUF, BodyRefused, Unpacker
from controller.ingest.otlp import Batch, accept

TRACE, SPAN = b"t" * 16, b"s" * 8


def message(*ids: tuple[bytes, bytes]) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for trace_id, span_id in ids:
        scope.spans.add(trace_id=trace_id, span_id=span_id, name="x")
    return made


def status_of(body: bytes, content_type: str = PROTOBUF) -> int:
    with pytest.raises(BodyRefused) as caught:
        accept(body, content_type)
    return caught.value.status


def outcome(body: bytes, content_type: str = PROTOBUF) -> Batch | int:
    """The accepted batch, or the status of the refusal; any other error is the test's failure."""
    try:
        return accept(body, content_type)
    except BodyRefused as error:
        return error.status


def test_valid_body_is_kept_byte_for_byte() -> None:
    """A body with only valid spans goes on exactly as it came."""
    body = message((TRACE, SPAN)).SerializeToString()

    batch = accept(body, PROTOBUF)

    assert (batch.body, batch.items, batch.rejected) == (body, 1, 0)


@pytest.mark.parametrize(
    ("trace_id", "span_id"),
    [(b"", SPAN), (bytes(16), SPAN), (b"short", SPAN), (TRACE + b"x", SPAN), (TRACE, b""), (TRACE, bytes(8))],
)
def test_spans_without_proper_ids_are_left_out(trace_id: bytes, span_id: bytes) -> None:
    """A span that nobody could find is rejected alone; its neighbour stays."""
    body = message((trace_id, span_id), (TRACE, SPAN), (trace_id, span_id)).SerializeToString()

    batch = accept(body, PROTOBUF)

    kept = ExportTraceServiceRequest.FromString(batch.body).resource_spans[0].scope_spans[0].spans
    assert (batch.items, batch.rejected) == (1, 2)
    assert [span.trace_id for span in kept] == [TRACE]


def test_body_without_any_valid_span_keeps_nothing() -> None:
    """An empty request is fine, and so is one whose spans are all invalid: there is nothing to keep."""
    assert accept(b"", PROTOBUF).body == b""
    assert accept(message((b"", SPAN)).SerializeToString(), PROTOBUF).rejected == 1


@given(st.binary(max_size=400))
def test_garbage_is_refused_or_empty(body: bytes) -> None:
    """Random bytes end as 400 or as a batch without spans; nothing else can be raised."""
    found = outcome(body)

    assert found == 400 or (isinstance(found, Batch) and bool(found.items) == bool(found.body))


@given(st.data())
def test_flipped_bytes_never_escape(data: st.DataObject) -> None:
    """A valid body with any one byte changed is kept or refused, and what is kept can be read again."""
    body = bytearray(message((TRACE, SPAN), (b"u" * 16, SPAN)).SerializeToString())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    found = outcome(bytes(body))

    assert found == 400 or (isinstance(found, Batch) and ExportTraceServiceRequest.FromString(found.body))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "resourceSpans",
                        "scopeSpans",
                        "spans",
                        "traceId",
                        "spanId",
                        "links",
                        "attributes",
                        "value",
                        "x",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_odd_json_is_refused_or_kept(tree: object) -> None:
    """JSON of any shape ends as 400 or as a batch."""
    found = outcome(json.dumps(tree).encode(), JSON)

    assert found == 400 or isinstance(found, Batch)


def test_json_is_kept_as_protobuf() -> None:
    """OTLP/JSON (hex ids, numbers in text, unknown fields) becomes the same message."""
    span = {
        "traceId": TRACE.hex(),
        "spanId": SPAN.hex().upper(),
        "name": "x",
        "kind": 2,
        "startTimeUnixNano": "1700000000000000001",
        "attributes": [{"key": "n", "value": {"intValue": "7"}}],
        "links": [{"traceId": "ab" * 16, "spanId": "cd" * 8}],
        "fieldOfTomorrow": {"a": 1},
    }
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()

    batch = accept(body, JSON)

    kept = ExportTraceServiceRequest.FromString(batch.body).resource_spans[0].scope_spans[0].spans[0]
    assert (kept.trace_id, kept.span_id, kept.kind) == (TRACE, SPAN, 2)
    assert kept.start_time_unix_nano == 1700000000000000001
    assert kept.attributes[0].value.int_value == 7
    assert kept.links[0].trace_id == b"\xab" * 16


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"resourceSpans": {}}',
        b'{"resourceSpans": [1]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 7}]}]}]}',
    ],
)
def test_broken_json_is_a_bad_request(body: bytes) -> None:
    """Whatever is wrong with it, the sender hears 400."""
    assert status_of(body, JSON) == 400


def field(tag: int, content: bytes) -> bytes:
    """One length-delimited protobuf field."""
    length, size = len(content), b""
    while length > 0x7F:
        size += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([tag << 3 | 2]) + size + bytes([length]) + content


def nested(depth: int) -> bytes:
    """A whole request with one attribute that is a list in a list in a list."""
    value = field(1, b"deep")
    for _ in range(depth):
        value = field(5, field(1, value))
    span = field(1, TRACE) + field(2, SPAN) + field(9, field(1, b"key") + field(2, value))
    return field(1, field(2, field(2, span)))


def test_value_nested_a_hundred_deep_is_refused() -> None:
    """Depth that would exhaust a reader's stack never gets in, by protobuf or by JSON."""
    deep: dict[str, object] = {"stringValue": "deep"}
    for _ in range(100):
        deep = {"arrayValue": {"values": [deep]}}
    span = {"traceId": TRACE.hex(), "spanId": SPAN.hex(), "attributes": [{"key": "a", "value": deep}]}
    tree = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}

    assert accept(nested(20), PROTOBUF).items == 1
    assert status_of(nested(100)) == 400
    assert status_of(json.dumps(tree).encode(), JSON) == 400


def test_json_that_is_accepted_can_always_be_read_again() -> None:
    """The two parsers count depth differently; no JSON body may become one that the store cannot parse."""
    for depth in range(1, 60):
        value: dict[str, object] = {"stringValue": "deep"}
        for _ in range(depth):
            value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
        span = {"traceId": TRACE.hex(), "spanId": SPAN.hex(), "attributes": [{"key": "a", "value": value}]}
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
        found = outcome(body, JSON)

        assert found == 400 or (isinstance(found, Batch) and ExportTraceServiceRequest.FromString(found.body))


EMPTY = b"\x12\x00"


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\x00" * 10_001,
        field(1, EMPTY * 10_001),
        field(1, field(2, EMPTY * 100_001)),
        field(1, field(2, b"\x08\x01" + EMPTY * 100_001)),
        field(1, field(2, b"\x09" + bytes(8) + b"\x92\x00\x00" * 100_001)),
        field(1, field(2, EMPTY * 50_001)) * 2,
        field(1, field(2, field(2, b"\x4a\x00" * 100_001))),
    ],
)
def test_flood_of_empty_parts_is_refused_before_it_is_parsed(body: bytes) -> None:
    """Two bytes on the wire that become two hundred in memory are counted first, wherever they hide."""
    assert status_of(body) == 400


def test_other_content_types_are_refused() -> None:
    """Only the two encodings of OTLP/HTTP are read."""
    assert status_of(b"", "text/plain") == 415


def unpack(chunks: list[bytes], encoding: str, max_bytes: int = 1000) -> bytes:
    unpacker = Unpacker(encoding, max_bytes=max_bytes)
    for chunk in chunks:
        unpacker.feed(chunk)
    return unpacker.finish()


@given(st.binary(max_size=1000), st.integers(1, 50), st.sampled_from(["", "gzip"]))
def test_body_survives_any_chunking(body: bytes, size: int, encoding: str) -> None:
    """However the network cuts a body into pieces, the same bytes come out."""
    wire = gzip.compress(body) if encoding else body

    assert unpack([wire[start : start + size] for start in range(0, len(wire), size)], encoding) == body


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_body_of_exactly_the_limit_passes_and_one_more_byte_does_not(encoding: str) -> None:
    """The limit counts unpacked bytes, and is the largest size that is taken."""
    pack = gzip.compress if encoding else bytes

    assert len(unpack([pack(bytes(1000))], encoding)) == 1000
    with pytest.raises(BodyRefused) as caught:
        unpack([pack(bytes(1001))], encoding)
    assert caught.value.status == 413


def test_gzip_bomb_is_not_unpacked() -> None:
    """64 MiB of zeros in 64 KiB: refused with no more than the limit held in memory."""
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(squeeze.compress(bytes(1 << 20)) for _ in range(64)), squeeze.flush()])
    unpacker = Unpacker("gzip", max_bytes=100_000)

    with pytest.raises(BodyRefused) as caught:
        unpacker.feed(bomb)

    assert caught.value.status == 413
    assert len(unpacker) == 100_001


@pytest.mark.parametrize(
    "wire",
    [b"not gzip", gzip.compress(b"x" * 99)[:-9], gzip.compress(b"x") + b"tail", b""],
    ids=["no gzip", "cut off", "with a tail", "empty"],
)
def test_broken_gzip_is_a_bad_request(wire: bytes) -> None:
    """Not gzip, cut off, or with something behind it."""
    with pytest.raises(BodyRefused) as caught:
        unpack([wire], "gzip")

    assert caught.value.status == 400


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_other_encodings_are_refused(encoding: str) -> None:
    """What we cannot unpack within bounds we do not take."""
    with pytest.raises(BodyRefused) as caught:
        Unpacker(encoding, max_bytes=1)

    assert caught.value.status == 415
