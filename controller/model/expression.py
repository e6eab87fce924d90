"""Regular expressions that cannot hang: read here, followed in linear time. Pure.

Before it: `=~` and `!~` of `model.condition`. After it: whether a part of a text fits, in memory; a store that speaks SQL
gives the same text to RE2. Python's own `re` goes back and tries again, so that `(a+)+$` takes years; here all ways
are followed at once (Thompson, "Regular expression search algorithm", CACM 11(6), 1968).

    expression  = [ "(?i)" ] sequence { "|" sequence }        (?i): capitals and small letters are alike
    sequence    = { atom [ "*" | "+" | "?" | "{n}" | "{n,}" | "{n,m}" ] [ "?" ] }
    atom        = character | "." | "^" | "$" | "[" set "]" | "(" expression ")" | "(?:" expression ")"
                | "\\" ( d | D | w | W | s | S | b | B | n | t | r | f | punctuation )

As in RE2: `.` is anything but a line break, `^` and `$` are the ends of the text, `\\d`, `\\w`, `\\s` and `\\b` know ASCII
only. Not there, in RE2 neither: look-around and back references.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from controller.errors import InvalidInput

LONGEST_TEXT = 4_096
"""Characters of a text that are looked at."""
MOST_STATES = 1_000
MOST_REPEATS = 100
_DEEPEST = 20
_CACHED = 4_096
WORD = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_SETS = {"d": frozenset("0123456789"), "w": WORD, "s": frozenset("\t\n\f\r ")}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}

Test: TypeAlias = Callable[[str], bool]
Place: TypeAlias = Literal["^", "$", "b", "B"]


@dataclass(frozen=True, slots=True)
class One:
    """One character that passes."""

    test: Test


@dataclass(frozen=True, slots=True)
class At:
    """A place in the text."""

    place: Place


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """So many times. `most` is None for any number."""

    part: Node
    least: int
    most: int | None


Node: TypeAlias = One | At | Sequence | Choice | Repeat


@lru_cache(maxsize=256)
def read(text: str) -> Node:
    """Read an expression.

    Raises:
        InvalidInput: It is none of the grammar (the message says where); it would have more than 1 000 states, more than
            100 counted repeats of a part, or more than 20 levels.
    """
    node = _Reader(text).whole()
    if _states(node) > MOST_STATES:
        raise InvalidInput("the regular expression is too large; count fewer repeats", field="where")
    return node


class _Reader:
    """Recursive descent over the characters."""

    def __init__(self, text: str) -> None:
        self._folds = text.startswith("(?i)")
        self._text = text
        self._at = 4 if self._folds else 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            raise self._wrong("`)` closes nothing")
        return node

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"expected at most {_DEEPEST} levels")
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated())
        return Sequence(tuple(parts))

    def _repeated(self) -> Node:
        atom = self._atom()
        bounds = self._bounds()
        if bounds is None:
            return atom
        if isinstance(atom, At):
            raise self._wrong("a place cannot be repeated")
        self._take("?")
        if self._peek() in ("*", "+", "?", "{"):
            raise self._wrong("a repeat of a repeat; put it into (?:...)")
        return Repeat(atom, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        if self._take("*"):
            return 0, None
        if self._take("+"):
            return 1, None
        if self._take("?"):
            return 0, 1
        if not self._take("{"):
            return None
        end = self._text.find("}", self._at)
        least, comma, most = self._text[self._at : end].partition(",") if end > 0 else ("", "", "")
        if not _is_count(least) or (most and not _is_count(most)):
            raise self._wrong("expected {n}, {n,} or {n,m} with numbers up to 100, or \\{")
        self._at = end + 1
        bounds = (int(least), int(most) if most else None if comma else int(least))
        if bounds[1] is not None and bounds[1] < bounds[0]:
            raise self._wrong("expected {n,m} with n <= m")
        return bounds

    def _atom(self) -> Node:
        sign = self._next()
        if sign == ".":
            return One(lambda found: found != "\n")
        if sign in ("^", "$"):
            return At("^" if sign == "^" else "$")
        if sign == "[":
            return One(self._set())
        if sign == "(":
            return self._group()
        if sign == "\\":
            return self._escaped()
        if sign in "*+?{":
            raise self._wrong("nothing to repeat")
        return One(self._one_of(frozenset(sign)))

    def _group(self) -> Node:
        if self._take("?") and not self._take(":"):
            raise self._wrong("of (?...) only (?:...) is known, and (?i) at the very begin")
        node = self._choice()
        if not self._take(")"):
            raise self._wrong("expected `)`")
        return node

    def _escaped(self) -> Node:
        sign = self._next()
        if sign == "b":
            return At("b")
        if sign == "B":
            return At("B")
        return One(self._class(sign) or self._one_of(frozenset(self._plain(sign))))

    def _class(self, sign: str) -> Test | None:
        known = _SETS.get(sign.lower())
        if known is None:
            return None
        return known.__contains__ if sign.islower() else lambda found: found not in known

    def _plain(self, sign: str) -> str:
        if sign.isascii() and sign.isalnum() and sign not in _CONTROLS:
            raise self._wrong("an unknown escape")
        return _CONTROLS.get(sign, sign)

    def _set(self) -> Test:
        negated = self._take("^")
        tests = [self._item(self._next())]  # a `]` that comes first stands for itself
        while not self._take("]"):
            tests.append(self._item(self._next()))
        fits = self._either(tests)
        return (lambda found: not fits(found)) if negated else fits

    def _item(self, sign: str) -> Test:
        if sign == "[" and self._peek() == ":":
            raise self._wrong("classes such as [:alpha:] are not known")
        if sign == "\\":
            sign = self._next()
            if (known := self._class(sign)) is not None:
                return known
            sign = self._plain(sign)
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return self._one_of(frozenset(sign))
        self._take("-")
        last = self._next()
        last = self._plain(self._next()) if last == "\\" else last
        if last < sign:
            raise self._wrong("expected a range from low to high")
        return self._fold(lambda found: sign <= found <= last)

    def _one_of(self, known: frozenset[str]) -> Test:
        return self._fold(known.__contains__)

    def _fold(self, test: Test) -> Test:
        if not self._folds:
            return test
        return lambda found: test(found) or test(found.lower()) or test(found.upper())

    @staticmethod
    def _either(tests: list[Test]) -> Test:
        return tests[0] if len(tests) == 1 else lambda found: any(test(found) for test in tests)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        found = self._peek()
        if not found:
            raise self._wrong("ends too early")
        self._at += 1
        return found

    def _take(self, sign: str) -> bool:
        if self._peek() != sign:
            return False
        self._at += 1
        return True

    def _wrong(self, reason: str) -> InvalidInput:
        return InvalidInput(
            f"not a regular expression that is known here: {reason} (character {self._at} of it)",
            field="where",
        )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= MOST_REPEATS


def _states(node: Node) -> int:
    match node:
        case Sequence(parts) | Choice(parts):
            return len(parts) + sum(map(_states, parts))
        case Repeat(part, least, most):
            return (_states(part) + 1) * max(1, least, most or least + 1)
        case _:
            return 1
