"""Tables, and the views that fill them while a batch comes in.

Before it: `otlp_format`, which names the fields. After it: every question of this package. The way of a batch:

    otlp_in (keeps nothing) -> spans_in (keeps nothing, a row a span) -> spans_v1, red10_v1, mark10_v1 (edge_schema), attr_keys_v1
                            -> resources_v1

Nothing is lost: `attrs` holds scalars as text, `kinds` one letter an attribute (`anyvalue`), in the order of `attrs`, and
`rest` the bytes of those that are no scalars. Attributes of events, links and scopes, which nobody searches by, travel
as JSON lists of [key, letter, text or hex]. Telling traces are kept for longer by copying their rows from partition p
to partition p + KEPT, straight into spans_v1, so that no rollup counts them again.
"""

from __future__ import annotations

from controller.model.insight import LADDER_NS
from controller.traces.clickhouse.anyvalue import PAIRS, attrs, first_text, json_pairs, kinds, rests
from controller.traces.clickhouse.edge_schema import EDGE_TABLES, EDGE_VIEWS

PARTITION_NS = 6 * 3600 * 1_000_000_000
FAR_NS = 365 * 86_400 * 1_000_000_000
"""Length of a partition, nanoseconds: of spans near the present, and of those that are more than 30 days off."""
FAR, KEPT = 1_000_000, 2_000_000
"""Added to a partition's number: for spans far from the present, and for telling traces kept for longer."""
DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1"
"""A commit outlives a loss of power. Merged parts too: chDB removes the parts that were merged at once."""
LARGEST_PART = 1024**3
"""Bytes; larger parts gain nothing, and parts are what goes when six hours are too much for the disk."""
_EVENTS = f"""Array(Tuple(time_unix_nano UInt64, name String, attributes {PAIRS},
    dropped_attributes_count UInt32))"""
_LINKS = f"""Array(Tuple(trace_id String, span_id String, trace_state String, attributes {PAIRS},
    dropped_attributes_count UInt32, flags UInt32))"""
_SPANS = f"""Array(Tuple(trace_id String, span_id String, trace_state String, parent_span_id String,
    name String, kind Int32, start_time_unix_nano UInt64, end_time_unix_nano UInt64, attributes {PAIRS},
    dropped_attributes_count UInt32, events {_EVENTS}, dropped_events_count UInt32, links {_LINKS},
    dropped_links_count UInt32, status Tuple(message String, code Int32), flags UInt32))"""

OTLP_IN = f"""CREATE TABLE IF NOT EXISTS otlp_in (
    resource Tuple(attributes {PAIRS}, dropped_attributes_count UInt32),
    scope_spans Array(Tuple(
        scope Tuple(name String, version String, attributes {PAIRS}, dropped_attributes_count UInt32),
        spans {_SPANS}, schema_url String)),
    schema_url String
) ENGINE = Null"""

_COLUMNS = """
    trace_id FixedString(16) CODEC(ZSTD(1)),
    span_id FixedString(8) CODEC(ZSTD(1)),
    parent_span_id String CODEC(ZSTD(1)),
    start DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    duration_ns UInt64 CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    version LowCardinality(String) CODEC(ZSTD(1)),
    env LowCardinality(String) CODEC(ZSTD(1)),
    instance LowCardinality(String) CODEC(ZSTD(1)),
    name LowCardinality(String) CODEC(ZSTD(1)),
    scope LowCardinality(String) CODEC(ZSTD(1)),
    kind Int8 CODEC(ZSTD(1)),
    status Int8 CODEC(ZSTD(1)),
    status_message String CODEC(ZSTD(1)),
    correlation_id String CODEC(ZSTD(1)),
    release LowCardinality(String) CODEC(ZSTD(1)),
    track LowCardinality(String) CODEC(ZSTD(1)),
    peer LowCardinality(String) CODEC(ZSTD(1)),
    error LowCardinality(String) CODEC(ZSTD(1)),
    res_id UInt64 CODEC(ZSTD(1)),
    attrs Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    kinds LowCardinality(String) CODEC(ZSTD(1)),
    rest Array(String) CODEC(ZSTD(1)),
    events String CODEC(ZSTD(1)),
    links String CODEC(ZSTD(1)),
    link_traces Array(String) CODEC(ZSTD(1)),
    link_spans Array(String) CODEC(ZSTD(1)),
    scope_rest LowCardinality(String) CODEC(ZSTD(1)),
    trace_state String CODEC(ZSTD(1)),
    flags UInt32 CODEC(ZSTD(1)),
    dropped Tuple(UInt32, UInt32, UInt32) CODEC(ZSTD(1)),
    part UInt32 CODEC(ZSTD(1))"""
COLUMNS = tuple(line.split()[0] for line in _COLUMNS.strip().splitlines())

