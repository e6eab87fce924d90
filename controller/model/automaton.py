"""Follows a regular expression over a text, all ways at once. Pure.

Before it: the tree that `model.expression` read. After it: whether a part of the text fits. Time is at most the length
of the text times the states of the expression; steps that were taken before are remembered, up to a bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from controller.model.expression import (
    LONGEST_TEXT,
    WORD,
    At,
    Choice,
    Node,
    One,
    Place,
    Repeat,
    Sequence,
    Test,
    read,
)

MOST_REMEMBERED = 4_096
_END = ""
"""The character after the last one."""


def has_match(expression: str, text: str) -> bool:
    """Whether a part of the first 4 096 characters of a text fits.

    Raises:
        InvalidInput: The expression cannot be read.
    """
    return _automaton(expression).finds(text[:LONGEST_TEXT])


@dataclass(frozen=True, slots=True)
class _State:
    """Where one can be before a character is seen: states of the program, and what came before.

    Args:
        before: The last character's kind: w for a letter, digit or _, o for another one, "" at the begin.
    """

    places: frozenset[int]
    before: str


@dataclass(slots=True)
class _Step:
    """One state of the program: a character or a place to get past, or only ways on."""

    test: Test | None = None
    place: Place | None = None
    ways: tuple[int, ...] = ()


class _Automaton:
    """The expression as a program. State 0 is the end: who is there has found it."""

    def __init__(self, node: Node) -> None:
        self._program = [_Step()]
        self._begin = self._build(node, 0)
        self._seen: dict[tuple[_State, str], _State | None] = {}

    def finds(self, text: str) -> bool:
        """Whether a part of the text fits."""
        state = _State(frozenset([self._begin]), "")
        for found in (*text, _END):
            key = (state, found)
            if key in self._seen:
                after = self._seen[key]
            else:
                after = self._after(state, found)
                if len(self._seen) >= MOST_REMEMBERED:
                    self._seen.clear()
                self._seen[key] = after
            if after is None:
                return True
            state = after
        return False

    def _after(self, state: _State, found: str) -> _State | None:
        """Return the next state, None when the expression fits before the character."""
        reached: set[int] = set()
        open_ = list(state.places)
        while open_:
            number = open_.pop()
            if number in reached:
                continue
            reached.add(number)
            step = self._program[number]
            if step.test is None and (step.place is None or _is_at(step.place, state.before, found)):
                open_.extend(step.ways)
        if 0 in reached:
            return None
        passed = (self._program[number] for number in reached)
        on: Iterable[int] = (
            step.ways[0] for step in passed if found and step.test is not None and step.test(found)
        )
        return _State(frozenset(on) | {self._begin}, "w" if found in WORD else "o")

    def _build(self, node: Node, after: int) -> int:
        """Add a part of the expression that goes on at `after`; returns where it begins."""
        match node:
            case One(test):
                return self._add(_Step(test=test, ways=(after,)))
            case At(place):
                return self._add(_Step(place=place, ways=(after,)))
            case Sequence(parts):
                for part in reversed(parts):
                    after = self._build(part, after)
                return after
            case Choice(parts):
                return self._add(_Step(ways=tuple(self._build(part, after) for part in parts)))
            case Repeat(part, least, most):
                return self._build_repeat(part, least, most, after)

    def _build_repeat(self, part: Node, least: int, most: int | None, after: int) -> int:
        if most is None:
            loop = self._add(_Step())
            self._program[loop].ways = (self._build(part, loop), after)
            begin = loop
        else:
            begin = after
            for _ in range(most - least):
                begin = self._add(_Step(ways=(self._build(part, begin), after)))
        for _ in range(least):
            begin = self._build(part, begin)
        return begin

    def _add(self, step: _Step) -> int:
        self._program.append(step)
        return len(self._program) - 1


def _is_at(place: Place, before: str, found: str) -> bool:
    if place == "^":
        return before == ""
    if place == "$":
        return found == _END
    return ((before == "w") != (found in WORD)) == (place == "b")


@lru_cache(maxsize=64)
def _automaton(expression: str) -> _Automaton:
    return _Automaton(read(expression))
