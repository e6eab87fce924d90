"""Audiences: who fits, what they are called, and in which order a plan may have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.model.plan import Plan, Step
from controller.model.share import BasisPoints
from controller.model.traffic import ANY_VALUE, MOST_MATCHES, Asked, Match, admits, audience, audience_id

INSIDE, PILOTS = Match(headers={"x-internal": "1"}), Match(cookies={"group": "pilot"})
CONDITIONS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2", ANY_VALUE]), max_size=2)
MATCHES = st.lists(
    st.tuples(CONDITIONS, CONDITIONS, CONDITIONS)
    .filter(any)
    .map(lambda parts: Match(headers=parts[0], cookies=parts[1], query=parts[2])),
    max_size=3,
).map(tuple)


def step(share: int, *matches: Match) -> Step:
    return Step(BasisPoints(share), matches=matches)


@pytest.mark.parametrize(
    ("matches", "asked", "is_in"),
    [
        ((), Asked(), True),
        ((INSIDE,), Asked(), False),
        ((INSIDE,), Asked(headers={"x-internal": "1"}), True),
        ((INSIDE,), Asked(headers={"x-internal": "11"}), False),
        ((INSIDE,), Asked(cookies={"x-internal": "1"}), False),
        ((INSIDE, PILOTS), Asked(cookies={"group": "pilot"}), True),
        ((Match(query={"beta": ANY_VALUE}),), Asked(query={"beta": "x"}), True),
        ((Match(query={"beta": ANY_VALUE}),), Asked(query={"beta": ""}), False),
        ((Match(headers={"a": "1"}, query={"b": "2"}),), Asked(headers={"a": "1"}), False),
    ],
)
def test_a_request_is_in_when_one_match_fits_whole(
    matches: tuple[Match, ...], asked: Asked, is_in: bool
) -> None:
    """All conditions of one match hold; no match lets everybody in."""
    assert admits(matches, asked) is is_in


@given(MATCHES, MATCHES)
def test_two_audiences_have_one_name_only_when_they_are_the_same(
    one: tuple[Match, ...], other: tuple[Match, ...]
) -> None:
    """The order of matches and of conditions makes no difference, anything else does; nobody shares everybody's."""
    turned = tuple(
        Match(dict(list(each.headers.items())[::-1]), each.cookies, each.query) for each in one[::-1]
    )

    assert audience_id(turned) == audience_id(one)
    assert (audience_id(one) == "") is (one == ())
    if audience_id(one) == audience_id(other):
        assert sorted(map(repr, map(_plain, one))) == sorted(map(repr, map(_plain, other)))


def _plain(match: Match) -> list[list[tuple[str, str]]]:
    return [sorted(part.items()) for part in (match.headers, match.cookies, match.query)]


def test_an_audience_is_said_in_words() -> None:
    """The first match, and how many more; never longer than a line of a terminal can be."""
    every = Match(headers={"x-internal": "1"}, cookies={"group": ANY_VALUE}, query={"beta": "yes"})

    assert step(10_000, INSIDE).said == "100 % (only requests with x-internal: 1)"
    assert step(500, every, PILOTS).said == (
        "5 % (only requests with x-internal: 1 and cookie group and query beta: yes, or 1 more)"
    )
    assert step(500).said == "5 %"
    assert len(audience((Match(headers={f"h{number}": "v" * 200 for number in range(8)}),) * 16)) <= 300


def test_a_step_for_few_may_have_all_of_them() -> None:
    """The hold-back of 5 % is for steps for everybody: beside an audience everybody else is left to compare with."""
    assert step(10_000, INSIDE).share == 10_000
    with pytest.raises(InvalidInput, match="5 % of stable"):
        step(9_501)
    with pytest.raises(InvalidInput, match="at most 16 matches") as caught:
        step(100, *[INSIDE] * (MOST_MATCHES + 1))
    assert caught.value.field == "steps.matches"


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ((step(10_000, INSIDE), step(100), step(5_000)), None),
        ((step(100, INSIDE), step(10_000, INSIDE), step(500, PILOTS), step(10)), None),
        ((step(10_000, INSIDE), step(500, INSIDE)), "steps.share"),
        ((step(10_000, INSIDE), step(5_000), step(100)), "steps.share"),
        ((step(100), step(10_000, INSIDE)), "steps.matches"),
    ],
)
def test_a_plan_goes_from_few_to_everybody(steps: tuple[Step, ...], field: str | None) -> None:
    """Shares begin anew with another audience and never fall within one; nobody is shut out again for a smaller circle."""
    if field is None:
        assert Plan("p", steps).steps == steps
        return
    with pytest.raises(InvalidInput) as caught:
        Plan("p", steps)
    assert caught.value.field == field
