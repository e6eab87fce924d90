"""The table of log records, and the view that fills it.

Before it: `others`. After it: `logs_v1`, a row a record; of a body that is no scalar, and of attributes that are none,
the bytes are kept as spans keep them (`schema`).
"""

from __future__ import annotations

from controller.traces.clickhouse.anyvalue import (
    ANY,
    PAIRS,
    attrs,
    first_text,
    kinds,
    letter,
    rest,
    rests,
    text,
)
from controller.traces.clickhouse.others import COMMON, KEPT
from controller.traces.clickhouse.taking import Taker

PROTO = f"""syntax = "proto3";
message Envelope {{
  message ResourceLogs {{
    Resource resource = 1;
    repeated ScopeLogs scope_logs = 2;
  }}
  repeated ResourceLogs resource_logs = 1;
}}
{COMMON}
message ScopeLogs {{
  Scope scope = 1;
  repeated LogRecord log_records = 2;
}}
message LogRecord {{
  fixed64 time_unix_nano = 1;
  int32 severity_number = 2;
  string severity_text = 3;
  Value body = 5;
  repeated KeyValue attributes = 6;
  uint32 dropped_attributes_count = 7;
  fixed32 flags = 8;
  bytes trace_id = 9;
  bytes span_id = 10;
  fixed64 observed_time_unix_nano = 11;
  string event_name = 12;
}}
"""
TAKER = Taker("otlp_logs_in", PROTO, "ResourceLogs")

_IN = f"""CREATE TABLE IF NOT EXISTS otlp_logs_in (
    resource Tuple(attributes {PAIRS}, dropped_attributes_count UInt32),
    scope_logs Array(Tuple(
        scope Tuple(name String, version String, attributes {PAIRS}, dropped_attributes_count UInt32),
        log_records Array(Tuple(time_unix_nano UInt64, severity_number Int32, severity_text String, body {ANY},
            attributes {PAIRS}, dropped_attributes_count UInt32, flags UInt32, trace_id String, span_id String,
            observed_time_unix_nano UInt64, event_name String))))
) ENGINE = Null"""
_LOGS = f"""CREATE TABLE IF NOT EXISTS logs_v1 (
    time DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    observed DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    version LowCardinality(String) CODEC(ZSTD(1)),
    severity Int8 CODEC(ZSTD(1)),
    severity_text LowCardinality(String) CODEC(ZSTD(1)),
    event LowCardinality(String) CODEC(ZSTD(1)),
    body String CODEC(ZSTD(1)),
    body_kind LowCardinality(String) CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    correlation_id String CODEC(ZSTD(1)),
    scope LowCardinality(String) CODEC(ZSTD(1)),
    attrs Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    kinds LowCardinality(String) CODEC(ZSTD(1)),
    rest Array(String) CODEC(ZSTD(1)),
    resource Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    received DateTime('UTC') CODEC(ZSTD(1)),
    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_correlation correlation_id TYPE bloom_filter(0.001) GRANULARITY 1
) {KEPT.format(order="(service, time)")}"""
_MOMENT = "fromUnixTimestamp64Nano(toInt64({}), 'UTC')"
_TO_LOGS = f"""CREATE MATERIALIZED VIEW IF NOT EXISTS to_logs_v1 TO logs_v1 AS
SELECT
    if(record.time_unix_nano != 0, {_MOMENT.format("record.time_unix_nano")}, observed) AS time,
    if(record.observed_time_unix_nano != 0, {_MOMENT.format("record.observed_time_unix_nano")}, now64(9, 'UTC'))
        AS observed,
    service, version,
    toInt8(record.severity_number) AS severity,
    record.severity_text AS severity_text,
    record.event_name AS event,
    if(body_kind IN ('a', 'm', 'B'), {rest("record.body")}, {text("record.body")}) AS body,
    {letter("record.body")} AS body_kind,
    record.trace_id AS trace_id, record.span_id AS span_id,
    {first_text("record.attributes", "correlation.id")} AS correlation_id,
    scope,
    {attrs("record.attributes")} AS attrs, {kinds("record.attributes")} AS kinds, {rests("record.attributes")} AS rest,
    resource,
    now('UTC') AS received
FROM (
    SELECT service, version, resource, part.scope.name AS scope, arrayJoin(part.log_records) AS record
    FROM (
        SELECT {first_text("otlp_logs_in.resource.attributes", "service.name")} AS service,
            {first_text("otlp_logs_in.resource.attributes", "service.version")} AS version,
            {attrs("otlp_logs_in.resource.attributes")} AS resource,
            arrayJoin(scope_logs) AS part
        FROM otlp_logs_in
    )
)"""
STATEMENTS = (_IN, _LOGS, _TO_LOGS)
