"""The ledger begins: targets, releases, journal, commands and outbox.

The journal is append-only by a trigger on both databases. On PostgreSQL the owner of the table can still drop the
trigger; there, let another role own the tables than the one Serinus logs in with.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

PLACE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables, and the triggers that keep the journal as it is written."""
    _targets()
    _releases()
    _journal()
    _commands()
    _outbox()
    _close_journal()


def _targets() -> None:
    op.create_table(
        "targets",
        sa.Column("environment", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("declaration", sa.Text, nullable=False),
    )


def _releases() -> None:
    op.create_table(
        "releases",
        sa.Column("place", PLACE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("environment", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("share", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("reported_at", sa.Double),
        sa.Column("ordered", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("facts", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    active = sa.text("state <> 'done'")
    op.create_index(
        "one_active_release",
        "releases",
        ["environment", "target"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_index("releases_by_target", "releases", ["target", "place"])


def _journal() -> None:
    op.create_table(
        "journal",
        sa.Column("seq", PLACE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("release", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.String, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("journal_by_release", "journal", ["release", "seq"])


def _commands() -> None:
    op.create_table(
        "commands",
        sa.Column("place", PLACE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("release", sa.String, sa.ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    pending = sa.text("state = 'pending'")
    op.create_index("commands_by_release", "commands", ["release"])
    op.create_index("commands_pending", "commands", ["place"], sqlite_where=pending, postgresql_where=pending)


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("place", PLACE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("release", sa.String, sa.ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("is_delivered", sa.Boolean, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.UniqueConstraint("id", "channel", name="one_notice_a_channel"),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_by_release", "outbox", ["release", "place"])
    op.create_index(
        "outbox_pending",
        "outbox",
        ["channel", "place"],
        sqlite_where=sa.text("is_delivered = 0"),
        postgresql_where=sa.text("NOT is_delivered"),
    )


def _close_journal() -> None:
    if op.get_context().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER journal_refuses_{what.lower()} BEFORE {what} ON journal "
                "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_journal_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER journal_refuses_change BEFORE UPDATE OR DELETE OR TRUNCATE ON journal "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_journal_change()"
    )
