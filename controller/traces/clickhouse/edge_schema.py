"""Tables of edges: who called whom, in buckets of 10 s, settled after the fact.

Before it: `schema`, whose `spans_in` every span passes once. After it: `settling` fills them, `edges` reads them.

A callee and its caller come in different bodies, at different times: no view can join them while a batch comes in.
So a view only marks the buckets whose edges a batch may change, and `settling` joins a bucket when it has been quiet
for a moment. What a bucket's edges are is said by its newest generation in `settled10_v1`; rows of other generations
count for nothing, so that a bucket can be settled again when spans come late. Buckets with marks that the newest
generation has not seen are joined when somebody asks.
"""

from __future__ import annotations

from controller.traces.edges import AFTER_NS, BEFORE_NS
from controller.traces.tally import STEP_NS

_DURABLE = "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"

EDGES = f"""CREATE TABLE IF NOT EXISTS edge10_v1 (
    bucket DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    generation UInt64 CODEC(Delta(8), ZSTD(1)),
    caller LowCardinality(String),
    caller_version LowCardinality(String),
    callee LowCardinality(String),
    callee_version LowCardinality(String),
    kind LowCardinality(String),
    via LowCardinality(String),
    is_peer UInt8,
    calls UInt64 CODEC(ZSTD(1)),
    failed UInt64 CODEC(ZSTD(1)),
    buckets Map(UInt16, UInt64) CODEC(ZSTD(1)),
    exemplar FixedString(16) CODEC(ZSTD(1)),
    failed_exemplar FixedString(16) CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(generation) PARTITION BY toYYYYMM(bucket)
ORDER BY (bucket, caller, caller_version, callee, callee_version, kind, via, is_peer) {_DURABLE}"""

MARKS = f"""CREATE TABLE IF NOT EXISTS mark10_v1 (
    bucket DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    own SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    near SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    last SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(bucket) ORDER BY bucket {_DURABLE}"""
"""`own`: spans that started in the bucket. `near`: spans that may be callers of spans in it; grows with every change."""

SETTLED = f"""CREATE TABLE IF NOT EXISTS settled10_v1 (
    bucket DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    generation UInt64 CODEC(Delta(8), ZSTD(1)),
    near UInt64 CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(generation) PARTITION BY toYYYYMM(bucket) ORDER BY bucket {_DURABLE}"""

_EARLIER = -(-AFTER_NS // STEP_NS)
_LATER = -(-BEFORE_NS // STEP_NS)
TO_MARKS = f"""CREATE MATERIALIZED VIEW IF NOT EXISTS to_mark10_v1 TO mark10_v1 AS
SELECT toDateTime(at, 'UTC') AS bucket, sum(if(shift = 0, spans, 0)) AS own, sum(spans) AS near, now64(6) AS last
FROM (
    SELECT toInt64(toUnixTimestamp(toStartOfInterval(start, INTERVAL 10 SECOND))) AS began, count() AS spans
    FROM spans_in GROUP BY began
)
ARRAY JOIN range(-{_EARLIER}, {_LATER + 1}) AS shift, arrayMap(s -> began + 10 * s, range(-{_EARLIER}, {_LATER + 1})) AS at
WHERE at BETWEEN 0 AND 4294967295
GROUP BY bucket"""

EDGE_TABLES = (EDGES, MARKS, SETTLED)
EDGE_VIEWS = (TO_MARKS,)
