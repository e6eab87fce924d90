"""Regular expressions: what they mean, what is refused, and that none of them can hang."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.model.automaton import has_match
from controller.model.expression import LONGEST_TEXT, read

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\d", "\\w", "\\s", "^", "\\b", "[a-c1]", "\\."])


def grown(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(parts, parts).map("".join),
        st.tuples(parts, parts).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(parts, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])).map(
            lambda two: f"(?:a{two[0]}){two[1]}"
        ),
    )


@given(expression=st.recursive(ATOMS, grown, max_leaves=8), text=st.text(alphabet="abc1 .\nä_", max_size=12))
def test_it_finds_what_re_finds(expression: str, text: str) -> None:
    """On what both know, a part fits exactly when Python's own engine finds one."""
    assert has_match(expression, text) == bool(re.search(expression, text, re.ASCII))


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        ("", "", True),
        ("^$", "x", False),
        ("a$", "a\n", False),
        ("(?i)zeisIG", "ein ZEISig", True),
        ("(?i)[^a]", "A", False),
        ("[]x]", "]", True),
        ("[^]x]", "]", False),
        ("[a-]", "-", True),
        ("\\[\\t\\]", "[\t]", True),
        ("\\D\\W\\S\\B", "ä-x", False),
        ("x{2,3}y", "xy xxxxy", True),
        ("\\d", "٣", False),
    ],
)
def test_it_means_what_re2_says(expression: str, text: str, found: bool) -> None:
    """Ends of the text are its ends, classes are ASCII, and capitals can be ignored."""
    assert has_match(expression, text) is found


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(", "expected `)`"),
        ("a)", "closes nothing"),
        ("*a", "nothing to repeat"),
        ("a**", "a repeat of a repeat"),
        ("^*", "a place cannot be repeated"),
        ("(?=a)", "only (?:...)"),
        ("(?<=a)b", "only (?:...)"),
        ("(?P<name>a)", "only (?:...)"),
        ("(a)\\1", "unknown escape"),
        ("\\Z", "unknown escape"),
        ("[", "ends too early"),
        ("[a", "ends too early"),
        ("[b-a]", "from low to high"),
        ("[[:alpha:]]", "[:alpha:]"),
        ("\\", "ends too early"),
        ("x{", "expected {n}"),
        ("x{101}", "expected {n}"),
        ("x{3,2}", "n <= m"),
        ("(?:(?:a{100}){100})", "too large"),
        ("(" * 30 + ")" * 30, "levels"),
    ],
)
def test_others_are_refused_with_the_reason(expression: str, reason: str) -> None:
    """What could mean two things, or take for ever, is an error that names the field and says why."""
    with pytest.raises(InvalidInput, match=re.escape(reason)) as caught:
        read(expression)

    assert caught.value.field == "where"


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(expression: str) -> None:
    """Nothing but InvalidInput comes out of reading, whatever goes in."""
    with contextlib.suppress(InvalidInput):
        has_match(expression, "Zeisig 1\n")


@pytest.mark.parametrize(
    "expression", ["(?:a+)+$", "^(?:a|aa)*$", "(?:a|b)*a(?:a|b){90}c", "a*a*a*a*a*a*a*b"]
)
def test_nothing_takes_for_ever(expression: str) -> None:
    """Expressions that make a backtracking engine hang end, on the longest text that is looked at."""
    begun_s = time.process_time()

    found = has_match(expression, "a" * (LONGEST_TEXT - 1) + "!")

    assert found is False
    assert time.process_time() - begun_s < 10


def test_only_the_begin_of_a_long_text_is_looked_at() -> None:
    """What comes after the bound cannot be found."""
    assert has_match("b", "a" * (LONGEST_TEXT - 1) + "b")
    assert not has_match("b", "a" * LONGEST_TEXT + "b")
