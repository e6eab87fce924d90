"""What happens when a store opens: the tables are brought up to date, and parts that cannot be read are named.

Before it: `crew`. After it: `migrations`. The engine sets aside a part of which a file is missing or cut off, and goes on
without it.
"""

from __future__ import annotations

from controller import observability
from controller.traces.clickhouse.connection import Connection
from controller.traces.clickhouse.migrations import migrate

_DEADLINE_S = 60.0

log = observability.logger(__name__)


def prepare(connection: Connection) -> None:
    """Migrate, and log a warning for each part that was set aside.

    Raises:
        TracesUnavailable: The tables cannot be brought up to date.
    """
    if steps := migrate(connection):
        log.info("trace_store_migrated", steps=steps)
    for table, name, reason, path in set_aside(connection):
        log.warning(
            "trace_part_set_aside",
            table=table,
            part=name,
            reason=reason,
            path=path,
            advice="its spans are not found; restore the folder from a copy, or delete it",
        )


def set_aside(connection: Connection) -> list[tuple[str, str, str, str]]:
    """Return table, name, reason and path of parts that the engine could not read when it started."""
    rows = connection.rows(
        "SELECT table, name, reason, path FROM system.detached_parts "
        "WHERE database = currentDatabase() AND reason LIKE 'broken%' ORDER BY table, name",
        deadline_s=_DEADLINE_S,
    )
    return [(table, name, reason, path) for table, name, reason, path in rows]
