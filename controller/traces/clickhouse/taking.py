"""Which table takes a batch, and by which schema its bytes are read. Pure.

Before it: `store` and the signals' own files. After it: `embedded` and `server`, which write the statement each its way.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from controller.traces.clickhouse.literal import quoted
from controller.traces.clickhouse.otlp_format import MESSAGE, PROTO


@dataclass(frozen=True, slots=True)
class Taker:
    """A table without rows of its own, whose views keep what comes.

    Args:
        table: Its name.
        proto: The schema, proto3.
        message: What stands in the wrapper, by its name in the schema.
        more: Further settings of the statement.
    """

    table: str
    proto: str
    message: str
    more: str = ""

    @property
    def file_name(self) -> str:
        """A name for the schema as a file; another schema has another one."""
        return f"{self.table}-{hashlib.sha256(self.proto.encode()).hexdigest()[:12]}.proto"

    def with_schema(self) -> str:
        """Return the statement with the schema in it, so that a server needs no file of ours."""
        return self._statement(
            "",
            f"format_schema_source = 'string', format_schema = {quoted(self.proto)}, "
            f"format_schema_message_name = {quoted(self.message)}",
        )

    def from_file(self, batch: str, schema: str) -> str:
        """Return the statement that reads a batch from a file, and the schema from another.

        Args:
            batch: Path that the engine can open.
            schema: Absolute path of a file that holds `proto`. A schema in a statement would leave a copy of itself in
                the working directory of the process.
        """
        return self._statement(
            f" FROM INFILE {quoted(batch)}", f"format_schema = {quoted(f'{schema}:{self.message}')}"
        )

    def _statement(self, source: str, settings: str) -> str:
        return f"INSERT INTO {self.table}{source} SETTINGS {settings}{self.more} FORMAT ProtobufList"


SPANS = Taker("otlp_in", PROTO, MESSAGE, ", max_partitions_per_insert_block = 1000")
