"""Expressions over the attributes of one span: text, its meaning, and whether a span fits. Pure.

Before it: the `where` of a search. After it: `fits` in memory, or SQL of a store. The grammar, loosest first:

    expression = term { "or" term }
    term       = factor { "and" factor }
    factor     = "not" factor | "(" expression ")" | comparison
    comparison = key                      the attribute is there (also: exists key)
               | key operator value       = != < <= > >= =~ !~
    key        = [ "span." | "resource." ] name, or the name in double quotes
    value      = word, number, true, false, or text in double quotes

Without a scope, the span's attributes are looked at first and the resource's after them. Numbers compare as numbers
with numbers (and with text that is a number); `=~` is a regular expression (`model.expression`) that must fit a part of
the value. A comparison with an attribute that is absent is false, `!=` and `!~` too: say `not` to take those in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import TypeAlias

from controller.errors import InvalidInput
from controller.model.expression import has_match, read
from controller.model.trace import Attributes, Value

LONGEST = 2_000
DEEPEST = 20
MOST_PARTS = 50
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "=~", "!~")
Literal: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Exists:
    """The attribute is there. `scope` is span, resource, or "" for either."""

    scope: str
    key: str


@dataclass(frozen=True, slots=True)
class Compare:
    """The attribute is there and compares so."""

    scope: str
    key: str
    operator: str
    value: Literal


@dataclass(frozen=True, slots=True)
class Not:
    """It is not so."""

    part: Condition


@dataclass(frozen=True, slots=True)
class All:
    """Everything is so."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """Something is so."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = Exists | Compare | Not | All | Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>=~|!~|!=|<=|>=|=|<|>|\(|\))|(?P<word>[^\s"=!<>()]+))"""
)
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?")


@lru_cache(maxsize=256)
def parse(where: str) -> Condition:
    """Read an expression.

    Raises:
        InvalidInput: It cannot be read (the message says where), is longer than 2 000 characters, nests deeper than 20
            or has more than 50 comparisons, or an expression after `=~` is none.
    """
    if len(where) > LONGEST:
        raise InvalidInput(f"expected at most {LONGEST} characters", field="where")
    if any("\ud800" <= sign <= "\udfff" for sign in where):
        raise InvalidInput("halves of surrogate pairs are no text", field="where")
    return _Parser(tuple(_tokens(where))).whole()


def fits(condition: Condition, span: Attributes, resource: Attributes) -> bool:
    """Whether a span's attributes fit."""
    match condition:
        case All(parts):
            return all(fits(part, span, resource) for part in parts)
        case Any(parts):
            return any(fits(part, span, resource) for part in parts)
        case Not(part):
            return not fits(part, span, resource)
        case Exists(scope, key):
            return _look_up(scope, key, span, resource)[0]
        case Compare(scope, key, operator, wanted):
            is_there, found = _look_up(scope, key, span, resource)
            return is_there and _compares(found, operator, wanted)


