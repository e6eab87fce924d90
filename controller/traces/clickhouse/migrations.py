"""Steps from one form of the tables to the next; each runs once, in order, and keeps what is there.

Before it: `crew`, when the store opens. After it: the tables of `schema`. A statement may run twice (a crash between
it and its record), so each says IF NOT EXISTS or its like. A changed sort key is a new table (`spans_v2`) that is filled
from the old one.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.errors import TracesUnavailable
from controller.traces.clickhouse import schema
from controller.traces.clickhouse.connection import Connection

MIGRATIONS: tuple[tuple[str, ...], ...] = ((*schema.TABLES, *schema.VIEWS),)
_DEADLINE_S = 60.0


def migrate(connection: Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> int:
    """Bring the tables up to date; returns how many steps ran.

    Raises:
        TracesUnavailable: The tables are newer than this program, or a step failed.
    """
    connection.fetch(
        "CREATE TABLE IF NOT EXISTS serinus_schema (version UInt32, at DateTime DEFAULT now()) "
        "ENGINE = MergeTree ORDER BY version"
    )
    [[done]] = connection.rows("SELECT max(version) FROM serinus_schema", deadline_s=_DEADLINE_S)
    if done > len(migrations):
        raise TracesUnavailable(
            f"the trace store has form {done}, this program knows {len(migrations)}; it was written by a newer Serinus"
        )
    for number in range(done, len(migrations)):
        for statement in migrations[number]:
            connection.fetch(statement)
        connection.fetch(f"INSERT INTO serinus_schema (version) VALUES ({number + 1})")
    return len(migrations) - int(done)
