"""The critical path: what everybody waited for, moment by moment."""

from __future__ import annotations

from controller.model.trace import SpanOutline
from controller.traces.tree import Tree
from tests.controller.traces.test_tree import OTHER, span, tree


def path(found: Tree) -> list[tuple[str, int, int]]:
    return [
        ("" if one.index is None else found.nodes[one.index].span.span_id, one.from_ns, one.until_ns)
        for one in found.critical
    ]


def test_calls_in_a_row_are_all_of_it() -> None:
    """Parent, child, parent, child, parent."""
    found = tree(span("a"), span("b", "a", 10, 20), span("c", "a", 50, 20))

    assert path(found) == [("a", 0, 10), ("b", 10, 30), ("a", 30, 50), ("c", 50, 70), ("a", 70, 100)]


def test_of_parallel_calls_the_last_to_end_counts() -> None:
    """The other one was done by then; what had ended before the last began counts again."""
    found = tree(span("a"), span("b", "a", 10, 70), span("c", "a", 30, 60), span("d", "a", 5, 20))

    assert path(found) == [("a", 0, 5), ("d", 5, 25), ("a", 25, 30), ("c", 30, 90), ("a", 90, 100)]


def test_what_outlives_its_parent_counts_to_the_parents_end() -> None:
    """Nobody waited for the rest, at any depth; a child after the end does not count at all."""
    found = tree(span("a"), span("b", "a", 40, 500), span("c", "b", 60, 400), span("d", "a", 200, 5))

    assert path(found) == [("a", 0, 40), ("b", 40, 60), ("c", 60, 100)]


def test_pieces_are_bridged() -> None:
    """Between two roots is a hole that belongs to nobody; of two that ran at once the earlier one counts."""
    pieces: list[SpanOutline] = [
        span("a", duration=20),
        span("b", "gone", 50, 30),
        span("c", "gone", 60, 100),
        span("d", "c", 100, 20),
    ]

    assert path(tree(*pieces)) == [
        ("a", 0, 20),
        ("", 20, 50),
        ("b", 50, 60),
        ("c", 60, 100),
        ("d", 100, 120),
        ("c", 120, 160),
    ]


def test_a_message_is_waited_for_across_traces() -> None:
    """Until the consumer's end, over the time in the queue."""
    found = tree(span("a"), span("take", "", 150, 50, trace=OTHER, linked=("a",)))

    assert path(found) == [("a", 0, 100), ("", 100, 150), ("take", 150, 200)]