def plain(value: Value) -> str:
    """Say a value as text, as comparisons see it: true and false in small letters, numbers as JavaScript writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    return "" if value is None else str(value)


def _float(value: float) -> str:
    """Write the fewest digits that mean the number, plain from 1e-6 to 1e21; -0 keeps its sign."""
    if not isfinite(value):
        return str(value)
    shortest = Decimal(repr(value)).normalize()
    sign, digits, exponent = shortest.as_tuple()
    place = len(digits) + int(exponent)
    if -6 < place <= 21:
        return f"{shortest:f}"
    rest = "".join(map(str, digits[1:]))
    return f"{'-' * sign}{digits[0]}{'.' * bool(rest)}{rest}e{place - 1}"


def _look_up(scope: str, key: str, span: Attributes, resource: Attributes) -> tuple[bool, Value]:
    if scope != "resource" and key in span:
        return True, span[key]
    if scope != "span" and key in resource:
        return True, resource[key]
    return False, None


def _compares(found: Value, operator: str, wanted: Literal) -> bool:
    if isinstance(found, list | dict | bytes) or found is None:
        return False
    if operator in ("=~", "!~"):
        return has_match(str(wanted), plain(found)) == (operator == "=~")
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        number = _number(found)
        return number is not None and _orders(number, operator, float(wanted))
    return _orders(plain(found), operator, plain(wanted))


def _number(found: Value) -> float | None:
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    return float(found) if isinstance(found, str) and _NUMBER.fullmatch(found) else None


def _orders(found: str | float, operator: str, wanted: str | float) -> bool:
    match operator:
        case "=":
            return found == wanted
        case "!=":
            return found != wanted
        case "<":
            return found < wanted  # type: ignore[operator]  # both are of one kind
        case "<=":
            return found <= wanted  # type: ignore[operator]
        case ">":
            return found > wanted  # type: ignore[operator]
        case _:
            return found >= wanted  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(where: str) -> Iterator[_Token]:
    at = 0
    while where[at:].strip():
        found = _TOKEN.match(where, at)
        if found is None or found.lastgroup is None:
            raise InvalidInput(f"cannot be read at character {at + 1}", field="where")
        yield _Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup) + 1)
        at = found.end()


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: tuple[_Token, ...]) -> None:
        self._tokens = tokens
        self._at = 0
        self._parts = 0

    def whole(self) -> Condition:
        found = self._either(0)
        if (token := self._peek()) is not None:
            raise _unexpected(token, "the end, `and` or `or`")
        return found

    def _either(self, depth: int) -> Condition:
        parts = [self._both(depth)]
        while self._take_word("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _both(self, depth: int) -> Condition:
        parts = [self._factor(depth)]
        while self._take_word("and"):
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _factor(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise InvalidInput(f"expected at most {DEEPEST} levels", field="where")
        if self._take_word("not"):
            return Not(self._factor(depth + 1))
        if self._take_sign("("):
            found = self._either(depth + 1)
            if not self._take_sign(")"):
                raise _unexpected(self._peek(), "`)`")
            return found
        return self._comparison()

    def _comparison(self) -> Condition:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise InvalidInput(f"expected at most {MOST_PARTS} comparisons", field="where")
        self._take_word("exists")
        scope, key = _key(self._next("an attribute"))
        token = self._peek()
        if token is None or token.kind != "sign" or token.text not in OPERATORS:
            return Exists(scope, key)
        self._at += 1
        value = _literal(self._next("a value"))
        if token.text in ("=~", "!~"):
            value = _expression(value)
        return Compare(scope, key, token.text, value)

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self, expected: str) -> _Token:
        token = self._peek()
        if token is None or token.kind == "sign":
            raise _unexpected(token, expected)
        self._at += 1
        return token

    def _take_word(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "word" or token.text.lower() != word:
            return False
        self._at += 1
        return True

    def _take_sign(self, sign: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "sign" or token.text != sign:
            return False
        self._at += 1
        return True


def _key(token: _Token) -> tuple[str, str]:
    if token.kind == "text":
        return "", _unquoted(token)
    for scope in ("span", "resource"):
        if token.text.startswith(f"{scope}.") and len(token.text) > len(scope) + 1:
            return scope, token.text[len(scope) + 1 :]
    return "", token.text


def _literal(token: _Token) -> Literal:
    if token.kind == "text":
        return _unquoted(token)
    if token.text in ("true", "false"):
        return token.text == "true"
    if _NUMBER.fullmatch(token.text):
        return float(token.text) if set(token.text) & set(".eE") else int(token.text)
    return token.text


def _unquoted(token: _Token) -> str:
    return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)


def _expression(value: Literal) -> str:
    text = plain(value)
    read(text)
    return text


def _unexpected(token: _Token | None, expected: str) -> InvalidInput:
    if token is None:
        return InvalidInput(f"ends where {expected} was expected", field="where")
    return InvalidInput(f"expected {expected} at character {token.at}", field="where")
