"""The tree of a trace: places, own time, first failures, and what no sender can break."""

from __future__ import annotations

import time
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controller.model.trace import Outline, SpanOutline
from controller.traces.tree import Joined, Tree, most_telling, services_of, tree_of

TRACE, OTHER = "a" * 32, "b" * 32


def span(
    span_id: str,
    parent: str = "",
    start: int = 0,
    duration: int = 100,
    *,
    trace: str = TRACE,
    status: str = "unset",
    linked: tuple[str, ...] = (),
) -> SpanOutline:
    return SpanOutline(
        trace_id=trace,
        span_id=span_id,
        parent_span_id=parent,
        service="catalog",
        version="v1",
        name=f"work {span_id}",
        kind="server",
        start_ns=start,
        duration_ns=duration,
        status=status,
        linked=linked,
    )


def tree(*spans: SpanOutline) -> Tree:
    return tree_of(Outline(spans, len(spans)))


def own(found: Tree) -> dict[str, int]:
    return {node.span.span_id: node.self_ns for node in found.nodes}


def places(found: Tree) -> list[tuple[str, int, str]]:
    return [(node.span.span_id, node.depth, node.joined.value) for node in found.nodes]


def test_spans_stand_below_their_parents_by_start() -> None:
    """Depth first, siblings by start, whatever order they come in."""
    found = tree(span("c", "a", 60, 10), span("b", "a", 10, 20), span("d", "b", 12, 5), span("a"))

    assert places(found) == [("a", 0, "root"), ("b", 1, "child"), ("d", 2, "child"), ("c", 1, "child")]
    assert [node.below for node in found.nodes] == [3, 1, 0, 0]
    assert (found.start_ns, found.duration_ns, found.total) == (0, 100, 4)
    assert services_of(found) == {("catalog", "v1"): (4, 100)}


def test_own_time_is_what_no_child_covers() -> None:
    """Overlapping children count once, and one that outlives its parent or began before it counts inside it only."""
    found = tree(
        span("a", start=100),
        span("b", "a", 90, 30),
        span("c", "a", 110, 30),
        span("d", "a", 190, 500),
        span("e", "a", 1_000, 5),
    )

    assert own(found) == {"a": 50, "b": 30, "c": 30, "d": 500, "e": 5}


def test_a_missing_parent_makes_a_marked_root() -> None:
    """It is shown, and said to be an orphan."""
    assert places(tree(span("a"), span("b", "gone", 5))) == [("a", 0, "root"), ("b", 0, "orphan")]


def test_rings_and_repeats_make_marks_and_no_hang() -> None:
    """A span that is its own parent, two that are each other's, and one that came twice."""
    ring = tree(span("a", "c", 1), span("b", "a", 2), span("c", "b", 3), span("d", "c", 4))
    alone = tree(span("a", "a"))
    twice = tree(span("a"), span("a", duration=7), span("b", "a"))

    assert places(ring) == [("a", 0, "cycle"), ("b", 1, "child"), ("c", 2, "child"), ("d", 3, "child")]
    assert places(alone) == [("a", 0, "cycle")]
    assert [node.span.span_id for node in twice.nodes] == ["a", "b"]


def test_a_consumer_hangs_below_its_producer_across_traces() -> None:
    """By its link; it takes none of the producer's time, and links in a ring hang nothing below itself."""
    found = tree(
        span("a"),
        span("send", "a", 10, 5),
        span("take", "", 50, 400, trace=OTHER, linked=("send", "nowhere")),
        span("deep", "take", 60, 10, trace=OTHER, linked=("take",)),
    )
    ring = tree(span("x", trace=TRACE, linked=("y",)), span("y", start=1, trace=OTHER, linked=("x",)))

    assert places(found) == [
        ("a", 0, "root"),
        ("send", 1, "child"),
        ("take", 2, "link"),
        ("deep", 3, "child"),
    ]
    assert own(found) == {"a": 95, "send": 5, "take": 390, "deep": 10}
    assert [node.follows for node in found.nodes] == [(), (), (1,), (2,)]
    assert sorted(one for _, _, one in places(ring)) == ["link", "root"]


def test_equal_span_ids_in_two_traces_are_two_spans() -> None:
    """A parent is looked for in its own trace only."""
    found = tree(span("a"), span("a", trace=OTHER, start=1), span("b", "a", 5, 5, trace=OTHER))

    assert [node.above for node in found.nodes] == [None, None, 1]


def test_a_failure_begins_where_nothing_below_failed() -> None:
    """Even when a call in between hides it; two of them come in the order in which they failed."""
    found = tree(
        span("a", status="error"),
        span("b", "a", 10, 50),
        span("c", "b", 20, 30, status="error"),
        span("d", "a", 5, 10, status="error"),
    )

    assert [found.nodes[index].span.span_id for index in found.failures] == ["d", "c"]


