"""How the ledger's database is opened: files, connections, transactions and migrations.

The one place that knows which database it is. Everything else is SQL that SQLite and PostgreSQL both take. What SQLite
needs (https://www.sqlite.org/wal.html, and SQLAlchemy's page on pysqlite's transactions):

- WAL, so that readers never wait for the writer and the other way round;
- `BEGIN IMMEDIATE` for every transaction that writes: one that starts by reading and writes later is refused at once
  ("database is locked") when another process wrote in between, without waiting;
- `synchronous=FULL` for what is acknowledged, so that a power cut loses nothing of it, and `NORMAL` for a judge's
  report each second, which nobody misses and which would otherwise cost a flush of the disk (a whole call here: 1.6 ms
  against 1.0 ms; on a slow disk 5 ms more). Neither setting loses anything when a process is killed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from controller.errors import ConfigurationError, StoreUnavailable

MIGRATIONS = Path(__file__).parent.parent / "migrations"
THREADS = 4
"""Connections of one process. Writers take turns anyway; four let readers pass a waiting writer."""
_MIGRATION_LOCK = 0x5E_71_0B_00
"""Any number that nobody else takes as an advisory lock in the same PostgreSQL database."""
_RETRY_S = 0.02


class Access(Enum):
    """What a transaction may do, and how sure it is once it is committed."""

    READ = "read"
    WRITE = "write"
    WRITE_SOFTLY = "write_softly"
    """Safe against a killed process; a power cut may lose the last ones."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one transaction asks of its connection.

    Args:
        access: What it may do.
        wait_s: How long it may wait for other writers, seconds.
    """

    access: Access
    wait_s: float


def begin(engine: Engine, terms: Terms) -> Connection:
    """Return a connection whose next transaction follows the terms; it begins with the first statement."""
    return engine.connect().execution_options(terms=terms)


def open_engine(url: str, *, wait_s: float) -> Engine:
    """Return an engine on a database whose tables are those of this Serinus.

    Args:
        url: SQLAlchemy URL; a file for SQLite.
        wait_s: How long to wait for somebody else who opens it, seconds.

    Raises:
        ConfigurationError: The URL cannot be used, or a newer Serinus wrote the database.
        StoreUnavailable: Somebody else held it all the time.
    """
    parsed = _parse(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite:
        _prepare_file(parsed)
    engine = _engine(parsed)
    deadline = time.monotonic() + wait_s
    try:
        if is_sqlite:
            event.listen(engine, "connect", _on_connect_sqlite)
            event.listen(engine, "begin", _on_begin_sqlite)
            _switch_to_wal(engine, deadline)
        else:
            event.listen(engine, "begin", _on_begin_postgresql)
        _migrate(engine, deadline)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _parse(url: str) -> URL:
    # The URL may hold a password: no message repeats it.
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "SERINUS_STORE__URL: expected a SQLAlchemy URL, such as sqlite:///ledger.db"
        ) from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ConfigurationError(f"SERINUS_STORE__URL: expected sqlite or postgresql, found {backend}")
    if backend == "sqlite" and (parsed.database in (None, "", ":memory:") or parsed.query):
        raise ConfigurationError(
            "SERINUS_STORE__URL: expected a file without options; several processes share the ledger"
        )
    return parsed


def _prepare_file(url: URL) -> None:
    path = Path(str(url.database))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its -wal and -shm files the mode of this one.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)


def _engine(url: URL) -> Engine:
    bounded: dict[str, Any] = (
        {"connect_timeout": 5} if url.drivername.startswith("postgresql+psycopg") else {}
    )
    try:
        return create_engine(
            url,
            pool_size=THREADS,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=url.get_backend_name() != "sqlite",
            connect_args=bounded,
        )
    except (ImportError, NoSuchModuleError) as error:
        raise ConfigurationError(
            f"SERINUS_STORE__URL: the driver of {url.drivername} is not installed"
        ) from error


def _on_connect_sqlite(connection: Any, _record: object) -> None:
    # pysqlite must not begin transactions by itself: it never says IMMEDIATE, and leaves some statements outside.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _on_begin_sqlite(connection: Connection) -> None:
    terms = _terms(connection)
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {_milliseconds(terms)}")
    if terms.access is Access.READ:
        connection.exec_driver_sql("BEGIN")
        return
    level = "NORMAL" if terms.access is Access.WRITE_SOFTLY else "FULL"
    connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _on_begin_postgresql(connection: Connection) -> None:
    terms = _terms(connection)
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_milliseconds(terms)}")
    if terms.access is Access.READ:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    if terms.access is Access.WRITE_SOFTLY:
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


def _terms(connection: Connection) -> Terms:
    terms: Terms = connection.get_execution_options()["terms"]
    return terms


def _milliseconds(terms: Terms) -> int:
    return max(1, int(terms.wait_s * 1000))


def _switch_to_wal(engine: Engine, deadline: float) -> None:
    # The switch needs the file for itself and is refused without waiting while another process opens it.
    raw = engine.raw_connection()
    try:
        while True:
            try:
                raw.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except engine.dialect.loaded_dbapi.DatabaseError as error:
                if "locked" not in str(error) or time.monotonic() >= deadline:
                    raise StoreUnavailable(f"the ledger cannot be opened: {error}") from error
            time.sleep(_RETRY_S)
    finally:
        raw.close()


def _migrate(engine: Engine, deadline: float) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    terms = Terms(Access.WRITE, max(0.1, deadline - time.monotonic()))
    # One transaction from the look at the version to the last change: a second process waits, then finds it done.
    with begin(engine, terms) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        _refuse_newer(connection, scripts)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _refuse_newer(connection: Connection, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    for revision in MigrationContext.configure(connection).get_current_heads():
        if revision not in known:
            raise ConfigurationError(
                f"a newer Serinus wrote this ledger (schema {revision}, this one knows up to "
                f"{scripts.get_current_head()}): run that version, or set SERINUS_STORE__URL to another ledger"
            )
