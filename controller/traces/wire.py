"""How the questions of the port travel between processes: their names, and values to bytes and back.

Before it: `remote` asks and `controller.ingest.answers` answers, both through this table. Arguments go as JSON of the
values' fields, answers too; whole spans go as OTLP, which loses nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from google.protobuf.message import DecodeError
from pydantic import TypeAdapter, ValidationError, create_model

from controller.errors import InvalidInput
from controller.model.trace import Span, Trace
from controller.traces import decoding
from controller.traces.port import TraceStore

JSON = "application/json"
OTLP = "application/x-protobuf"


@dataclass(frozen=True)
class Question:
    """One question of the port.

    Args:
        name: The method of `TraceStore`.
        to_bytes: The answer as bytes, where JSON of its fields will not do.
        from_bytes: And back.
    """

    name: str
    to_bytes: Callable[[Any], bytes] | None = None
    from_bytes: Callable[[bytes], Any] | None = None

    @property
    def content_type(self) -> str:
        """Of the answer."""
        return OTLP if self.to_bytes else JSON

    def pack(self, arguments: Mapping[str, Any]) -> bytes:
        """Return the arguments as JSON."""
        return self._arguments.dump_json(self._arguments.validate_python(dict(arguments)))

    def unpack(self, body: bytes) -> dict[str, Any]:
        """Return the arguments.

        Raises:
            InvalidInput: They are not what the question takes.
        """
        try:
            found = self._arguments.validate_json(body)
        except ValidationError as error:
            raise _refused(error) from error
        return {name: getattr(found, name) for name in type(found).model_fields}

    def answer(self, found: Any) -> bytes:
        """Return an answer as bytes."""
        return self.to_bytes(found) if self.to_bytes else self._answer.dump_json(found)

    def read(self, body: bytes) -> Any:
        """Return an answer.

        Raises:
            ValueError: The bytes are none.
        """
        return self.from_bytes(body) if self.from_bytes else self._answer.validate_json(body)

    @cached_property
    def _arguments(self) -> TypeAdapter[Any]:
        method = getattr(TraceStore, self.name)
        hints = get_type_hints(method)
        fields: dict[str, Any] = {
            name: (hints[name], ... if one.default is one.empty else one.default)
            for name, one in inspect.signature(method).parameters.items()
            if name != "self"
        }
        return TypeAdapter(create_model(self.name, __config__={"extra": "forbid"}, **fields))

    @cached_property
    def _answer(self) -> TypeAdapter[Any]:
        return TypeAdapter(get_type_hints(getattr(TraceStore, self.name))["return"])


def _refused(error: ValidationError) -> InvalidInput:
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):
        return cause
    return InvalidInput(str(first["msg"]), field=".".join(map(str, first["loc"])) or "body")


def _spans(body: bytes) -> tuple[Span, ...]:
    try:
        return tuple(decoding.spans(body))
    except DecodeError as error:
        raise ValueError("the bytes are no spans") from error


def _trace(body: bytes) -> Trace | None:
    found = _spans(body)
    return Trace(found[0].trace_id, found) if found else None


def _from_trace(found: Trace | None) -> bytes:
    return decoding.encode(found.spans) if found else b""


def _span(body: bytes) -> Span | None:
    return next(iter(_spans(body)), None)


def _from_span(found: Span | None) -> bytes:
    return decoding.encode([found]) if found else b""


QUESTIONS: Mapping[str, Question] = {
    one.name: one
    for one in (
        Question("search"),
        Question("get", _from_trace, _trace),
        Question("span", _from_span, _span),
        Question("outline"),
        Question("timeline"),
        Question("services"),
        Question("operations"),
        Question("service_map"),
        Question("map_of"),
        Question("difference"),
        Question("shares"),
        Question("keys"),
        Question("values"),
        Question("rates"),
        Question("size"),
    )
}
"""`ingest` and `prune` are not asked from outside: what comes in and what goes is the telemetry process's own."""
