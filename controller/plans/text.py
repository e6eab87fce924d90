"""JSON as people and programs send it, read strictly: the first guard of every body.

Python's `json` takes NaN, `1e999`, lone surrogates, duplicate keys and any depth. Each of them has turned a limit into
something that never fires, or a bad request into a 500. Before it: the API's body cap, or a file. After it:
`controller.plans.validation`.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from controller.errors import InvalidInput

MAX_DEPTH = 32
"""Far above what a plan needs (5), far below what the recursion of any later reader stands."""
MAX_VALUES = 20_000
"""Values in one document; a 64 KiB body of single digits would hold 32 000."""
MAX_INTEGER = 2**63 - 1

SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
UNNAMED = "(a name that is not shown)"


def parse(body: bytes) -> Any:
    """Read one JSON document.

    Args:
        body: UTF-8 without a byte order mark. The caller has capped its size.

    Raises:
        InvalidInput: It is not strict JSON. The message never holds a part of the document.
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
        raise InvalidInput("expected every key once in an object", field=shown(twice))
    return found


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidInput("expected finite numbers; one is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) > MAX_INTEGER:
        raise InvalidInput("expected whole numbers of at most 64 bits")
    return value


def _constant(name: str) -> float:
    raise InvalidInput("expected finite numbers; NaN and Infinity are not JSON")


def _too_deep() -> InvalidInput:
    return InvalidInput(f"expected at most {MAX_DEPTH} levels of nesting")


def _check(document: Any) -> None:
    """Walk without recursion: depth, number of values, and strings that no UTF-8 can hold."""
    waiting: list[tuple[Any, int]] = [(document, 1)]
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        if count > MAX_VALUES:
            raise InvalidInput(f"expected at most {MAX_VALUES} values in one document")
        if isinstance(value, str):
            _check_string(value)
        elif isinstance(value, dict):
            for key in value:
                _check_string(key)
            waiting.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            waiting.extend((inner, depth + 1) for inner in value)


def _check_string(value: str) -> None:
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InvalidInput("expected text of whole characters; a lone surrogate was found")
