"""YAML as JSON with less punctuation: the same values, and nothing that YAML would guess.

YAML turns `no` into false, `12:30:45` into 45045, `1_000` into 1000 and `.nan` into a limit that never fires; an alias
can make a gigabyte of ten lines. Here plain text that is a JSON value is that value, plain text that only looks like a
number or a truth value is refused with its place, and everything else is text. No anchors, no tags, one document.
Before it: `controller.plans.files`. After it: `controller.plans.validation`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller.errors import InvalidInput
from controller.plans.text import MAX_DEPTH, MAX_VALUES, parse, shown

if TYPE_CHECKING:
    from yaml.events import Event

JSON_VALUE = re.compile(r"null|true|false|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
GUESSED = re.compile(
    r"[-+]?\.?[0-9].*|[-+]?\.(inf|nan)|y|n|yes|no|on|off|true|false|null|~|", re.IGNORECASE | re.DOTALL
)
"""Plain text that some YAML reader takes for a number, a date, a truth value or nothing."""
_ABSENT = object()


def parse_yaml(body: bytes) -> Any:
    """Read one YAML document.

    Args:
        body: UTF-8. The caller has capped its size.

    Raises:
        InvalidInput: It is not YAML, or uses what is not taken here. The message says where and repeats nothing.
    """
    import yaml

    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("expected YAML in UTF-8") from None
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        where = f"; it breaks at {_place(error.problem_mark)}" if error.problem_mark else ""
        raise InvalidInput(f"expected a YAML document{where}") from None
    except yaml.YAMLError:
        raise InvalidInput("expected a YAML document of printable characters") from None
    return reader.document()


class _Reader:
    """Builds the document from events, so that depth and size are known before anything is built."""

    def __init__(self) -> None:
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[Any] = []
        self._document: Any = _ABSENT
        self._values = 0

    def document(self) -> Any:
        if self._document is _ABSENT:
            raise InvalidInput("expected a YAML document; it is empty")
        return self._document

    def take(self, event: Event) -> None:
        import yaml

        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise InvalidInput(f"expected no anchors and no aliases, found one at {_place(event.start_mark)}")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
            raise InvalidInput(f"expected no tags, found one at {_place(event.start_mark)}")
        if isinstance(event, yaml.DocumentStartEvent) and self._document is not _ABSENT:
            raise InvalidInput(f"expected one document, found a second at {_place(event.start_mark)}")
        if isinstance(event, yaml.ScalarEvent):
            self._add(_scalar(event), event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin([], event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._open.pop()
            self._keys.pop()

    def _begin(self, holder: dict[str, Any] | list[Any], event: Event) -> None:
        self._add(holder, event)
        self._open.append(holder)
        self._keys.append(_ABSENT)
        if len(self._open) > MAX_DEPTH:
            raise InvalidInput(f"expected at most {MAX_DEPTH} levels of nesting")

    def _add(self, value: Any, event: Event) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise InvalidInput(f"expected at most {MAX_VALUES} values in one document")
        if not self._open:
            self._document = value
            return
        holder = self._open[-1]
        if isinstance(holder, list):
            holder.append(value)
        elif self._keys[-1] is _ABSENT:
            self._keys[-1] = _key(value, holder, event)
        else:
            holder[self._keys[-1]] = value
            self._keys[-1] = _ABSENT


def _key(value: Any, holder: dict[str, Any], event: Event) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"expected text as a key at {_place(event.start_mark)}")
    if value in holder:
        raise InvalidInput("expected every key once in an object", field=shown(value))
    return value


def _scalar(event: Any) -> Any:
    if event.style:  # quoted, or a block of text
        return event.value
    if JSON_VALUE.fullmatch(event.value):
        return parse(event.value.encode())
    if GUESSED.fullmatch(event.value):
        raise InvalidInput(
            "expected a plain number, true, false, null, or text in quotes, since YAML readers disagree about "
            f"what stands at {_place(event.start_mark)}"
        )
    return event.value


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"
