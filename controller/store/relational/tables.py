"""The tables of the ledger, as the newest migration leaves them.

A column for what is asked for, JSON text for the rest: a plan, a policy, a target or a verdict is read and written
whole, and its shape belongs to `controller.model`. The migrations make these tables; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

PLACE = BigInteger().with_variant(Integer(), "sqlite")
"""Grows with every row and is never given twice. SQLite counts up by itself only in a column of type INTEGER."""

targets = Table(
    "targets",
    metadata,
    Column("environment", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("declaration", Text, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("place", PLACE, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("environment", String, nullable=False),
    Column("target", String, nullable=False),
    Column("version", String, nullable=False),
    Column("state", String, nullable=False),
    Column("step", Integer, nullable=False),
    Column("share", Integer, nullable=False),
    Column("outcome", String),
    Column("reason", Text, nullable=False),
    Column("ended_at", Double),
    Column("reported_at", Double),
    Column("ordered", Text, nullable=False),
    Column("verdict", Text),
    Column("facts", Text, nullable=False),
    Index(
        "one_active_release",
        "environment",
        "target",
        unique=True,
        sqlite_where=text("state <> 'done'"),
        postgresql_where=text("state <> 'done'"),
    ),
    Index("releases_by_target", "target", "place"),
    sqlite_autoincrement=True,
)

journal = Table(
    "journal",
    metadata,
    Column("seq", PLACE, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    # No foreign key: the journal outlives a discarded release.
    Column("release", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("correlation_id", String, nullable=False),
    Column("details", Text, nullable=False),
    Index("journal_by_release", "release", "seq"),
    sqlite_autoincrement=True,
)

commands = Table(
    "commands",
    metadata,
    Column("place", PLACE, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("release", String, ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("correlation_id", String, nullable=False),
    Column("digest", String, nullable=False),
    # pending, accepted or refused
    Column("state", String, nullable=False),
    Column("note", Text, nullable=False),
    Index("commands_by_release", "release"),
    Index(
        "commands_pending",
        "place",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",
    metadata,
    Column("place", PLACE, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("release", String, ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("details", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("is_delivered", Boolean, nullable=False),
    Column("note", Text, nullable=False),
    UniqueConstraint("id", "channel", name="one_notice_a_channel"),
    Index("outbox_by_release", "release", "place"),
    Index(
        "outbox_pending",
        "channel",
        "place",
        sqlite_where=text("is_delivered = 0"),
        postgresql_where=text("NOT is_delivered"),
    ),
    sqlite_autoincrement=True,
)
