"""The rank-sum test: published pairs, exact enumeration, and what must hold for any samples."""

from __future__ import annotations

import json
import math
import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis import rank_sum as tested
from controller.analysis.rank_sum import RankSum, Shift, percentile, rank_sum, shift, superiority
from controller.errors import InvalidInput

PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_text())["vectors"]
PERCENTILES = {v["id"]: v for v in PUBLISHED if v["group"] == "stats.percentile_R7"}
PROBABILITIES = {v["id"]: v for v in PUBLISHED if v["group"] == "mw.p_value"}
WRITTEN_OUT = {
    "i*2 for i in 0..499": [2 * i for i in range(500)],
    "i*2-41 for i in 0..599": [2 * i - 41 for i in range(600)],
}
samples = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=9)


def test_the_published_pairs_are_these() -> None:
    """None is dropped in silence."""
    assert set(PERCENTILES) == {"kayenta-pct-1", "kayenta-pct-4", "kayenta-pct-7"}
    assert set(PROBABILITIES) == {"pipecd-mw-1", "pipecd-mw-4", "pipecd-mw-7", "pipecd-mw-10"}


@pytest.mark.parametrize("vector", PERCENTILES.values(), ids=list(PERCENTILES))
def test_published_percentiles(vector: dict[str, Any]) -> None:
    """Straight lines between values."""
    given, expected = vector["input"], vector["expected"]

    assert percentile(given["data"], given["p"]) == pytest.approx(
        expected["value"], abs=expected.get("tol", 1e-12)
    )


@pytest.mark.parametrize("vector", PROBABILITIES.values(), ids=list(PROBABILITIES))
def test_published_probabilities(vector: dict[str, Any]) -> None:
    """Exact for small samples, with ties; the normal approximation with its corrections for large ones."""
    first, second = (
        values if isinstance(values, list) else WRITTEN_OUT[values]
        for values in (vector["input"]["x"], vector["input"]["y"])
    )
    expected = vector["expected"]
    if "error" in expected:
        with pytest.raises(InvalidInput):
            rank_sum(first, second)
        return

    found = rank_sum(first, second)

    assert found.u == expected["U"]
    assert found.less == pytest.approx(expected["p_less"], rel=1e-9)
    assert found.greater == pytest.approx(expected["p_greater"], rel=1e-9)
    assert found.differs == pytest.approx(expected["p_differs"], rel=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [([3, 1, 4], [1, 5, 9, 2]), ([2, 2, 7], [2, 2, 2, 1]), ([1, 1, 1, 8, 9], [1, 1, 1, 1])],
)
def test_small_samples_are_counted_exactly(first: list[float], second: list[float]) -> None:
    """Every way to choose the first sample out of all values, with ties, gives the same probabilities."""
    everything = first + second

    def u(places: tuple[int, ...]) -> float:
        inside = [everything[k] for k in places]
        outside = [value for k, value in enumerate(everything) if k not in places]
        return sum((x > y) + (x == y) / 2 for x in inside for y in outside)

    all_ways = [u(places) for places in combinations(range(len(everything)), len(first))]
    seen = u(tuple(range(len(first))))

    found = rank_sum(first, second)
    assert found.u == seen
    assert found.less == pytest.approx(sum(way <= seen for way in all_ways) / len(all_ways))
    assert found.greater == pytest.approx(sum(way >= seen for way in all_ways) / len(all_ways))


def test_the_normal_approximation_is_near_the_exact_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the two meet, at 20 values a side, they are at most 0.002 apart."""
    rng = random.Random(8)
    pairs = [([rng.random() + 0.1 for _ in range(20)], [rng.random() for _ in range(20)]) for _ in range(3)]
    exact = [rank_sum(first, second).greater for first, second in pairs]

    monkeypatch.setattr(tested, "MOST_EXACT", 0)  # a constant of the algorithm, not a collaborator
    near = [rank_sum(first, second).greater for first, second in pairs]

    assert near == pytest.approx(exact, abs=0.002)


def test_the_shift_of_a_shifted_sample_is_found() -> None:
    """Twenty values moved by 5: the interval holds 5, and the estimate is 5."""
    values = [k * 0.37 % 3 for k in range(20)]
    found = shift([value + 5 for value in values], values, confidence=0.95)

    assert found.lower < 5 < found.upper
    assert found.estimate == pytest.approx(5)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """400 pairs of twelve normal values at 95 %: 92 to 98 % of the intervals hold the true shift."""
    rng = random.Random(9)
    covered = 0
    for _ in range(400):
        first = [rng.gauss(1, 1) for _ in range(12)]
        second = [rng.gauss(0, 1) for _ in range(12)]
        found = shift(first, second, confidence=0.95)
        covered += found.lower <= 1 <= found.upper

    assert 0.92 <= covered / 400 <= 0.98


def test_too_few_values_leave_the_whole_range() -> None:
    """Two values a side prove nothing at 98 %."""
    assert shift([10, 11], [1, 2], confidence=0.98) == Shift(lower=8, estimate=9, upper=10)


def test_superiority_counts_pairs() -> None:
    """Two of four pairs, and a tie for half."""
    assert superiority([1, 3], [1, 2]) == pytest.approx(2.5 / 4)


@pytest.mark.parametrize("bad", [[], [math.inf], [math.nan, 1.0]])
def test_values_without_an_order_are_refused(bad: list[float]) -> None:
    """Empty samples, infinities and what is not a number."""
    for test in (rank_sum, superiority):
        with pytest.raises(InvalidInput):
            test(bad, [1.0, 2.0])
    with pytest.raises(InvalidInput):
        shift([1.0, 2.0], bad, confidence=0.9)


@pytest.mark.parametrize(("values", "q"), [([], 50), ([1], -1), ([1], 101)])
def test_a_percentile_of_nothing_is_refused(values: list[float], q: float) -> None:
    """There is no answer to give."""
    with pytest.raises(InvalidInput):
        percentile(values, q)


@given(first=samples, second=samples, confidence=st.floats(0.5, 0.999))
def test_swapping_the_samples_turns_everything_around(
    first: list[float], second: list[float], confidence: float
) -> None:
    """The interval is turned over zero, and less is greater."""
    there, back = shift(first, second, confidence=confidence), shift(second, first, confidence=confidence)

    assert there.lower <= there.estimate <= there.upper
    assert (back.lower, back.estimate, back.upper) == (-there.upper, -there.estimate, -there.lower)
    assert superiority(first, second) == pytest.approx(1 - superiority(second, first))
    if len({*first, *second}) > 1:
        one, other = rank_sum(first, second), rank_sum(second, first)
        assert (one.less, one.greater) == pytest.approx((other.greater, other.less))
        assert 0 <= one.differs <= 1


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), q=st.floats(0, 100))
def test_a_percentile_lies_between_the_values(values: list[float], q: float) -> None:
    """And its ends are the smallest and the largest."""
    assert min(values) <= percentile(values, q) <= max(values)
    assert (percentile(values, 0), percentile(values, 100)) == (min(values), max(values))


def test_a_p_of_two_sides_is_never_above_one() -> None:
    """The middle of the distribution belongs to both sides."""
    assert RankSum(8.0, 0.6, 0.6).differs == 1.0
