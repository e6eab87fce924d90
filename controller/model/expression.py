"""Regular expressions of a search: RE2, which is what ClickHouse uses too, so that memory and SQL mean the same. Pure.

Before it: `model.condition`. After it: whether a part of a text fits. RE2 follows all ways at once: no expression can
hang it, and what it cannot do in linear time (look-around, back references) is no expression.
"""

from __future__ import annotations

from functools import lru_cache

import re2  # type: ignore[import-untyped]  # ships no stubs

from controller.errors import InvalidInput

LONGEST_TEXT = 4096
"""Characters of a value that are looked at."""
MEMORY = 1 << 20
"""Bytes that a compiled expression and its work may take; one that needs more is refused."""


@lru_cache(maxsize=256)
def read(expression: str) -> re2._Regexp:
    """Compile an expression.

    Raises:
        InvalidInput: It is none that RE2 takes; the message says why.
    """
    if not expression.isprintable() and any("\ud800" <= one <= "\udfff" for one in expression):
        raise InvalidInput("after =~ or !~: no expression of RE2 (half a character)", field="where")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        said = error.args[0].decode(errors="replace")
        raise InvalidInput(f"after =~ or !~: no expression of RE2 ({said})", field="where") from error


def has_match(expression: str, text: str) -> bool:
    """Whether a part of a text fits; only the first 4 096 characters are looked at."""
    return read(expression).search(text[:LONGEST_TEXT]) is not None
