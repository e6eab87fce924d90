"""chDB: ClickHouse inside this process, on a folder that belongs to it alone.

Before it: `crew`. After it: the folder. Importing chDB changes the working directory for a moment, and a fork after it
is unsafe: only the telemetry process does it, with absolute paths.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from controller.errors import TracesUnavailable
from controller.traces.clickhouse.connection import Connection, failed
from controller.traces.clickhouse.taking import SPANS, Taker

_CONFIG = """<clickhouse>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>{cache}</mark_cache_size>
  <index_mark_cache_size>{cache}</index_mark_cache_size>
  <primary_index_cache_size>{cache}</primary_index_cache_size>
  <query_condition_cache_size>{cache}</query_condition_cache_size>
</clickhouse>
"""


class EmbeddedFolder:
    """A folder that this process holds for as long as it has connections to it.

    Args:
        folder: Absolute; made when it is missing, mode 0700.
        memory_bytes: Most memory of the engine; a twentieth of it for each cache.
    """

    def __init__(self, folder: Path, *, memory_bytes: int) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._held: int | None = None

    def connect(self) -> Connection:
        """Open a connection.

        Raises:
            TracesUnavailable: Another process has the folder, it cannot be written, or the engine does not start.
        """
        with self._lock:
            if self._held is None:
                self._held = _hold(self._folder)
            try:
                return EmbeddedConnection(_open(self._folder, self._memory_bytes), self._folder / "schemas")
            except OSError as error:
                raise TracesUnavailable(f"{self._folder} cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Let go of the folder, after all connections. Idempotent."""
        with self._lock:
            if self._held is not None:
                os.close(self._held)
                self._held = None


class EmbeddedConnection(Connection):
    """One of several connections to the same folder in this process.

    Args:
        session: Of chDB.
        schemas: Where schemas are kept as files.
    """

    def __init__(self, session: Any, schemas: Path) -> None:
        self._session = session
        self._schemas = schemas

    def fetch(self, statement: str) -> bytes:
        """Run a statement and return its answer."""
        try:
            return bytes(self._session.query(statement, "JSONCompactEachRow").bytes())
        except RuntimeError as error:
            raise failed(str(error)) from error

    def insert(self, payload: bytes, into: Taker = SPANS) -> None:
        """Commit a batch, read from a file in memory.

        Not by chDB's `send_insert`: it says nothing when a view behind the table fails, on a full disk for one.
        """
        schema = self._schemas / into.file_name
        try:
            if not schema.exists():
                self._schemas.mkdir(mode=0o700, exist_ok=True)
                schema.write_text(into.proto)
            with in_memory(payload) as path:
                self.fetch(into.from_file(path, str(schema)))
        except OSError as error:
            raise failed(str(error)) from error

    def close(self) -> None:
        """Close it; the last one ends the engine."""
        self._session.close()


@contextlib.contextmanager
def in_memory(payload: bytes) -> Iterator[str]:
    """Put bytes where the engine can read them, on Linux without touching a disk."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("serinus-batch")
        path = f"/proc/self/fd/{number}"
    else:
        number, path = tempfile.mkstemp(prefix="serinus-batch-")
    with os.fdopen(number, "wb") as file:
        file.write(payload)
        file.flush()
        try:
            yield path
        finally:
            if not path.startswith("/proc/"):
                Path(path).unlink()


def _hold(folder: Path) -> int:
    """Lock a folder for this process; chDB's own refusal does not say why."""
    if set(str(folder)) & set("?&#%"):
        raise TracesUnavailable("telemetry.folder: chDB cannot open a path with ?, &, # or % in it")
    path = folder / "serinus.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise TracesUnavailable(f"{folder} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(held, 20).decode(errors="replace").strip() or "another one"
        os.close(held)
        raise TracesUnavailable(
            f"{folder} belongs to process {owner}; stop it, or give this one a folder of its own (telemetry.folder)"
        ) from error
    with contextlib.suppress(OSError):
        os.ftruncate(held, 0)
        os.write(held, f"{os.getpid()}\n".encode())
    return held


def _open(folder: Path, memory_bytes: int) -> Any:
    wanted = _CONFIG.format(memory=memory_bytes, cache=memory_bytes // 20)
    config = folder / "serinus.xml"
    if not config.exists() or config.read_text() != wanted:
        config.write_text(wanted)
    try:
        return importlib.import_module("chdb.session").Session(f"{folder}?config-file={config}")
    except ImportError as error:
        raise TracesUnavailable(
            "chdb-core is not installed (it has wheels for Linux and macOS only); set telemetry.store to memory"
        ) from error
    except RuntimeError as error:
        raise failed(str(error)) from error
