"""What goes, and what stays for longer: whole partitions of six hours, oldest first.

Before it: `store`. After it: `spans_v1` and the rollups. Before a partition goes, its telling traces (with an error, a
canary's span, or among the slowest 1 % of the partition) are copied to the partition of the same number + KEPT, which
goes later. A crash between the two leaves spans twice, which every question counts once; the next run copies only what
is missing. A trace that crosses the border of two partitions is told apart in each.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.traces.clickhouse.connection import Connection
from controller.traces.clickhouse.schema import FAR, FAR_NS, KEPT, PARTITION_NS
from controller.traces.port import Retention, StoreSize

PATIENCE_S = 600.0
"""Longest time for one statement here, seconds; nobody waits for it."""
_SECOND_NS = 1_000_000_000
_KEPT_SHARE = 0.5
"""Most of the bytes that may belong to telling traces."""
_PARTS = "FROM system.parts WHERE active AND database = currentDatabase()"
_LEAN = "max_threads = 1, max_block_size = 8192, min_insert_block_size_rows = 65536, max_insert_threads = 1"
"""Settings of a copy: whole blocks of a million spans would take a gigabyte."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a run dropped.

    Args:
        spans: All of them, those that were copied left out.
        for_room: Those that went because there were too many bytes.
    """

    spans: int
    for_room: int


@dataclass(frozen=True, slots=True)
class _Partition:
    number: int
    rows: int
    size_bytes: int

    @property
    def is_kept(self) -> bool:
        return self.number >= KEPT

    @property
    def end_ns(self) -> int:
        """No span in it starts at that time or later."""
        number = self.number % KEPT
        return (number - FAR + 1) * FAR_NS if number >= FAR else (number + 1) * PARTITION_NS


def prune(connection: Connection, retention: Retention, now_ns: int) -> Pruned:
    """Drop what is too old, then the oldest until the rest fits."""
    dropped = 0
    oldest_ns = now_ns - round(retention.keep_s * _SECOND_NS)
    oldest_telling_ns = now_ns - round(max(retention.keep_s, retention.keep_telling_s) * _SECOND_NS)
    for one in _partitions(connection):
        if one.end_ns <= oldest_telling_ns:
            dropped += _drop(connection, one)
        elif one.end_ns <= oldest_ns and not one.is_kept:
            dropped += _retire(connection, one)
    _forget_old_sums(connection, oldest_telling_ns)
    for_room = _make_room(connection, retention.keep_bytes)
    return Pruned(dropped + for_room, for_room)


def size(connection: Connection, dropped_spans: int) -> StoreSize:
    """Say how much is kept; a span that was sent twice counts twice here."""
    [[spans, size_bytes]] = connection.rows(
        f"SELECT sumIf(rows, table = 'spans_v1'), sum(bytes_on_disk) {_PARTS}", deadline_s=PATIENCE_S
    )
    [[oldest_ns]] = connection.rows(
        "SELECT toUnixTimestamp64Nano(min(start)) FROM spans_v1", deadline_s=PATIENCE_S
    )
    return StoreSize(spans, size_bytes, oldest_ns, dropped_spans)


def _partitions(connection: Connection) -> list[_Partition]:
    rows = connection.rows(
        f"SELECT toUInt32(partition), sum(rows), sum(bytes_on_disk) {_PARTS} AND table = 'spans_v1' GROUP BY partition",
        deadline_s=PATIENCE_S,
    )
    return sorted((_Partition(*row) for row in rows), key=lambda one: (one.end_ns, one.number))


def _drop(connection: Connection, one: _Partition) -> int:
    connection.fetch(f"ALTER TABLE spans_v1 DROP PARTITION {one.number}")
    return one.rows


def _retire(connection: Connection, one: _Partition) -> int:
    """Copy the telling traces of a partition, then drop it."""
    length = "max(toUInt64(toUnixTimestamp64Nano(start)) + duration_ns) - min(toUInt64(toUnixTimestamp64Nano(start)))"
    kept = f"FROM spans_v1 WHERE part = {one.number + KEPT}"
    [[before]] = connection.rows(f"SELECT count() {kept}", deadline_s=PATIENCE_S)
    connection.fetch(
        f"""INSERT INTO spans_v1 SELECT * REPLACE(toUInt32(part + {KEPT}) AS part)
        FROM (SELECT * FROM spans_v1 WHERE part = {one.number} AND (trace_id, span_id) NOT IN (SELECT trace_id, span_id {kept})
            AND trace_id IN (
                WITH (
                    SELECT quantile(0.99)(length) FROM (
                        SELECT {length} AS length FROM spans_v1 WHERE part = {one.number} GROUP BY trace_id
                    )
                ) AS slow
                SELECT trace_id FROM spans_v1 WHERE part = {one.number} GROUP BY trace_id
                HAVING max(status = 2) OR max(track = 'canary') OR {length} >= slow
            )) SETTINGS {_LEAN}"""
    )
    [[after]] = connection.rows(f"SELECT count() {kept}", deadline_s=PATIENCE_S)
    return max(0, _drop(connection, one) - int(after - before))


def _make_room(connection: Connection, keep_bytes: int) -> int:
    dropped = 0
    found = _partitions(connection)
    for one in [one for one in found if one.is_kept]:
        if sum(each.size_bytes for each in found if each.is_kept) > keep_bytes * _KEPT_SHARE:
            dropped += _drop(connection, one)
            found.remove(one)
    for one in [one for one in found if not one.is_kept][:-1]:
        if sum(each.size_bytes for each in found) > keep_bytes:
            dropped += _drop(connection, one)
            found.remove(one)
    excess = sum(each.size_bytes for each in found) - keep_bytes
    return dropped + (_drop_parts(connection, excess) if excess > 0 else 0)


def _drop_parts(connection: Connection, excess: int) -> int:
    """Drop the oldest parts of what is left: a flood within six hours must not fill the disk."""
    dropped = 0
    rows = connection.rows(
        f"SELECT name, rows, bytes_on_disk {_PARTS} AND table = 'spans_v1' ORDER BY max_block_number",
        deadline_s=PATIENCE_S,
    )
    for name, spans, size_bytes in rows:
        if excess <= 0:
            break
        connection.fetch(f"ALTER TABLE spans_v1 DROP PART '{name}'")
        dropped, excess = dropped + spans, excess - size_bytes
    return dropped


def _forget_old_sums(connection: Connection, oldest_ns: int) -> None:
    """Drop months of rollups and resources that no span is left of."""
    rows = connection.rows(
        f"""SELECT DISTINCT table, partition {_PARTS}
            AND table IN (SELECT name FROM system.tables
                WHERE database = currentDatabase() AND partition_key = 'toYYYYMM(bucket)')
            AND addMonths(parseDateTimeBestEffort(concat(partition, '01'), 'UTC'), 1)
                <= toDateTime(intDiv({max(0, oldest_ns)}, 1000000000), 'UTC')""",
        deadline_s=PATIENCE_S,
    )
    for table, partition in rows:
        connection.fetch(f"ALTER TABLE {table} DROP PARTITION {partition}")
    old = f"last_seen < toDateTime(intDiv({max(0, oldest_ns)}, 1000000000)) - INTERVAL 1 DAY"
    [[count]] = connection.rows(f"SELECT count() FROM resources_v1 WHERE {old}", deadline_s=PATIENCE_S)
    if count:
        connection.fetch(f"DELETE FROM resources_v1 WHERE {old}")