def test_of_too_many_the_telling_ones_are_shown_with_all_above_them() -> None:
    """A failure at the bottom of a long chain is there, and the whole chain above it."""
    chain = [span(f"{n}", f"{n - 1}" if n else "", n, 1_000 - 2 * n) for n in range(20)]
    noise = [span(f"n{n}", "0", 300 + n, 1) for n in range(500)]
    found = tree(*chain[:-1], replace(chain[-1], status="error"), *noise)

    shown = most_telling(found, 40)

    assert len(shown) == 40
    assert {f"{n}" for n in range(20)} <= {found.nodes[index].span.span_id for index in shown}
    assert all(found.nodes[index].above in {*shown, None} for index in shown)
    assert most_telling(found, 10_000) == tuple(range(520))


def test_fifty_thousand_spans_take_about_a_second_of_this_process() -> None:
    """As a chain, as a fan and as pieces; by process time, so that a busy machine does not matter."""
    many = 50_000
    chain = [span(f"{n}", f"{n - 1}" if n else "", n, 10 * many - n * n // many) for n in range(many)]
    fan = [span("0", duration=many), *(span(f"{n}", "0", n, 3) for n in range(1, many // 2))]
    pieces = [span(f"p{n}", "gone", 2 * n, 1 + n % 7) for n in range(many // 2)]
    for spans in (chain, [*fan, *pieces]):
        began = time.process_time()
        found = tree(*spans)
        most_telling(found, 2_000)

        assert len(found.nodes) == many
        assert time.process_time() - began < 3.0


@st.composite
def synchronous(draw: st.DrawFn) -> list[SpanOutline]:
    """A trace of calls one after the other: children lie inside their parent and do not overlap."""
    spans = [span("0", start=draw(st.integers(0, 10)), duration=draw(st.integers(0, 200)))]
    free = {0: spans[0].start_ns}
    for number in range(1, draw(st.integers(1, 15))):
        up = draw(st.integers(0, number - 1))
        end = spans[up].start_ns + spans[up].duration_ns
        start = draw(st.integers(free[up], end))
        duration = draw(st.integers(0, end - start))
        spans.append(span(f"{number}", f"{up}", start, duration))
        free[up], free[number] = start + duration, start
    return spans


@given(synchronous())
def test_own_times_of_calls_in_a_row_add_up_to_the_root(spans: list[SpanOutline]) -> None:
    """Every nanosecond of the root is somebody's, once; and all of it is the critical path."""
    found = tree(*spans)

    assert sum(own(found).values()) == spans[0].duration_ns
    assert sum(stretch.until_ns - stretch.from_ns for stretch in found.critical) == spans[0].duration_ns


ANY = st.lists(
    st.builds(
        span,
        span_id=st.sampled_from("abcdefgh"),
        parent=st.sampled_from(["", *"abcdefghz"]),
        start=st.integers(0, 60),
        duration=st.integers(0, 60),
        trace=st.sampled_from([TRACE, OTHER]),
        status=st.sampled_from(["unset", "error"]),
        linked=st.lists(st.sampled_from("abcdefghz"), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=14,
)


@given(ANY)
def test_whatever_is_sent_has_a_whole_tree_and_a_path_without_holes(spans: list[SpanOutline]) -> None:
    """Each span once, each below something that stands before it; the path is contiguous, and not longer than the trace."""
    found = tree(*spans)

    keys = [(node.span.trace_id, node.span.span_id) for node in found.nodes]
    assert len(keys) == len(set(keys)) == len({(one.trace_id, one.span_id) for one in spans})
    for index, node in enumerate(found.nodes):
        assert node.above is None or node.above < index
        assert node.depth == (0 if node.above is None else found.nodes[node.above].depth + 1)
        assert 0 <= node.self_ns <= node.span.duration_ns
        assert 0 <= node.critical_ns <= node.span.duration_ns
        assert (node.above is None) == (node.joined in (Joined.ROOT, Joined.ORPHAN, Joined.CYCLE))
    for before, after in zip(found.critical, found.critical[1:], strict=False):
        assert before.until_ns == after.from_ns
    for stretch in found.critical:
        assert stretch.from_ns < stretch.until_ns
        if stretch.index is not None:
            owner = found.nodes[stretch.index].span
            assert owner.start_ns <= stretch.from_ns
            assert stretch.until_ns <= owner.start_ns + owner.duration_ns
    assert sum(stretch.until_ns - stretch.from_ns for stretch in found.critical) <= found.duration_ns
    assert bool(found.failures) == any(node.span.status == "error" for node in found.nodes)
