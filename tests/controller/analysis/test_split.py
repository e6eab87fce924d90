"""The observed split: gross mismatches are said, sticky users and chance are not."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.split import SESSION, Side, add_look, wrong_side
from controller.model.evidence import Split
from controller.model.share import BasisPoints

ALPHA = 0.01


def watched(share: int, real: float, *, looks: int, rng: Random, session: int = 1, rps: int = 200) -> Split:
    """A split that is asked for `share` basis points and does `real`; users stay for `session` requests."""
    split = Split()
    for _ in range(looks):
        canary = session * sum(rng.random() < real for _ in range(rps // session))
        split = add_look(split, share=BasisPoints(share), stable=rps - canary, canary=canary)
        if wrong_side(split, alpha=ALPHA):
            return split
    return split


@pytest.mark.parametrize(
    ("share", "real", "side"),
    [
        (500, 0.005, Side.TOO_LITTLE),
        (500, 0.4, Side.TOO_MUCH),
        (5000, 0.02, Side.TOO_LITTLE),
        (1000, 1.0, Side.TOO_MUCH),
        (100, 0.2, Side.TOO_MUCH),
    ],
)
def test_a_gross_mismatch_is_said(share: int, real: float, side: Side) -> None:
    """A tenth, or many times of what was asked for, is seen within four minutes at 200 requests/s."""
    assert wrong_side(watched(share, real, looks=240, rng=Random(1)), alpha=ALPHA) is side


@pytest.mark.parametrize("share", [10, 100, 500, 2500, 5000, 9500])
@pytest.mark.parametrize("session", [1, SESSION])
def test_the_right_split_is_never_called_wrong(share: int, session: int) -> None:
    """Ten minutes each, also with users who stay for twenty requests."""
    for seed in range(5):
        split = watched(share, share / 10_000, looks=600, rng=Random(seed), session=session)
        assert wrong_side(split, alpha=ALPHA) is None


@pytest.mark.parametrize(("times", "share"), [(1 / 3, 600), (3.0, 600)])
def test_at_the_border_false_alarms_are_rare(times: float, share: int) -> None:
    """Exactly a third, or three times: at most alpha a side, with sticky users."""
    real = times * share / 10_000
    wrong = sum(
        wrong_side(watched(share, real, looks=200, rng=Random(seed), session=SESSION), alpha=ALPHA)
        is not None
        for seed in range(100)
    )

    assert wrong <= 4  # 5 or more of 100 have a probability of 0.4 % at 1 %


def test_a_split_that_breaks_late_is_seen_as_soon() -> None:
    """After an hour of the right split, a tenth of it is seen in about the same time as from the start."""
    rng = Random(7)
    split = Split()
    for _ in range(3600):
        canary = sum(rng.random() < 0.1 for _ in range(200))
        split = add_look(split, share=BasisPoints(1000), stable=200 - canary, canary=canary)
    late = 0
    while wrong_side(split, alpha=ALPHA) is None:
        split, late = add_look(split, share=BasisPoints(1000), stable=199, canary=1), late + 1

    assert late <= 240


@given(
    share=st.integers(0, 10_000),
    looks=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=20),
)
def test_any_counts_are_taken(share: int, looks: list[tuple[int, int]]) -> None:
    """No share and no count makes the bets anything but numbers."""
    split = Split()
    for stable, canary in looks:
        split = add_look(split, share=BasisPoints(share), stable=stable, canary=canary)
        wrong_side(split, alpha=ALPHA)

    assert split.low == split.low
    assert split.high == split.high
