"""chDB: ClickHouse inside this process, on a folder that belongs to it alone.

Before it: `crew`. After it: the folder. Importing chDB changes the working directory for a moment, and a fork after it
is unsafe: only the telemetry process does it, with absolute paths.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from controller.errors import TracesUnavailable
from controller.traces.clickhouse.connection import INSERT, Connection, failed

_CONFIG = """<clickhouse>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>{cache}</mark_cache_size>
  <index_mark_cache_size>{cache}</index_mark_cache_size>
  <primary_index_cache_size>{cache}</primary_index_cache_size>
  <query_condition_cache_size>{cache}</query_condition_cache_size>
</clickhouse>
"""


class EmbeddedConnection(Connection):
    """One of several connections to the same folder in this process.

    Args:
        folder: Absolute; made when it is missing, mode 0700.
        memory_bytes: Most memory of the engine; a twentieth of it for each cache.
    """

    def __init__(self, folder: Path, *, memory_bytes: int) -> None:
        self._folder = folder
        self._session = _open(folder, memory_bytes)

    def fetch(self, statement: str) -> bytes:
        """Run a statement and return its answer."""
        try:
            return bytes(self._session.query(statement, "JSONCompactEachRow").bytes())
        except RuntimeError as error:
            raise failed(str(error)) from error

    def insert(self, payload: bytes) -> None:
        """Commit a batch."""
        try:
            with self._session.send_insert(INSERT, "ProtobufList") as batch:
                batch.append(payload)
                batch.finish()
        except RuntimeError as error:
            raise failed(str(error)) from error

    def close(self) -> None:
        """Let go of the folder, when this was the last connection to it."""
        self._session.close()


def _open(folder: Path, memory_bytes: int) -> Any:
    if set(str(folder)) & set("?&#%"):
        raise TracesUnavailable("telemetry.folder: chDB cannot open a path with ?, &, # or % in it")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = folder / "serinus.xml"
        config.write_text(_CONFIG.format(memory=memory_bytes, cache=memory_bytes // 20))
    except OSError as error:
        raise TracesUnavailable(f"{folder} cannot be written: {error.strerror}") from error
    try:
        return importlib.import_module("chdb.session").Session(f"{folder}?config-file={config}")
    except ImportError as error:
        raise TracesUnavailable(
            "chdb-core is not installed (it has wheels for Linux and macOS only); set telemetry.store to memory"
        ) from error
    except RuntimeError as error:
        raise failed(str(error)) from error
