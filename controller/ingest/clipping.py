"""Attributes and values within bounds: what is too much goes, and what was cut is named.

Before it: `spans`, `logs` and `points`, for parts that are long on the wire. After it: the store. A cut value keeps its
beginning. Bounds: 1 024 attributes, events and links each; 65 536 bytes a value; 1 024 bytes a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from controller.ingest.floods import LONG
from controller.ingest.outcome import Outcome
from controller.model.telemetry import CLIPPED

MOST_ATTRIBUTES = 1024
LONGEST_VALUE = 65_536
LONGEST_NAME = 1024


def mark(attributes: Any, names: Iterable[str]) -> None:
    """Say in an attribute what was clipped; a mark that came from outside goes.

    Args:
        attributes: Repeated field of KeyValue.
        names: What was cut, such as `attributes` or `values`.
    """
    for index in reversed([index for index, pair in enumerate(attributes) if pair.key == CLIPPED]):
        del attributes[index]
    attributes.add(key=CLIPPED).value.string_value = ",".join(sorted(set(names)))


def clip_attributes(holder: Any, names: set[str]) -> None:
    """Cut the attributes of a span, an event, a resource or anything like it.

    Args:
        holder: Has `attributes`, and perhaps `dropped_attributes_count`.
        names: Gets `attributes` when some were dropped, `values` when some are shorter now.
    """
    over = len(holder.attributes) - MOST_ATTRIBUTES
    if over > 0:
        del holder.attributes[MOST_ATTRIBUTES:]
        if "dropped_attributes_count" in holder.DESCRIPTOR.fields_by_name:
            holder.dropped_attributes_count = min(holder.dropped_attributes_count + over, 2**32 - 1)
        names.add("attributes")
    for pair in holder.attributes:
        if pair.ByteSize() > LONGEST_NAME:
            if len(pair.key) > LONGEST_NAME:
                pair.key = pair.key[:LONGEST_NAME]
                names.add("attributes")
            clip_value(pair.value, names)


def clip_value(value: AnyValue, names: set[str]) -> None:
    """Cut one value to 65 536 bytes; lists and maps lose whole items from the end."""
    if value.ByteSize() <= LONGEST_VALUE:
        return
    match value.WhichOneof("value"):
        case "string_value":
            value.string_value = shortened(value.string_value, LONGEST_VALUE)
        case "bytes_value":
            value.bytes_value = value.bytes_value[:LONGEST_VALUE]
        case "array_value":
            _keep_first(value.array_value.values)
        case "kvlist_value":
            _keep_first(value.kvlist_value.values)
    names.add("values")


def clip_text(holder: Any, field: str, longest: int, names: set[str]) -> None:
    """Cut a field of text to a number of bytes."""
    found = getattr(holder, field)
    if len(found) > longest // 4 and (short := shortened(found, longest)) != found:
        setattr(holder, field, short)
        names.add(field)


def clip_holder_in(holder: Any, outcome: Outcome) -> None:
    """Cut the attributes of a resource or a scope, mark it there, and count it."""
    if holder.ByteSize() > LONG:
        names: set[str] = set()
        clip_attributes(holder, names)
        if names:
            mark(holder.attributes, names)
            outcome.clip()


def shortened(text: str, longest: int) -> str:
    """Return as many whole characters from the beginning as fit into a number of bytes of UTF-8."""
    return text.encode()[:longest].decode(errors="ignore")


def _keep_first(items: Any) -> None:
    size = 0
    for index, item in enumerate(items):
        size += item.ByteSize()
        if size > LONGEST_VALUE:
            del items[index:]
            return
