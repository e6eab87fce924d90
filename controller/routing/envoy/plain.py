"""Our messages as the JSON that Envoy reads from a file. Pure.

Before it: `boot`, which builds clusters and routes with the same functions that serve them. After it: `bootfile`. Our
field names are Envoy's, only the packages differ, so the one thing that protobuf's own JSON cannot do is an Any: it
looks for Envoy's name of a message that we have under ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, duration_pb2, json_format, struct_pb2, wrappers_pb2
from google.protobuf.message import Message

from controller.routing.envoy.clusters import HTTP_OPTIONS
from controller.routing.envoy.proto import resources_pb2

Json = dict[str, Any]

KNOWN: Mapping[str, type[Message]] = {HTTP_OPTIONS: resources_pb2.HttpOptions}
"""What stands behind the names in an Any; a message without fields needs no entry."""
WELL_KNOWN = (duration_pb2.Duration, struct_pb2.Struct, wrappers_pb2.UInt32Value)


def plain(message: Message) -> Any:
    """Return a message as JSON-safe values.

    Raises:
        KeyError: An Any holds a message that is not `KNOWN`.
    """
    if isinstance(message, any_pb2.Any):
        return {"@type": message.type_url, **_inside(message)}
    if isinstance(message, WELL_KNOWN):
        return json_format.MessageToDict(message)
    return {field.name: _value(value) for field, value in message.ListFields()}


def _inside(message: any_pb2.Any) -> Json:
    if not message.value:
        return {}
    kind = KNOWN[message.type_url.rpartition("/")[2]]
    inside: Json = plain(kind.FromString(message.value))
    return inside


def _value(value: Any) -> Any:
    if isinstance(value, Message):
        return plain(value)
    if isinstance(value, Mapping):
        return {key: _value(one) for key, one in value.items()}
    if isinstance(value, str | int | float | bool):
        return value
    return [_value(one) for one in value]