SPANS_IN = f"CREATE TABLE IF NOT EXISTS spans_in ({_COLUMNS}) ENGINE = Null".replace(
    " CODEC(ZSTD(1))", ""
).replace(" CODEC(Delta(8), ZSTD(1))", "")
SPANS = f"""CREATE TABLE IF NOT EXISTS spans_v1 ({_COLUMNS},
    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_correlation correlation_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_start start TYPE minmax GRANULARITY 1,
    INDEX by_duration duration_ns TYPE minmax GRANULARITY 1
) ENGINE = MergeTree PARTITION BY part
ORDER BY (toStartOfInterval(start, INTERVAL 10 MINUTE), trace_id, start, span_id)
SETTINGS index_granularity = 4096, max_bytes_to_merge_at_max_space_in_pool = {LARGEST_PART}, {DURABLE}"""

RESOURCES = f"""CREATE TABLE IF NOT EXISTS resources_v1 (
    res_id UInt64,
    attrs Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    kinds String CODEC(ZSTD(1)),
    rest Array(String) CODEC(ZSTD(1)),
    schema_url String CODEC(ZSTD(1)),
    dropped UInt32,
    last_seen DateTime
) ENGINE = ReplacingMergeTree(last_seen) ORDER BY res_id SETTINGS {DURABLE}"""

RED = f"""CREATE TABLE IF NOT EXISTS red10_v1 (
    bucket DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    service LowCardinality(String),
    version LowCardinality(String),
    name LowCardinality(String),
    kind Int8,
    release LowCardinality(String),
    env LowCardinality(String),
    calls SimpleAggregateFunction(sum, UInt64),
    failed SimpleAggregateFunction(sum, UInt64),
    buckets SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)),
    exemplar SimpleAggregateFunction(max, FixedString(16)),
    failed_exemplar SimpleAggregateFunction(max, FixedString(16)),
    last_start SimpleAggregateFunction(max, DateTime64(9, 'UTC'))
) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(bucket)
ORDER BY (bucket, service, version, name, kind, release, env) SETTINGS {DURABLE}"""

ATTR_KEYS = f"""CREATE TABLE IF NOT EXISTS attr_keys_v1 (
    scope LowCardinality(String),
    key String,
    kind LowCardinality(String),
    service LowCardinality(String),
    last_seen SimpleAggregateFunction(max, DateTime)
) ENGINE = AggregatingMergeTree ORDER BY (scope, key, kind, service) SETTINGS {DURABLE}"""


_LOWER = f"[{', '.join(map(str, (0, *LADDER_NS)))}]"
BUCKET = f"toUInt16(indexOf({_LOWER}, roundDown(toUInt64(greatest(duration_ns, 1) - 1), {_LOWER})) - 1)"
"""SQL for the index of a span's duration in `LADDER_NS`: the first bound that is no less than it."""

_RESOURCE_ROWS = f"""
    SELECT resource, schema_url, scope_spans,
        {attrs("resource.attributes")} AS attrs,
        {kinds("resource.attributes")} AS kinds,
        {rests("resource.attributes")} AS rest,
        sipHash64(attrs, kinds, rest, schema_url, resource.dropped_attributes_count) AS res_id
    FROM otlp_in"""

TO_RESOURCES = f"""CREATE MATERIALIZED VIEW IF NOT EXISTS to_resources_v1 TO resources_v1 AS
SELECT res_id, any(attrs) AS attrs, any(kinds) AS kinds, any(rest) AS rest, any(schema_url) AS schema_url,
    any(resource.dropped_attributes_count) AS dropped, now() AS last_seen
FROM ({_RESOURCE_ROWS}) GROUP BY res_id"""

