"""One connection to ClickHouse: statements in, rows or a committed batch out. What chDB and a server have in common.

Before it: `crew`, which gives each thread its own. After it: `embedded` or `server`. Blocks; never called on the event
loop. ClickHouse's errors are text with a number in it; `failed` tells them apart.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from typing import Any

from controller.errors import InvalidInput, TracesUnavailable
from controller.traces.clickhouse.literal import quoted
from controller.traces.clickhouse.otlp_format import MESSAGE, PROTO

Row = list[Any]
INSERT = (
    f"INSERT INTO otlp_in SETTINGS format_schema_source = 'string', format_schema = {quoted(PROTO)}, "
    f"format_schema_message_name = {quoted(MESSAGE)}, max_partitions_per_insert_block = 1000"
)
"""The schema of the format travels with the statement, so that a server needs no file of ours."""
_CODE = re.compile(r"Code: (\d+)")
_PART = re.compile(r"(/\S*store/[0-9a-f]{3}/[0-9a-f-]{36}/[0-9]+(?:_[0-9]+){3,4})")
_DISK_FULL = {"243", "28"}
_TOO_SLOW = {"159", "160"}
_TOO_LARGE = {"241", "158", "396", "307"}
_BROKEN = {"40", "32", "33", "117", "228", "233", "246", "271", "432", "538", "739"}


class Connection(ABC):
    """A connection, used by one thread at a time."""

    @abstractmethod
    def fetch(self, statement: str) -> bytes:
        """Run a statement and return its answer.

        Raises:
            TracesUnavailable: It could not be run; the message says why and what to do.
        """

    @abstractmethod
    def insert(self, payload: bytes, into: str = INSERT) -> None:
        """Commit a batch made by `otlp_format.envelope`; all of it or nothing.

        Args:
            payload: The batch.
            into: The statement, without FORMAT.

        Raises:
            InvalidInput: A body in it is no OTLP.
            TracesUnavailable: It could not be committed.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go. Idempotent."""

    def rows(self, statement: str, *, deadline_s: float) -> list[Row]:
        """Return the rows of a question, numbers of 64 bits included.

        Args:
            statement: A SELECT without SETTINGS and FORMAT.
            deadline_s: The engine gives up after it, seconds.
        """
        answer = self.fetch(
            f"{statement} SETTINGS max_execution_time = {deadline_s:g}, output_format_json_quote_64bit_integers = 0, "
            "output_format_json_quote_denormals = 1 FORMAT JSONCompactEachRow"
        )
        return [json.loads(line) for line in answer.splitlines() if line]


def failed(message: str) -> TracesUnavailable | InvalidInput:
    """Return the error that a message of ClickHouse stands for."""
    found = _CODE.search(message)
    code = found[1] if found else ""
    if code in ("444", "131") or "Protobuf" in message:
        return InvalidInput("the body is not an ExportTraceServiceRequest", field="body")
    if code in _DISK_FULL or "No space left" in message or "File too large" in message or "ENOSPC" in message:
        return TracesUnavailable(
            "the disk of the trace store is full; free some space or lower telemetry.keep_disk_bytes"
        )
    if code in _TOO_SLOW:
        return TracesUnavailable("the trace store did not answer in time; ask for a shorter time")
    if code in _TOO_LARGE:
        return TracesUnavailable(
            "the question needs more memory than the trace store may use; ask for a shorter time or raise "
            "telemetry.memory_bytes"
        )
    if code in _BROKEN or "broken part" in message.lower():
        return TracesUnavailable(
            f"a part of the trace store is corrupt; stop serinus telemetry, move {_part(message)} out of its folder and "
            f"start it again, the rest is fine ({_short(message)})"
        )
    return TracesUnavailable(f"the trace store failed ({_short(message)})")


def _part(message: str) -> str:
    found = _PART.search(message)
    return found[1] if found else "the part"


def _short(message: str) -> str:
    """Return the first line of an error, without addresses of code."""
    line = message.strip().splitlines()[0] if message.strip() else "no reason given"
    return line[:300]
