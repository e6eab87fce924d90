"""What is different about failing spans: said when it is there, and not when both sides are alike."""

from __future__ import annotations

import random
from collections import Counter
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.differing import at_least, by_chance, differences, of_failures, sentence
from controller.model.insight import Share


def share(
    inside: int,
    selected: int,
    outside: int,
    others: int,
    *,
    key: str = "payment.method",
    value: str = "invoice",
) -> Share:
    return Share("span", key, value, inside, selected, outside, others)


def test_the_most_telling_value_comes_first_in_words() -> None:
    """Size and certainty both count; what is as frequent on both sides is left out, and so is what is rarer."""
    found = differences(
        [
            share(20, 33, 190, 400, key="country", value="ch"),
            share(31, 33, 12, 400),
            share(28, 33, 100, 400, key="http.route", value="/pay"),
            share(0, 33, 300, 400, key="payment.method", value="card"),
        ]
    )

    assert [sentence(one.share) for one in found] == [
        "payment.method=invoice: 31 of 33 failing, 12 of 400 others",
        "http.route=/pay: 28 of 33 failing, 100 of 400 others",
    ]
    assert found[0].least > found[1].least > 0.3


def test_what_only_says_that_it_failed_comes_last() -> None:
    """Every failing span has an error type: that is no reason."""
    found = differences([share(33, 33, 0, 400, key="error.type", value="500"), share(25, 33, 30, 400)])

    assert [(one.share.key, one.is_symptom) for one in found] == [
        ("payment.method", False),
        ("error.type", True),
    ]


@pytest.mark.parametrize(
    "nothing",
    [
        share(5, 5, 5, 5),
        share(1, 1, 0, 1_000),
        share(3, 3, 0, 0),
        share(0, 0, 9, 9),
        share(52_000, 100_000, 50_000, 100_000),
    ],
)
def test_little_is_not_claimed(nothing: Share) -> None:
    """Equal shares, one span, nobody to compare with, and a sure difference that nobody would act on."""
    assert differences([nothing]) == ()


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 30), st.integers(1, 30))
def test_the_chance_is_the_hypergeometric_tail(inside: int, selected: int, outside: int, others: int) -> None:
    """Against a sum of whole numbers."""
    inside, outside = min(inside, selected), min(outside, others)
    having, everybody = inside + outside, selected + others
    tail = sum(
        comb(having, one) * comb(everybody - having, selected - one)
        for one in range(inside, min(having, selected) + 1)
        if selected - one <= everybody - having
    )

    assert by_chance(share(inside, selected, outside, others)) == pytest.approx(
        tail / comb(everybody, selected), rel=1e-9
    )


def test_a_published_interval() -> None:
    """Newcombe 1998, table II, method 10: 56/70 - 48/80 is at least 0.0524, 9/10 - 3/10 at least 0.1705."""
    assert at_least(share(56, 70, 48, 80)) == pytest.approx(0.0524, abs=5e-5)
    assert at_least(share(9, 10, 3, 10)) == pytest.approx(0.1705, abs=5e-5)


def test_equal_sides_bring_a_claim_in_one_answer_of_a_hundred_at_most() -> None:
    """400 answers about spans that fail at random, each with 25 attributes, some with hundreds of values."""
    dice = random.Random(7)
    claims = 0
    for _ in range(400):
        selected, others = dice.choice([3, 10, 40, 150]), dice.choice([20, 200, 600])
        shares = []
        for key in range(25):
            kinds = dice.choice([2, 5, 30, 300])
            inside = Counter(dice.choices(range(kinds), k=selected))
            outside = Counter(dice.choices(range(kinds), k=others))
            shares += [
                share(inside[value], selected, outside[value], others, key=f"k{key}", value=f"{value}")
                for value in inside.keys() | outside.keys()
            ]
        claims += bool(differences(shares))

    assert claims <= 4


def test_a_cause_is_found_among_chance() -> None:
    """A value that makes 30 % of its requests fail among 1 000 is first in nearly every answer."""
    dice = random.Random(11)
    first = 0
    for _ in range(50):
        counts: dict[tuple[str, str], list[int]] = {}
        sides = [0, 0]
        for _ in range(1_000):
            values = {f"k{key}": f"{dice.randrange(8)}" for key in range(10)}
            side = 0 if dice.random() < (0.3 if values["k3"] == "5" else 0.01) else 1
            sides[side] += 1
            for pair in values.items():
                counts.setdefault(pair, [0, 0])[side] += 1
        found = differences(
            [
                share(one[0], sides[0], one[1], sides[1], key=key, value=value)
                for (key, value), one in counts.items()
            ]
        )
        first += bool(found) and (found[0].share.key, found[0].share.value) == ("k3", "5")

    assert first >= 48


def test_large_counts_are_quick_and_finite() -> None:
    """A million spans a side."""
    big = share(600_000, 1_000_000, 400_000, 1_000_000)

    assert by_chance(big) < 1e-100
    assert differences([big])


def test_what_all_of_the_canary_has_explains_no_failure() -> None:
    """A value counts when it tells failing spans from stable's and from the canary's own good ones."""
    others = [
        share(20, 20, 10, 400),
        share(20, 20, 0, 400, key="feature.flag", value="on"),
        share(20, 20, 0, 400, key="server.port", value="9001"),
    ]
    own = [share(20, 20, 2, 60)]
    none_good = [share(20, 20, 0, 0)]

    assert [one.share.key for one in of_failures(others, own)] == ["payment.method"]
    assert [one.share.key for one in of_failures(others, none_good)] == ["feature.flag", "payment.method"]
    assert of_failures([], []) == ()
