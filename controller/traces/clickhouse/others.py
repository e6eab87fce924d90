"""Logs and metrics in ClickHouse: what `logs` and `metrics` have in common.

Before it: `store.ingest_other`. After it: `logs_v1` and `metrics_v1`. The way of a batch is the spans' way: bodies in a
row, parsed by ClickHouse (`otlp_format`), a table that keeps nothing, a view. A row is filed under the day on which it
came in, so no time that a sender makes up can scatter a batch over many partitions, and leaves after `KEEP_DAYS`.
"""

from __future__ import annotations

from controller.traces.clickhouse.otlp_format import PROTO

KEEP_DAYS = 7
COMMON = PROTO[PROTO.index("message Value {") : PROTO.index("message ScopeSpans {")]
"""Value, KeyValue, Resource and Scope, as spans have them."""
KEPT = f"""ENGINE = MergeTree PARTITION BY toDate(received) ORDER BY {{order}}
TTL received + INTERVAL {KEEP_DAYS} DAY
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1"""