_PEER = " , ".join(
    f"nullIf({first_text('span.attributes', key)}, '')"
    for key in ("peer.service", "server.address", "net.peer.name", "messaging.destination.name")
)
TO_SPANS_IN = f"""CREATE MATERIALIZED VIEW IF NOT EXISTS to_spans_in_v1 TO spans_in AS
SELECT
    toFixedString(span.trace_id, 16) AS trace_id,
    toFixedString(span.span_id, 8) AS span_id,
    span.parent_span_id AS parent_span_id,
    fromUnixTimestamp64Nano(toInt64(least(span.start_time_unix_nano, 9223372036854775807)), 'UTC') AS start,
    if(span.end_time_unix_nano > span.start_time_unix_nano,
        span.end_time_unix_nano - span.start_time_unix_nano, 0) AS duration_ns,
    service, version, env, instance,
    span.name AS name,
    scope,
    toInt8(if(span.kind BETWEEN 0 AND 5, span.kind, 0)) AS kind,
    toInt8(if(span.status.code BETWEEN 0 AND 2, span.status.code, 0)) AS status,
    span.status.message AS status_message,
    {first_text("span.attributes", "correlation.id")} AS correlation_id,
    {first_text("span.attributes", "release.id")} AS release,
    {first_text("span.attributes", "release.track")} AS track,
    if(kind IN (4, 5) AND {first_text("span.attributes", "messaging.destination.name")} != '',
        {first_text("span.attributes", "messaging.destination.name")}, coalesce({_PEER}, '')) AS peer,
    if(status != 2, '', coalesce(
        nullIf(arrayFirst(t -> t != '', arrayMap(e -> {first_text("e.attributes", "exception.type")}, span.events)), ''),
        {first_text("span.attributes", "error.type")})) AS error,
    res_id,
    {attrs("span.attributes")} AS attrs,
    {kinds("span.attributes")} AS kinds,
    {rests("span.attributes")} AS rest,
    if(empty(span.events), '', toJSONString(arrayMap(e -> (e.name, toString(e.time_unix_nano),
        e.dropped_attributes_count, {json_pairs("e.attributes")}), span.events))) AS events,
    if(empty(span.links), '', toJSONString(arrayMap(l -> (hex(l.trace_id), hex(l.span_id), l.trace_state, l.flags,
        l.dropped_attributes_count, {json_pairs("l.attributes")}), span.links))) AS links,
    arrayMap(l -> l.trace_id, span.links) AS link_traces,
    arrayMap(l -> l.span_id, span.links) AS link_spans,
    scope_rest,
    span.trace_state AS trace_state,
    span.flags AS flags,
    (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count) AS dropped,
    toUInt32(if(abs(toInt64(intDiv(span.start_time_unix_nano, {PARTITION_NS}))
            - intDiv(toUnixTimestamp64Nano(now64(9)), {PARTITION_NS})) <= 120,
        intDiv(span.start_time_unix_nano, {PARTITION_NS}),
        {FAR} + intDiv(span.start_time_unix_nano, {FAR_NS}))) AS part
FROM (
    SELECT service, version, env, instance, res_id,
        ss.scope.name AS scope,
        if(ss.scope.version = '' AND empty(ss.scope.attributes) AND ss.scope.dropped_attributes_count = 0
            AND ss.schema_url = '', '',
            toJSONString((ss.scope.version, ss.schema_url, ss.scope.dropped_attributes_count,
                {json_pairs("ss.scope.attributes")}))) AS scope_rest,
        arrayJoin(ss.spans) AS span
    FROM (
        SELECT
            {first_text("resource.attributes", "service.name")} AS service,
            {first_text("resource.attributes", "service.version")} AS version,
            coalesce(nullIf({first_text("resource.attributes", "deployment.environment.name")}, ''),
                {first_text("resource.attributes", "deployment.environment")}) AS env,
            {first_text("resource.attributes", "service.instance.id")} AS instance,
            res_id,
            arrayJoin(scope_spans) AS ss
        FROM ({_RESOURCE_ROWS})
    )
)"""

TO_SPANS = "CREATE MATERIALIZED VIEW IF NOT EXISTS to_spans_v1 TO spans_v1 AS SELECT * FROM spans_in"

_COUNTED = f"""count() AS calls, countIf(status = 2) AS failed,
    sumMap(map({BUCKET}, toUInt64(1))) AS buckets,
    max(trace_id) AS exemplar,
    maxIf(trace_id, status = 2) AS failed_exemplar"""
TO_RED = f"""CREATE MATERIALIZED VIEW IF NOT EXISTS to_red10_v1 TO red10_v1 AS
SELECT toStartOfInterval(start, INTERVAL 10 SECOND) AS bucket, service, version, name, kind, release, env,
    {_COUNTED}, max(start) AS last_start
FROM spans_in GROUP BY bucket, service, version, name, kind, release, env"""
TO_ATTR_KEYS = """CREATE MATERIALIZED VIEW IF NOT EXISTS to_attr_keys_v1 TO attr_keys_v1 AS
SELECT 'span' AS scope, key, kind, service, now() AS last_seen
FROM (
    SELECT service, arrayJoin(arrayZip(ks, splitByString('', letters))) AS pair, pair.1 AS key, pair.2 AS kind
    FROM (SELECT DISTINCT service, mapKeys(attrs) AS ks, toString(kinds) AS letters FROM spans_in)
) GROUP BY key, kind, service"""
TO_RESOURCE_KEYS = """CREATE MATERIALIZED VIEW IF NOT EXISTS to_resource_keys_v1 TO attr_keys_v1 AS
SELECT 'resource' AS scope, key, kind, service, max(seen) AS last_seen
FROM (
    SELECT if(substring(kinds, indexOf(mapKeys(attrs), 'service.name'), 1) = 's', attrs['service.name'], '') AS service,
        last_seen AS seen,
        arrayJoin(arrayZip(mapKeys(attrs), splitByString('', kinds))) AS pair, pair.1 AS key, pair.2 AS kind
    FROM resources_v1
) GROUP BY key, kind, service"""

TABLES = (OTLP_IN, SPANS_IN, SPANS, RESOURCES, RED, *EDGE_TABLES, ATTR_KEYS)
VIEWS = (TO_RESOURCES, TO_SPANS_IN, TO_SPANS, TO_RED, *EDGE_VIEWS, TO_ATTR_KEYS, TO_RESOURCE_KEYS)
