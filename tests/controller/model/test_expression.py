"""Regular expressions: what they mean, what is refused, and that none of them can hang."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.model.expression import LONGEST_TEXT, has_match, read


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        ("", "", True),
        ("^$", "x", False),
        ("a$", "a\n", False),
        ("a.b", "a\nb", False),
        ("(?i)zeisIG", "ein ZEISig", True),
        ("[[:alpha:]]+ä", "zä", True),
        ("\\D\\W\\S\\B", "ä-x", False),
        ("x{2,3}y", "xy xxxxy", True),
        ("\\d", "٣", False),
    ],
)
def test_it_means_what_re2_says(expression: str, text: str, found: bool) -> None:
    """Ends of the text are its ends, a dot is no line break, classes are ASCII, and capitals can be ignored."""
    assert has_match(expression, text) is found


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(", "missing )"),
        ("a)", "unexpected )"),
        ("*a", "no argument for repetition"),
        ("(?=a)", "invalid perl operator"),
        ("(?<=a)b", "invalid perl operator"),
        ("(a)\\1", "invalid escape sequence"),
        ("[a", "missing ]"),
        ("[b-a]", "invalid character class range"),
        ("x{1001}", "invalid repetition size"),
        ("((((a{100}){10}){10}){10})", "repetition"),
        ("(?:\\pL{500}){2}", "too large"),
        ("\ud800", "half a character"),
    ],
)
def test_others_are_refused_with_the_reason(expression: str, reason: str) -> None:
    """What RE2 does not take is an error that names the field and says why."""
    with pytest.raises(InvalidInput, match="no expression of RE2") as caught:
        read(expression)

    assert reason in caught.value.message
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
