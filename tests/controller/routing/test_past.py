"""What versions served: bounded, rectangular, and the sums are the parts."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.target import TargetKey
from controller.model.wealth import Tally
from controller.routing.past import APART, EARLIER, MINUTES, Past, VersionPast, repeats

NOW = 1_700_000_000.0
SHOP = TargetKey("local.catalog")
BOUNDS_S = (0.001, 0.01)


def spent(
    past: VersionPast, minutes: int, instances: dict[str, tuple[int, int]], *, since: float = NOW
) -> float:
    """Serve the same in each of so many minutes; returns when it was over."""
    counts = {name: Tally(*pair) for name, pair in instances.items()}
    for minute in range(minutes):
        past.add(since + 60 * (minute + 1), 60.0, sum(counts.values(), Tally()), counts, (1, 0, 2))
    return since + 60 * minutes


def test_minutes_are_filled_by_seconds() -> None:
    """A row is closed when it holds a minute; the newest one may be shorter."""
    past = VersionPast()
    for second in range(150):
        past.add(NOW + second, 1.0, Tally(3, 1), {"a": Tally(3, 1)}, (3, 0, 0))

    history = past.history(3_600.0, NOW + 150, BOUNDS_S)

    assert history.minutes == ((Tally(180, 60),), (Tally(180, 60),), (Tally(90, 30),))
    assert (history.window_s, history.total, history.failed) == (150.0, 450, 150)
    assert history.buckets == (450, 0, 0)


def test_a_short_window_has_sums_only() -> None:
    """Below a minute the seconds are added up, and nothing is told by minute."""
    past = VersionPast()
    for second in range(10):
        past.add(NOW + second, 1.0, Tally(10 * second, second), {})

    history = past.history(3.0, NOW + 10)

    assert (history.window_s, history.total, history.failed, history.minutes) == (3.0, 240, 24, ())


def test_an_instance_that_left_stays_for_an_hour() -> None:
    """Rows are as long as the instances of the whole window, with nothing where one did not serve."""
    past = VersionPast()
    later = spent(past, 1, {"a": (8, 1), "b": (4, 0)})
    later = spent(past, 1, {"b": (4, 0), "c": (2, 2)}, since=later)

    history = past.history(3_600.0, later)

    assert history.minutes == (
        (Tally(8, 1), Tally(4, 0), Tally()),
        (Tally(), Tally(4, 0), Tally(2, 2)),
    )
    assert history.buckets == ()


def test_an_hour_is_kept() -> None:
    """Older minutes are gone from rows, sums and buckets; a gap is not part of the window."""
    past = VersionPast()
    later = spent(past, 70, {"a": (10, 1)})
    full = past.history(3_600.0, later, BOUNDS_S)
    spent(past, 10, {"a": (10, 1)}, since=later + 1_200)
    broken = past.history(3_600.0, later + 1_800, BOUNDS_S)

    assert (len(full.minutes), full.total, full.window_s, full.buckets) == (60, 600, 3_600.0, (60, 0, 120))
    assert (len(broken.minutes), broken.total, broken.window_s) == (40, 400, 2_400.0)


def test_more_instances_than_columns_are_summed() -> None:
    """32 are told apart, the others are one more; nothing is lost."""
    past = VersionPast()
    later = spent(past, 2, {f"i{number}": (number + 1, 1) for number in range(40)})

    history = past.history(3_600.0, later)

    assert {len(row) for row in history.minutes} == {APART + 1}
    assert history.minutes[0][-1] == Tally(sum(range(33, 41)), 8)
    assert history.total == 2 * sum(range(1, 41))
    assert len(past.by_instance()) == APART


def test_a_column_is_given_away_when_its_hour_is_over() -> None:
    """Instances come and go for ever: new ones are summed until those before them have been gone for an hour."""
    past, later = VersionPast(), NOW
    for deployment in range(3):
        names = {f"d{deployment}-{number}": (5, 0) for number in range(APART)}
        later = spent(past, 2 * MINUTES + 1, names, since=later)

    history = past.history(3_600.0, later)

    assert (len(history.minutes[-1]), len(past.instances)) == (APART, APART)


@pytest.mark.parametrize(
    ("failed", "repeated", "expected"),
    [
        ((60, 2), 40, [40, 0]),
        ((30, 30), 40, [20, 20]),
        ((30, 30, 1), 41, [21, 20, 0]),
        ((3, 3), 9, [3, 3]),
        ((3, 3), -2, [0, 0]),
        ((), 3, []),
    ],
)
def test_repeats_belong_to_those_who_fail_most(
    failed: tuple[int, ...], repeated: int, expected: list[int]
) -> None:
    """A dead instance gave the tries that were repeated; two dead ones gave them alike."""
    assert repeats(failed, repeated) == expected


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(-5, 400))
def test_repeats_are_all_found_where_there_are_as_many(failed: list[int], repeated: int) -> None:
    """Never more than an instance's own, together what was asked for, and the order of instances stays."""
    taken = repeats(failed, repeated)

    assert all(0 <= less <= one for less, one in zip(taken, failed, strict=True))
    assert sum(taken) == max(0, min(repeated, sum(failed)))
    left = sorted(zip(failed, (one - less for one, less in zip(failed, taken, strict=True)), strict=True))
    assert all(
        later >= max_so_far - 1
        for (_, later), max_so_far in zip(left, accumulate((v for _, v in left), max), strict=True)
    )


