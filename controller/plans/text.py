"""JSON as people and programs send it, read strictly: the first guard of every body.

Python's `json` takes NaN, `1e999`, lone surrogates, duplicate keys and any depth. Each of them has turned a limit into
something that never fires, or a bad request into a 500. Before it: the API's body cap, or a file. After it:
`controller.plans.validation`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from controller.errors import InvalidInput

MAX_DEPTH = 32
"""Far above what a plan needs (5), far below what the recursion of any later reader stands."""
MAX_VALUES = 20_000
"""Values in one document; a 64 KiB body of single digits would hold 32 000."""
MAX_INTEGER = 2**63 - 1

SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
UNNAMED = "(a name that is not shown)"
LONGEST_PATH = 256
"""Characters of a path in an answer; the end of a longer one is kept, since it is what was written wrong."""


def parse(body: bytes) -> Any:
    """Read one JSON document.

    Args:
        body: UTF-8 without a byte order mark. The caller has capped its size.

    Raises:
        InvalidInput: It is not strict JSON. The message never holds a part of the document; `field` is the path of
            the value that is wrong, where there is one.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("expected JSON in UTF-8") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_number,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except InvalidInput:
        raise
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise InvalidInput(_where(error)) from None
    _check(value)
    return value


@dataclass(frozen=True, slots=True)
class _Wrong:
    """Stands for a value that no document may hold until the walk finds it, and with it the path."""

    why: str


def shown(name: object) -> str:
    """Return a field name that a caller chose, if it is harmless to show; else a placeholder."""
    text = str(name)
    return text if SAFE_NAME.fullmatch(text) else UNNAMED


def _where(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"expected a JSON document; it breaks at line {error.lineno}, column {error.colno}"
    return "expected a JSON document"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        found[twice] = _Wrong("expected every key once in an object")
    return found


def _number(text: str) -> float | _Wrong:
    value = float(text)
    return value if math.isfinite(value) else _Wrong("expected finite numbers; one is too large")


def _integer(text: str) -> int | _Wrong:
    if len(text) > 20 or abs(value := int(text)) > MAX_INTEGER:
        return _Wrong("expected whole numbers of at most 64 bits")
    return value


def _constant(name: str) -> _Wrong:
    return _Wrong("expected finite numbers; NaN and Infinity are not JSON")


def _too_deep() -> InvalidInput:
    return InvalidInput(f"expected at most {MAX_DEPTH} levels of nesting")


_Path = tuple[Any, ...]
"""(name, path of what holds it), innermost first: one small tuple a value, whatever the depth."""


def _check(document: Any) -> None:
    """Walk without recursion: depth, number of values, wrong values, and strings that no UTF-8 can hold."""
    waiting: list[tuple[Any, int, _Path]] = [(document, 1, ())]
    count = 0
    while waiting:
        value, depth, path = waiting.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        if count > MAX_VALUES:
            raise InvalidInput(f"expected at most {MAX_VALUES} values in one document")
        if isinstance(value, _Wrong):
            raise InvalidInput(value.why, field=_field(path))
        if isinstance(value, str):
            _check_string(value, path)
        elif isinstance(value, dict):
            for key in value:
                _check_string(key, path)
            waiting.extend((inner, depth + 1, (key, path)) for key, inner in value.items())
        elif isinstance(value, list):
            waiting.extend((inner, depth + 1, (index, path)) for index, inner in enumerate(value))


def _check_string(value: str, path: _Path) -> None:
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InvalidInput(
            "expected text of whole characters; a lone surrogate was found", field=_field(path)
        )


def _field(path: _Path) -> str | None:
    parts: list[str] = []
    while path:
        name, path = path
        parts.append(shown(name))
    return ".".join(reversed(parts))[-LONGEST_PATH:] or None
