"""chDB: ClickHouse inside this process, on a folder that belongs to it alone.

Before it: `crew`. After it: the folder. Importing chDB changes the working directory for a moment, and a fork after it
is unsafe: only the telemetry process does it, with absolute paths.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from controller.errors import TracesUnavailable
from controller.traces.clickhouse.connection import INSERT, Connection, failed
from controller.traces.clickhouse.literal import quoted

_SCHEMA = re.compile(r"format_schema_source = 'string', format_schema = '((?:[^'\\\\]|\\\\.)*)'", re.DOTALL)
_MESSAGE = re.compile(r", format_schema_message_name = '(\w+)'")
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
                return EmbeddedConnection(_open(self._folder, self._memory_bytes), self._folder)
            except OSError as error:
                raise TracesUnavailable(f"{self._folder} cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Let go of the folder, after all connections. Idempotent."""
        with self._lock:
            if self._held is not None:
                os.close(self._held)
                self._held = None


class EmbeddedConnection(Connection):
    """One of several connections to the same folder in this process."""

    def __init__(self, session: Any, folder: Path) -> None:
        self._session = session
        self._folder = folder

    def fetch(self, statement: str) -> bytes:
        """Run a statement and return its answer."""
        try:
            return bytes(self._session.query(statement, "JSONCompactEachRow").bytes())
        except RuntimeError as error:
            raise failed(str(error)) from error

    def insert(self, payload: bytes, into: str = INSERT) -> None:
        """Commit a batch, read from a file in memory.

        Not by chDB's `send_insert`: it says nothing when a view behind the table fails, on a full disk for one.
        """
        try:
            with _in_memory(payload) as path:
                statement = self._with_schema_file(into)
                source = f" FROM INFILE {quoted(path)} SETTINGS"
                self.fetch(f"{statement.replace(' SETTINGS', source, 1)} FORMAT ProtobufList")
        except OSError as error:
            raise failed(str(error)) from error

    def _with_schema_file(self, into: str) -> str:
        """Name a file of ours as the schema: the engine would write one into the working directory."""
        schema, message = _SCHEMA.search(into), _MESSAGE.search(into)
        if schema is None or message is None:
            return into
        path = self._folder / f"{message[1]}.proto"
        text = schema[1].replace("\\'", "'").replace("\\\\", "\\")
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return _MESSAGE.sub("", into.replace(schema[0], f"format_schema = {quoted(f'{path}:{message[1]}')}"))

    def close(self) -> None:
        """Close it; the last one ends the engine."""
        self._session.close()


@contextlib.contextmanager
def _in_memory(payload: bytes) -> Iterator[str]:
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
    config, wanted = folder / "serinus.xml", _CONFIG.format(memory=memory_bytes, cache=memory_bytes // 20)
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
