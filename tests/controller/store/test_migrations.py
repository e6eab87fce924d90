"""The schema of the ledger: made once, by whoever comes first, and the same as the code believes."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from controller.errors import ConfigurationError
from controller.store.relational.opening import MIGRATIONS, Access, Terms, begin, open_engine
from controller.store.relational.tables import metadata
from controller.store.sql import SqlStore


def schema(path: Path) -> list[tuple[str, str]]:
    """Everything that stands in a database's schema, without its data."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def revisions(path: Path) -> list[str]:
    """The revisions that a database says it has."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]


def test_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    """A fresh ledger has exactly the tables, columns and indexes that the code reads and writes."""
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db", wait_s=5)

    with begin(engine, Terms(Access.READ, 1)) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys")
        ]
    engine.dispose()

    assert differences == []
    assert settings == ["wal", 1]


def test_migrations_indexes_keep_their_conditions(tmp_path: Path) -> None:
    """The partial indexes of migration and code have the same conditions, which the comparison above leaves out."""
    open_engine(f"sqlite:///{tmp_path}/ledger.db", wait_s=5).dispose()

    made = {
        name: sql.partition(" WHERE ")[2]
        for name, sql in schema(tmp_path / "ledger.db")
        if " WHERE " in (sql or "")
    }
    said = {
        str(index.name): str(index.dialect_options["sqlite"]["where"])
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }

    assert made == said
    assert "one_active_release" in said


async def test_migrations_run_twice_change_nothing(tmp_path: Path) -> None:
    """A second start finds the schema done."""
    path = tmp_path / "ledger.db"
    await (await SqlStore.open(f"sqlite:///{path}")).aclose()
    before = schema(path)

    await (await SqlStore.open(f"sqlite:///{path}")).aclose()

    assert schema(path) == before
    assert revisions(path) == ["0001"]


async def test_migrations_by_many_threads_at_once(tmp_path: Path) -> None:
    """However many open the same fresh file at once, it is made once and all of them get a ledger."""
    stores = await asyncio.gather(*(SqlStore.open(f"sqlite:///{tmp_path}/ledger.db") for _ in range(6)))

    for store in stores:
        assert await store.list_targets() == ()
        await store.aclose()

    assert revisions(tmp_path / "ledger.db") == ["0001"]


OPENING = """
import asyncio, sys
from controller.store.sql import SqlStore

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    store = await SqlStore.open(sys.argv[1])
    print(len(await store.list_releases()), flush=True)

asyncio.run(main())
"""


@pytest.mark.process
async def test_migrations_by_two_processes_at_once(tmp_path: Path) -> None:
    """Two processes that start together on a fresh file both get a ledger, and none of them says an error."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    pipe = asyncio.subprocess.PIPE
    both = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", OPENING, url, stdin=pipe, stdout=pipe, stderr=pipe
        )
        for _ in range(2)
    ]
    for child in both:
        assert child.stdout is not None
        await asyncio.wait_for(child.stdout.readline(), 20)

    said = await asyncio.wait_for(asyncio.gather(*(child.communicate(b"go\n") for child in both)), 20)

    assert [(out, error) for out, error in said] == [(b"0\n", b"")] * 2
    assert revisions(tmp_path / "ledger.db") == ["0001"]


async def test_migrations_refuse_a_newer_ledger(tmp_path: Path) -> None:
    """A ledger of a newer Serinus is not touched, and the message says which version is needed."""
    path = tmp_path / "ledger.db"
    await (await SqlStore.open(f"sqlite:///{path}")).aclose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = schema(path)

    with pytest.raises(ConfigurationError, match=r"schema 9999, this one knows up to 0001"):
        await SqlStore.open(f"sqlite:///{path}")

    assert schema(path) == before
    assert revisions(path) == ["9999"]


async def test_migrations_stopped_half_way_begin_again(tmp_path: Path) -> None:
    """A schema that cannot be made is taken back whole: the next start finds nothing half-made."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE outbox (somebody_elses INTEGER)")

    with pytest.raises(Exception, match="outbox already exists"):
        await SqlStore.open(f"sqlite:///{path}")
    left = [name for name, _ in schema(path)]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE outbox")
    await (await SqlStore.open(f"sqlite:///{path}")).aclose()

    assert left == ["outbox"]
    assert revisions(path) == ["0001"]


def test_migrations_are_one_line() -> None:
    """Every change names the one before it, and there is one newest."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_heads() == ["0001"]


def test_migrations_for_postgresql_keep_lock_and_journal() -> None:
    """PostgreSQL gets the same partial unique index, counting columns, and a trigger that closes the journal."""
    printed = io.StringIO()
    config = Config(output_buffer=printed)
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("dialect", "postgresql")

    command.upgrade(config, "head", sql=True)

    sql = printed.getvalue()
    assert (
        "CREATE UNIQUE INDEX one_active_release ON releases (environment, target) WHERE state <> 'done'"
        in sql
    )
    assert "seq BIGSERIAL NOT NULL" in sql
    assert "BEFORE UPDATE OR DELETE OR TRUNCATE ON journal" in sql
