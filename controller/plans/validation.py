"""From a parsed document to a checked one: pydantic's errors become ours, named and never echoing a value.

Before it: `controller.plans.text`. After it: the shapes in `controller.plans.schema` and the API's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from controller.errors import InvalidInput
from controller.plans.text import shown

MOST_ERRORS = 10
"""One answer lists at most this many; 50 000 wrong items must not become a 9 MB answer."""

PLAIN = {
    "missing": "this field is required",
    "extra_forbidden": "no such field is known",
    "string_unicode": "expected text of whole characters",
    "string_type": "expected text",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected a JSON object",
    "model_type": "expected a JSON object",
}
"""Kinds of pydantic's errors whose own words speak of Python."""
NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
VERSION = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
# No control characters and no direction marks: the text is shown on terminals and in alerts.
VISIBLE = r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]*$"
PATTERNS = {
    NAME: "lower-case letters, digits and hyphens, at most 63",
    VERSION: "letters, digits, dots, underscores and hyphens, at most 63",
    VISIBLE: "one line of visible text",
    r"^(rollback|wait|promote)$": "rollback, wait or promote",
}
"""The patterns of the shapes, in words."""

Shape = TypeVar("Shape", bound="Strict")
Value = TypeVar("Value")


class Strict(BaseModel):
    """What callers send: no unknown names, no conversions, only finite numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: its dotted path, and what was expected there."""

    field: str
    expected: str


class InvalidFields(InvalidInput):
    """One or more fields are wrong; `errors` lists the first ten, `field` is the first."""

    def __init__(self, errors: Sequence[FieldError], *, found: int) -> None:
        first = errors[0]
        others = f" (and {found - 1} more)" if found > 1 else ""
        super().__init__(f"{first.expected}{others}", field=first.field or None)
        self.errors = tuple(errors)


def validate(shape: type[Shape], document: object) -> Shape:
    """Check a parsed document against a shape.

    Raises:
        InvalidFields: A field is wrong, missing or unknown.
    """
    if not isinstance(document, dict):
        raise InvalidInput("expected a JSON object")
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise InvalidFields([_error(one) for one in found[:MOST_ERRORS]], found=len(found)) from None


def within(prefix: str, make: Callable[[], Value]) -> Value:
    """Build a model value; an `InvalidInput` from it gets `prefix` before its field.

    Args:
        prefix: Dotted path of the object the value is built from; "" changes nothing.
        make: Builds the value.
    """
    try:
        return make()
    except InvalidInput as error:
        path = ".".join(part for part in (prefix, error.field) if part)
        raise InvalidInput(error.message, field=path or None) from None


def plainly(found: Mapping[str, Any]) -> str:
    """Say what was expected, from one of pydantic's errors (with its context): no class names, no echo."""
    kind, context = str(found["type"]), found.get("ctx") or {}
    if kind in PLAIN:
        # The tag of a union that takes an object or a name.
        return "expected a name or a JSON object" if found["loc"][-1:] == ("@object",) else PLAIN[kind]
    if kind.endswith(("too_short", "too_long")):
        return _length(context, "character" if kind.startswith("string") else "item")
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        return f"expected {PATTERNS.get(pattern, f'text that matches {pattern}')}"
    message = str(found["msg"]).removeprefix("Value error, ")
    text = message.removeprefix("Input should ")
    return f"expected it to {text}" if text != message else text[:200]


def _length(context: Mapping[str, Any], unit: str) -> str:
    bound, limit = ("least", "min_length") if "min_length" in context else ("most", "max_length")
    return f"expected at {bound} {context[limit]} {unit}{'' if context[limit] == 1 else 's'}"


def _error(found: Mapping[str, Any]) -> FieldError:
    # A part that begins with "@" is the tag of a union, not something the caller wrote.
    path = ".".join(shown(part) for part in found["loc"] if not str(part).startswith("@"))
    return FieldError(field=path, expected=plainly(found))
