"""Cumulative counters out of cells that still change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.model.running import Counts, Running

cells = st.dictionaries(
    st.tuples(st.integers(0, 3), st.sampled_from("ab")),
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda one: Counts(sum(one), one[0], one)),
    max_size=4,
)


@given(readings=st.lists(cells, max_size=8))
def test_no_sum_ever_falls(readings: list[dict[tuple[int, str], Counts]]) -> None:
    """Whatever a store tells, counters grow; failures stay a part of the calls."""
    running: Running[str] = Running()
    for reading in readings:
        before = dict(running.sums)
        running.take(reading)
        for key, old in before.items():
            new = running.sums[key]
            assert new.calls >= old.calls
            assert new.failed >= old.failed
            assert all(now >= then for now, then in zip(new.buckets, old.buckets, strict=True))
            assert new.failed <= new.calls


@given(final=cells, readings=st.integers(1, 5))
def test_a_cell_that_grows_is_counted_once(final: dict[tuple[int, str], Counts], readings: int) -> None:
    """However often and in whatever state it is read, the sum is what the cells hold in the end."""
    running: Running[str] = Running()
    for number in range(1, readings + 1):
        running.take(
            {
                cell: Counts(
                    counts.calls * number // readings,
                    counts.failed * number // readings,
                    tuple(one * number // readings for one in counts.buckets),
                )
                for cell, counts in final.items()
            }
        )

    for key in "ab":
        assert running.sums.get(key, Counts()).calls == sum(
            counts.calls for cell, counts in final.items() if cell[1] == key
        )


def test_what_a_store_forgot_is_not_counted_again() -> None:
    """A cell that shrank began anew: only what comes after counts."""
    running: Running[str] = Running()
    running.take({(0, "a"): Counts(100, 10)})

    assert not running.take({(0, "a"): Counts(30, 30)})
    assert running.take({(0, "a"): Counts(31, 30)})

    assert running.sums["a"] == Counts(101, 10)


def test_forgotten_cells_free_memory() -> None:
    """Marks of old cells go, sums stay."""
    running: Running[str] = Running()
    running.take({(at, "a"): Counts(1) for at in range(100)})

    running.forget(99)
    running.take({(99, "a"): Counts(2)})

    assert running.sums["a"].calls == 101
