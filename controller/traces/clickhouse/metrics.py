"""The table of data points, and the views that fill it, one for each kind of data.

Before it: `others`. After it: `metrics_v1`, a row a data point, with the numbers as they came: nothing is summed,
turned into a rate or made cumulative here. `value` is the number of a gauge or a sum (`whole` too when it came as an
integer); a histogram has count, sum, bounds and buckets; an exponential one scale, offsets, and counts on both sides of
zero; a summary its quantiles as bounds, and their values.
"""

from __future__ import annotations

from controller.traces.clickhouse.anyvalue import PAIRS, attrs, first_text, kinds, rests
from controller.traces.clickhouse.others import COMMON, KEPT
from controller.traces.clickhouse.taking import Taker

_KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
_TIMES = "fixed64 start_time_unix_nano = 2; fixed64 time_unix_nano = 3;"
_DATA = """message {name}Data {{
  repeated {name}Point data_points = 1;
  int32 aggregation_temporality = 2;
  bool is_monotonic = 3;
}}
"""
PROTO = f"""syntax = "proto3";
message Envelope {{
  message ResourceMetrics {{
    Resource resource = 1;
    repeated ScopeMetrics scope_metrics = 2;
  }}
  repeated ResourceMetrics resource_metrics = 1;
}}
{COMMON}
message ScopeMetrics {{
  Scope scope = 1;
  repeated Metric metrics = 2;
}}
message Metric {{
  string name = 1;
  string description = 2;
  string unit = 3;
  NumberData gauge = 5;
  NumberData sum = 7;
  HistogramData histogram = 9;
  ExponentialData exponential_histogram = 10;
  SummaryData summary = 11;
}}
{"".join(_DATA.format(name=name) for name in ("Number", "Histogram", "Exponential", "Summary"))}
message NumberPoint {{
  {_TIMES}
  oneof value {{ double as_double = 4; sfixed64 as_int = 6; }}
  repeated KeyValue attributes = 7;
}}
message HistogramPoint {{
  {_TIMES}
  fixed64 count = 4;
  optional double sum = 5;
  repeated fixed64 bucket_counts = 6;
  repeated double explicit_bounds = 7;
  repeated KeyValue attributes = 9;
  optional double min = 11;
  optional double max = 12;
}}
message Buckets {{
  sint32 offset = 1;
  repeated uint64 bucket_counts = 2;
}}
message ExponentialPoint {{
  repeated KeyValue attributes = 1;
  {_TIMES}
  fixed64 count = 4;
  optional double sum = 5;
  sint32 scale = 6;
  fixed64 zero_count = 7;
  Buckets positive = 8;
  Buckets negative = 9;
  optional double min = 12;
  optional double max = 13;
}}
message Quantile {{
  double quantile = 1;
  double value = 2;
}}
message SummaryPoint {{
  {_TIMES}
  fixed64 count = 4;
  double sum = 5;
  repeated Quantile quantile_values = 6;
  repeated KeyValue attributes = 7;
}}
"""
TAKER = Taker("otlp_metrics_in", PROTO, "ResourceMetrics")


def _data(point: str) -> str:
    return f"""Tuple(data_points Array(Tuple(start_time_unix_nano UInt64, time_unix_nano UInt64,
        attributes {PAIRS}, {point})), aggregation_temporality Int32, is_monotonic Bool)"""


