"""What a verdict's odds are made of, in words."""

from __future__ import annotations

import pytest

from controller.model.verdict import Decision, Ground, Part, Verdict, attribution

PARTS = (Part("errors", 8.0, 0.026), Part("latency p50", 0.9, 0.0009), Part("latency p99", 900.0, 0.9731))


def verdict(odds: float | None, parts: tuple[Part, ...] = PARTS) -> Verdict:
    return Verdict(Decision.FAIL, Ground.ODDS, odds=odds, parts=parts)


def test_the_largest_part_comes_first_and_what_rounds_to_nothing_is_left_out() -> None:
    """In whole per cents of the odds."""
    assert attribution(verdict(200.0)) == "latency p99 makes 97 % of these odds, errors 3 %"


@pytest.mark.parametrize(("odds", "parts"), [(None, PARTS), (0.8, PARTS), (200.0, ())])
def test_nothing_is_said_where_nothing_has_to_be_explained(
    odds: float | None, parts: tuple[Part, ...]
) -> None:
    """Without odds, with odds for the canary, or with one metric."""
    assert attribution(verdict(odds, parts)) == ""