SECONDS = st.lists(
    st.tuples(
        st.floats(0.5, 90.0),
        st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=3),
        st.integers(0, 4),
    ),
    max_size=80,
)


@given(SECONDS)
def test_history_adds_up(seconds: list[tuple[float, dict[str, tuple[int, int]], int]]) -> None:
    """Rows are rectangular, at most 60, and their sum is total and failed; repeats are in neither."""
    past, now = VersionPast(), NOW
    for took_s, counts, repeated in seconds:
        now += took_s
        tries = {name: Tally(good + bad, bad) for name, (good, bad) in counts.items()}
        failed = sum(one.failed for one in tries.values())
        less = min(repeated, failed)
        total = sum(one.total for one in tries.values())
        past.add(now, took_s, Tally(total - less, failed - less), tries)

    history = past.history(1e9, now)

    assert len({len(row) for row in history.minutes}) <= 1
    assert len(history.minutes) <= MINUTES
    assert sum((one for row in history.minutes for one in row), Tally()) == Tally(
        history.total, history.failed
    )
    assert sum(history.instances, Tally()) == Tally(history.total, history.failed)
    assert all(0 <= one.failed <= one.total for row in history.minutes for one in row)


def test_earlier_versions_are_those_that_were_stable() -> None:
    """Five of them, newest first; one that is stable again is not its own past."""
    past = Past()
    for number in range(7):
        spent(past.of(f"v{number}"), 2, {"a": (number + 1, 0), "b": (1, 1)})
        past.retire(SHOP, f"v{number}", f"v{number}")
    past.retire(SHOP, "quiet", "quiet")

    earlier = past.earlier_than(SHOP, "v9")

    assert earlier[:2] == (Tally(14, 0), Tally(2, 2))
    assert len(earlier) == 2 * EARLIER
    assert past.earlier_than(SHOP, "v6")[0] == Tally(12, 0)
    assert past.earlier_than(TargetKey("local.orders"), "v1") == ()


def test_a_version_that_is_gone_is_forgotten_after_an_hour() -> None:
    """Its minutes leave memory; what it left to later versions stays."""
    past = Past()
    later = spent(past.of("v1"), 2, {"a": (5, 0)})
    past.retire(SHOP, "v1", "v1")

    past.forget(later + 3_000)
    kept = set(past.versions)
    past.forget(later + 3_700)

    assert (kept, set(past.versions)) == ({"v1"}, set())
    assert past.earlier_than(SHOP, "v2") == (Tally(10, 0),)
