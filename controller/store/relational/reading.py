"""What one transaction reads; each function gets the connection and leaves nothing behind."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, Select, select

from controller.model.notice import Notice
from controller.model.release import Command, CommandKind, JournalEvent, Release, State
from controller.model.target import Target
from controller.store import rules
from controller.store.relational import rows
from controller.store.relational.tables import commands, journal, outbox, releases, targets


def get_target(connection: Connection, environment: str, name: str) -> Target:
    """Return a target; `NotFound` when it is not declared."""
    row = _one(
        connection, select(targets).where(targets.c.environment == environment, targets.c.name == name)
    )
    if row is None:
        raise rules.no_target()
    return rows.target_of(row)


def list_targets(connection: Connection) -> tuple[Target, ...]:
    """Return all targets by environment and name."""
    found = _all(connection, select(targets))
    # Sorted here, because PostgreSQL sorts text as its language does.
    return rows.readable(rows.target_of, sorted(found, key=lambda row: (row["environment"], row["name"])))


def get_release(connection: Connection, release: str) -> Release:
    """Return a release; `NotFound` when there is none."""
    return rows.release_of(release_row(connection, release))


def release_row(connection: Connection, release: str, *, is_locked: bool = False) -> RowMapping:
    """Return a release's row, held against other writers if `is_locked`; `NotFound` when there is none."""
    query = select(releases).where(releases.c.id == release)
    row = _one(connection, query.with_for_update() if is_locked else query)
    if row is None:
        raise rules.no_release(release)
    return row


def list_releases(
    connection: Connection, *, target: str | None, active: bool | None, before: str | None, limit: int
) -> tuple[Release, ...]:
    """Return releases, newest first."""
    query = select(releases).order_by(releases.c.place.desc()).limit(limit)
    if target is not None:
        query = query.where(releases.c.target == target)
    if active is not None:
        is_done = releases.c.state == State.DONE.value
        query = query.where(~is_done if active else is_done)
    if before is not None:
        place = connection.scalar(select(releases.c.place).where(releases.c.id == before))
        if place is None:
            raise rules.no_cursor()
        query = query.where(releases.c.place < place)
    return rows.readable(rows.release_of, _all(connection, query))


def events(connection: Connection, release: str, *, after: int, limit: int) -> tuple[JournalEvent, ...]:
    """Return a release's events with `seq` above `after`, oldest first."""
    if after >= rules.LARGEST_PLACE:
        return ()
    query = (
        select(journal)
        .where(journal.c.release == release, journal.c.seq > max(after, 0))
        .order_by(journal.c.seq)
        .limit(limit)
    )
    return rows.readable(rows.event_of, _all(connection, query))


def active_release(connection: Connection, environment: str, target: str) -> str | None:
    """Return the id of the release that holds a target, if one does."""
    found: str | None = connection.scalar(
        select(releases.c.id).where(
            releases.c.environment == environment,
            releases.c.target == target,
            releases.c.state != State.DONE.value,
        )
    )
    return found


def command(connection: Connection, key: str) -> Command | None:
    """Return the command with an id, if it was written."""
    row = _one(connection, select(commands).where(commands.c.id == key))
    return None if row is None else rows.command_of(row)


def pending_commands(connection: Connection, limit: int) -> tuple[Command, ...]:
    """Return commands that the orchestrator has not taken yet, oldest first."""
    query = (
        select(commands)
        .where(commands.c.state == "pending", commands.c.kind != CommandKind.START.value)
        .order_by(commands.c.place)
        .limit(limit)
    )
    return rows.readable(rows.command_of, _all(connection, query))


def pending_notices(connection: Connection, channel: str, limit: int) -> tuple[Notice, ...]:
    """Return undelivered notices of a channel, oldest first."""
    query = (
        select(outbox)
        .where(outbox.c.channel == channel, outbox.c.is_delivered.is_(False))
        .order_by(outbox.c.place)
        .limit(limit)
    )
    return rows.readable(rows.notice_of, _all(connection, query))


def pending_channels(connection: Connection) -> tuple[str, ...]:
    """Return the channels that have undelivered notices, by name."""
    query = select(outbox.c.channel).where(outbox.c.is_delivered.is_(False)).distinct()
    return tuple(sorted(connection.scalars(query)))


def notices(connection: Connection, release: str) -> tuple[tuple[Notice, bool], ...]:
    """Return a release's notices, oldest first, each with whether it was delivered."""
    query = select(outbox).where(outbox.c.release == release).order_by(outbox.c.place)
    return rows.readable(
        lambda row: (rows.notice_of(row), bool(row["is_delivered"])), _all(connection, query)
    )


def _one(connection: Connection, query: Select[*tuple[object, ...]]) -> RowMapping | None:
    return connection.execute(query).mappings().one_or_none()


def _all(connection: Connection, query: Select[*tuple[object, ...]]) -> list[RowMapping]:
    return list(connection.execute(query).mappings())