_NUMBER = _data("as_double Nullable(Float64), as_int Nullable(Int64)")
_SPREAD = "count UInt64, sum Nullable(Float64), min Nullable(Float64), max Nullable(Float64)"
_BUCKETS = "Tuple(offset Int32, bucket_counts Array(UInt64))"
_IN = f"""CREATE TABLE IF NOT EXISTS otlp_metrics_in (
    resource Tuple(attributes {PAIRS}, dropped_attributes_count UInt32),
    scope_metrics Array(Tuple(
        scope Tuple(name String, version String, attributes {PAIRS}, dropped_attributes_count UInt32),
        metrics Array(Tuple(name String, description String, unit String,
            gauge {_NUMBER}, sum {_NUMBER},
            histogram {_data(f"{_SPREAD}, bucket_counts Array(UInt64), explicit_bounds Array(Float64)")},
            exponential_histogram {_data(f"{_SPREAD}, scale Int32, zero_count UInt64, positive {_BUCKETS}, negative {_BUCKETS}")},
            summary {_data("count UInt64, sum Float64, quantile_values Array(Tuple(quantile Float64, value Float64))")}
        ))))
) ENGINE = Null"""
_METRICS = f"""CREATE TABLE IF NOT EXISTS metrics_v1 (
    time DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    start DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    version LowCardinality(String) CODEC(ZSTD(1)),
    instance LowCardinality(String) CODEC(ZSTD(1)),
    name LowCardinality(String) CODEC(ZSTD(1)),
    unit LowCardinality(String) CODEC(ZSTD(1)),
    kind LowCardinality(String) CODEC(ZSTD(1)),
    temporality Int8 CODEC(ZSTD(1)),
    monotonic Bool CODEC(ZSTD(1)),
    attrs Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    kinds LowCardinality(String) CODEC(ZSTD(1)),
    rest Array(String) CODEC(ZSTD(1)),
    resource Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    value Nullable(Float64) CODEC(ZSTD(1)),
    whole Nullable(Int64) CODEC(ZSTD(1)),
    count UInt64 CODEC(ZSTD(1)),
    sum Nullable(Float64) CODEC(ZSTD(1)),
    min Nullable(Float64) CODEC(ZSTD(1)),
    max Nullable(Float64) CODEC(ZSTD(1)),
    bounds Array(Float64) CODEC(ZSTD(1)),
    buckets Array(UInt64) CODEC(ZSTD(1)),
    values Array(Float64) CODEC(ZSTD(1)),
    exponential Tuple(scale Int32, zero UInt64, offset Int32, below_offset Int32, below Array(UInt64)) CODEC(ZSTD(1)),
    received DateTime('UTC') CODEC(ZSTD(1))
) {KEPT.format(order="(name, service, time)")}"""

_SPREAD_COLUMNS = {column: f"point.{column}" for column in ("count", "sum", "min", "max")}
_NUMBER_COLUMNS = {"value": "coalesce(point.as_double, toFloat64(point.as_int))", "whole": "point.as_int"}
_COLUMNS = {
    "gauge": _NUMBER_COLUMNS,
    "sum": _NUMBER_COLUMNS,
    "histogram": {**_SPREAD_COLUMNS, "bounds": "point.explicit_bounds", "buckets": "point.bucket_counts"},
    "exponential_histogram": {
        **_SPREAD_COLUMNS,
        "buckets": "point.positive.bucket_counts",
        "exponential": "(point.scale, point.zero_count, point.positive.offset, point.negative.offset,"
        " point.negative.bucket_counts)",
    },
    "summary": {
        "count": "point.count",
        "sum": "point.sum",
        "bounds": "point.quantile_values.quantile",
        "values": "point.quantile_values.value",
    },
}


def _view(kind: str) -> str:
    numbers = ", ".join(f"{sql} AS {column}" for column, sql in _COLUMNS[kind].items())
    return f"""CREATE MATERIALIZED VIEW IF NOT EXISTS to_metrics_{kind}_v1 TO metrics_v1 AS
SELECT
    fromUnixTimestamp64Nano(toInt64(point.time_unix_nano), 'UTC') AS time,
    fromUnixTimestamp64Nano(toInt64(point.start_time_unix_nano), 'UTC') AS start,
    service, version, instance,
    metric_name AS name, metric_unit AS unit, '{kind}' AS kind,
    toInt8(temporality_number) AS temporality, is_monotonic AS monotonic,
    {attrs("point.attributes")} AS attrs, {kinds("point.attributes")} AS kinds, {rests("point.attributes")} AS rest,
    resource,
    {numbers},
    now('UTC') AS received
FROM (
    SELECT service, version, instance, resource, metric.name AS metric_name, metric.unit AS metric_unit,
        metric.{kind}.aggregation_temporality AS temporality_number, metric.{kind}.is_monotonic AS is_monotonic,
        arrayJoin(metric.{kind}.data_points) AS point
    FROM (
        SELECT {first_text("pairs", "service.name")} AS service, {first_text("pairs", "service.version")} AS version,
            {first_text("pairs", "service.instance.id")} AS instance, {attrs("pairs")} AS resource,
            arrayJoin(arrayFlatten(scope_metrics.metrics)) AS metric
        FROM (SELECT otlp_metrics_in.resource.attributes AS pairs, scope_metrics FROM otlp_metrics_in)
    )
)"""


STATEMENTS = (_IN, _METRICS, *map(_view, _KINDS))
