"""Expressions over attributes: what they mean, and how wrong ones are refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.model.condition import DEEPEST, LONGEST, MOST_PARTS, fits, parse, plain
from controller.model.trace import Value

SPAN: dict[str, Value] = {
    "http.status": 503,
    "ratio": 0.5,
    "whole": 2.0,
    "retried": True,
    "tenant": "t7",
    "count": "12",
    "list": ["x"],
    "unset": None,
    "with space": "yes",
    "both": "span",
    "and": "word",
}
RESOURCE: dict[str, Value] = {"service.name": "catalog", "both": "resource", "pod": "p-1"}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("tenant", True),
        ("exists tenant", True),
        ("unset", True),
        ("nothing", False),
        ("not nothing", True),
        ("tenant = t7", True),
        ('tenant = "t7"', True),
        ("tenant != t7", False),
        ("nothing != t7", False),
        ("not nothing = t7", True),
        ("http.status = 503", True),
        ("http.status >= 500 and http.status < 600", True),
        ("http.status = 503.0", True),
        ('http.status = "503"', True),
        ("http.status > 1e3", False),
        ("count > 9", True),
        ('count > "9"', False),
        ("tenant > 3", False),
        ("ratio <= 0.5", True),
        ("whole = 2", True),
        ("retried = true", True),
        ("retried = false", False),
        ("retried = 1", False),
        ("tenant =~ ^t[0-9]$", True),
        ("tenant !~ ^x", True),
        ("nothing !~ ^x", False),
        ('"with space" = yes', True),
        ("both = span", True),
        ("span.both = span", True),
        ("resource.both = resource", True),
        ("span.pod", False),
        ("pod = p-1", True),
        ("list", True),
        ("list = x", False),
        ("list != x", False),
        ("unset = x", False),
        ("tenant = x or http.status = 503", True),
        ("tenant = x and http.status = 503 or ratio", True),
        ("tenant = x and (http.status = 503 or ratio)", False),
        ("NOT tenant = x AND ratio", True),
        ("tenant=t7 and(ratio)", True),
        ('tenant = "t\\7"', True),
    ],
)
def test_an_expression_means_what_the_grammar_says(where: str, found: bool) -> None:
    """Scopes, kinds of values, precedence and absence, one by one."""
    assert fits(parse(where), SPAN, RESOURCE) is found


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("", "ends where an attribute was expected"),
        ("a =", "ends where a value was expected"),
        ("a = )", "expected a value at character 5"),
        ("(a", "ends where `)` was expected"),
        ("a b", "expected the end, `and` or `or` at character 3"),
        ("a = 1 2", "expected the end, `and` or `or` at character 7"),
        ('a = "open', "cannot be read at character 4"),
        ("= 1", "expected an attribute at character 1"),
        ("a and", "ends where an attribute was expected"),
        ("a =~ (", "expected a value at character 6"),
        ('a =~ "("', "expected `)`"),
        ('a !~ "(?=x)"', "only (?:...)"),
        ("a ! b", "cannot be read at character 2"),
    ],
)
def test_a_wrong_expression_says_where(where: str, reason: str) -> None:
    """The message has the place, and the field is named."""
    with pytest.raises(InvalidInput) as caught:
        parse(where)

    assert reason in caught.value.message
    assert caught.value.field == "where"


@pytest.mark.parametrize(
    ("longest", "too_long"),
    [
        ("a" * LONGEST, "a" * (LONGEST + 1)),
        ("(" * DEEPEST + "a" + ")" * DEEPEST, "(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1)),
        ("not " * DEEPEST + "a", "not " * (DEEPEST + 1) + "a"),
        (" or ".join("a" * MOST_PARTS), " or ".join("a" * (MOST_PARTS + 1))),
    ],
    ids=["length", "brackets", "nots", "comparisons"],
)
def test_size_is_bounded(longest: str, too_long: str) -> None:
    """The largest expression is read, one more is refused."""
    parse(longest)

    with pytest.raises(InvalidInput, match="at most"):
        parse(too_long)


WORDS = st.sampled_from(
    [
        "and",
        "or",
        "not",
        "exists",
        "(",
        ")",
        "=",
        "!=",
        "<",
        ">=",
        "=~",
        "!~",
        "a",
        "span.",
        "resource.x",
        '"',
        "\\",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=12).map(" ".join)))
def test_any_text_is_read_or_refused(where: str) -> None:
    """Nothing but InvalidInput comes out, and what was read can be asked of any span."""
    with contextlib.suppress(InvalidInput):
        fits(parse(where), SPAN, RESOURCE)


@pytest.mark.parametrize(
    ("value", "said"),
    [(True, "true"), (False, "false"), (3, "3"), (2.0, "2"), (0.5, "0.5"), ("", ""), (None, ""), ("x", "x")],
)
def test_values_are_said_plainly(value: Value, said: str) -> None:
    """As a comparison with text sees them."""
    assert plain(value) == said
