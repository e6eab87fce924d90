"""What one transaction writes; each function gets a connection that may write, and is done whole or not at all.

Each looks first and then writes. On SQLite nobody can come in between; on PostgreSQL a unique index refuses the later
one, whose transaction then runs again and finds what the earlier one wrote.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from controller.errors import NotFound
from controller.model.notice import Notice
from controller.model.release import Change, Command, JournalEvent, Progress, ReleaseOrder
from controller.model.target import Target
from controller.store import rules
from controller.store.port import Ordered
from controller.store.relational import reading, rows
from controller.store.relational.tables import commands, journal, outbox, releases, targets


def put_target(connection: Connection, target: Target) -> bool:
    """Create or replace a target; True when it is new."""
    row = rows.target_row(target)
    place = (targets.c.environment == target.environment, targets.c.name == target.name)
    if connection.execute(update(targets).where(*place).values(row)).rowcount:
        return False
    connection.execute(insert(targets).values(row))
    return True


def delete_target(connection: Connection, environment: str, name: str) -> None:
    """Delete a target that no active release holds."""
    holder = reading.active_release(connection, environment, name)
    place = (targets.c.environment == environment, targets.c.name == name)
    if connection.scalar(select(targets.c.name).where(*place)) is None:
        raise rules.no_target()
    if holder is not None:
        raise rules.target_busy(holder)
    connection.execute(delete(targets).where(*place))


def order(connection: Connection, order: ReleaseOrder, command: Command) -> Ordered:
    """Write a release, its START command and its first event, if the target is free."""
    earlier = reading.command(connection, command.id)
    if earlier is not None and rules.is_repeat_of_order(earlier, command):
        return Ordered(reading.get_release(connection, earlier.release), is_new=False)
    holder = reading.active_release(connection, order.target.environment, order.target.name)
    if holder is not None:
        raise rules.target_busy(holder)
    if connection.scalar(select(releases.c.id).where(releases.c.id == order.id)) is not None:
        raise rules.key_reused()
    connection.execute(insert(releases).values(rows.new_release_row(order)))
    connection.execute(insert(commands).values(rows.command_row(command)))
    _write_event(connection, rules.ordered_event(order))
    return Ordered(reading.get_release(connection, order.id), is_new=True)


def discard(connection: Connection, release: str) -> None:
    """Delete a release that never began, with its commands; its `ordered` event stays in the journal."""
    try:
        row = reading.release_row(connection, release, is_locked=True)
    except NotFound:
        return
    kinds = connection.scalars(select(journal.c.kind).where(journal.c.release == release).distinct())
    if not rules.can_be_discarded(rows.release_of(row), kinds):
        raise rules.already_begun(release)
    connection.execute(delete(releases).where(releases.c.id == release))


def record(
    connection: Connection, event: JournalEvent, change: Change | None, notices: Sequence[Notice]
) -> int:
    """Write an event, what it changes and its notices; a repeated id changes nothing."""
    earlier = _seq(connection, event)
    if earlier is not None:
        return earlier
    # Held until the commit, so that the events of one release become visible in the order of their seq.
    row = reading.release_row(connection, event.release, is_locked=True)
    if change is not None:
        standing = rows.standing_row(rules.changed(rows.release_of(row), change))
        connection.execute(update(releases).where(releases.c.id == event.release).values(standing))
    for notice in notices:
        _put_notice(connection, notice)
    return _write_event(connection, event)


def report(connection: Connection, progress: Progress) -> None:
    """Keep the newest step, share and verdict of a running release."""
    try:
        row = reading.release_row(connection, progress.release, is_locked=True)
    except NotFound:
        return
    newer = rules.progressed(rows.release_of(row), progress, newest_at=row["reported_at"])
    if newer is not None:
        connection.execute(
            update(releases)
            .where(releases.c.id == progress.release)
            .values(**rows.standing_row(newer), reported_at=progress.at)
        )


def add_command(connection: Connection, command: Command) -> bool:
    """Write a command as pending; False when it was written before."""
    earlier = reading.command(connection, command.id)
    if earlier is not None:
        rules.require_repeat_of_command(earlier, command)
        return False
    reading.release_row(connection, command.release)
    connection.execute(insert(commands).values(rows.command_row(command)))
    return True


def settle_command(connection: Connection, command: str, *, is_accepted: bool, note: str) -> None:
    """Mark a command as taken or refused; the first answer stays, an unknown id is no error."""
    connection.execute(
        update(commands)
        .where(commands.c.id == command, commands.c.state == "pending")
        .values(state="accepted" if is_accepted else "refused", note=note)
    )


def mark_notice(connection: Connection, notice: str, channel: str, *, is_delivered: bool, note: str) -> None:
    """Count a try of a notice; one that was delivered stays so, an unknown one is no error."""
    connection.execute(
        update(outbox)
        .where(outbox.c.id == notice, outbox.c.channel == channel, outbox.c.is_delivered.is_(False))
        .values(attempts=outbox.c.attempts + 1, is_delivered=is_delivered, note=note)
    )


def _put_notice(connection: Connection, notice: Notice) -> None:
    place = (outbox.c.id == notice.id, outbox.c.channel == notice.channel)
    if connection.scalar(select(outbox.c.place).where(*place)) is None:
        connection.execute(insert(outbox).values(rows.notice_row(notice)))


def _seq(connection: Connection, event: JournalEvent) -> int | None:
    seq: int | None = connection.scalar(select(journal.c.seq).where(journal.c.id == event.id))
    return seq


def _write_event(connection: Connection, event: JournalEvent) -> int:
    earlier = _seq(connection, event)
    if earlier is not None:
        return earlier
    written = connection.execute(insert(journal).values(rows.event_row(event))).inserted_primary_key
    if written is None:
        raise AssertionError("an insert of one row returns its key")
    return int(written[0])
