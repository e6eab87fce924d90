"""Values in SQL, so that nothing that a caller sent can ever be read as SQL. Pure.

Before it: a question. After it: a statement. Text travels as the hex of its bytes: there is no quote to close.
"""

from __future__ import annotations

from collections.abc import Iterable


def text(value: str) -> str:
    """Say text. Halves of surrogate pairs, which no store can hold, become question marks."""
    return octets(value.encode(errors="replace"))


def octets(value: bytes) -> str:
    """Say bytes."""
    return f"unhex('{value.hex()}')"


def trace(trace_id: str) -> str:
    """Say a trace id of 32 hex digits, as the column `trace_id` holds it."""
    return f"toFixedString({octets(bytes.fromhex(trace_id))}, 16)"


def traces(trace_ids: Iterable[str]) -> str:
    """Say several trace ids, for IN; at least one."""
    return f"({', '.join(map(trace, trace_ids))})"


def moment(at_ns: int) -> str:
    """Say nanoseconds since 1970, as the column `start` holds them."""
    return f"fromUnixTimestamp64Nano(toInt64({int(at_ns)}), 'UTC')"


def quoted(constant: str) -> str:
    """Say text of our own, which is readable in the statement. Never for what a caller sent."""
    escaped = constant.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
