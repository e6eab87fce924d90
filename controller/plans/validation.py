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
        found = error.errors(include_url=False, include_context=False, include_input=False)
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


def _error(found: Mapping[str, Any]) -> FieldError:
    # A part that begins with "@" is the tag of a union, not something the caller wrote.
    path = ".".join(shown(part) for part in found["loc"] if not str(part).startswith("@"))
    expected = {
        "missing": "this field is required",
        "extra_forbidden": "no such field is known",
        "string_unicode": "expected text of whole characters",
    }.get(found["type"])
    return FieldError(field=path, expected=expected or _plain(found["msg"]))


def _plain(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input should ")
    return f"expected it to {text}" if text != message and message.startswith("Input") else text[:200]
