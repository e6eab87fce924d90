"""How ClickHouse reads OTLP bodies: the message as its Protobuf parser sees it.

Before it: raw bodies. After it: rows of `otlp_in` in `schema`. An `ExportTraceServiceRequest` is a list of
`ResourceSpans` in field 1, which is what the format ProtobufList calls an envelope; and since protobuf messages merge
when they are written one after the other, any number of bodies in a row is one valid envelope too. A batch is their
length and the bodies: nothing is decoded in Python.

Field names and numbers are OTLP's (opentelemetry-proto 1.9). Values that hold values are declared as bytes, which have
the same form on the wire: they are kept as they came and decoded on read.
"""

from __future__ import annotations

from collections.abc import Sequence

MESSAGE = "ResourceSpans"
PROTO = """syntax = "proto3";
message Envelope {
  message ResourceSpans {
    Resource resource = 1;
    repeated ScopeSpans scope_spans = 2;
    string schema_url = 3;
  }
  repeated ResourceSpans resource_spans = 1;
}
message Value {
  oneof value {
    string string_value = 1;
    bool bool_value = 2;
    int64 int_value = 3;
    double double_value = 4;
    bytes array_value = 5;
    bytes kvlist_value = 6;
    bytes bytes_value = 7;
  }
}
message KeyValue {
  string key = 1;
  Value value = 2;
}
message Resource {
  repeated KeyValue attributes = 1;
  uint32 dropped_attributes_count = 2;
}
message Scope {
  string name = 1;
  string version = 2;
  repeated KeyValue attributes = 3;
  uint32 dropped_attributes_count = 4;
}
message ScopeSpans {
  Scope scope = 1;
  repeated Span spans = 2;
  string schema_url = 3;
}
message Event {
  fixed64 time_unix_nano = 1;
  string name = 2;
  repeated KeyValue attributes = 3;
  uint32 dropped_attributes_count = 4;
}
message Link {
  bytes trace_id = 1;
  bytes span_id = 2;
  string trace_state = 3;
  repeated KeyValue attributes = 4;
  uint32 dropped_attributes_count = 5;
  fixed32 flags = 6;
}
message Status {
  string message = 2;
  int32 code = 3;
}
message Span {
  bytes trace_id = 1;
  bytes span_id = 2;
  string trace_state = 3;
  bytes parent_span_id = 4;
  string name = 5;
  int32 kind = 6;
  fixed64 start_time_unix_nano = 7;
  fixed64 end_time_unix_nano = 8;
  repeated KeyValue attributes = 9;
  uint32 dropped_attributes_count = 10;
  repeated Event events = 11;
  uint32 dropped_events_count = 12;
  repeated Link links = 13;
  uint32 dropped_links_count = 14;
  Status status = 15;
  fixed32 flags = 16;
}
"""


def envelope(bodies: Sequence[bytes]) -> bytes:
    """Return bodies as one input of ProtobufList: the length of all, then all of them."""
    length, prefix = sum(map(len, bodies)), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return b"".join((prefix, *bodies))
