"""What a trace is made of: who called whom, whose time it was, what everybody waited for, where it first failed. Pure.

Before it: `Outline`, the spans of one trace or of all traces of a correlation ID. After it: the explorer of the API.
What services send is not trusted: a parent that is missing, a cycle of parents or a span that came twice makes a mark,
never a hang. Linear in the spans but for sorting; nothing recurses, since a chain of 50 000 calls is possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from controller.model.trace import Outline, SpanOutline
from controller.traces.waiting import Stretch, critical_path

Key = tuple[str, str]
"""Trace id and span id."""
MOST_STEPS = 1_000_000
"""Upwards, in search of what to show: chains that do not fit are looked at for about 0.1 s together."""


class Joined(StrEnum):
    """How a span came to its place in the tree."""

    ROOT = "root"
    """It has no parent."""
    CHILD = "child"
    LINK = "link"
    """It begins a trace of its own and links to the span above it: a consumer below its producer."""
    ORPHAN = "orphan"
    """Its parent is not known: not arrived (yet), not sampled, or cut off."""
    CYCLE = "cycle"
    """Its parents lead back to itself; the ring is cut here."""


@dataclass(frozen=True, slots=True)
class Node:
    """One span in its place.

    Args:
        above: Index of the node that it hangs below, None for a root of any kind.
        depth: 0 for roots.
        self_ns: Time in which none of its children ran (what hangs below it by a link is no child).
        critical_ns: Its part of the critical path.
        is_first_failure: It failed and nothing below it did: here a failure began.
        follows: Indices of the spans that it links to, of those that are known.
        below: How many spans hang below it, at any depth.
    """

    span: SpanOutline
    joined: Joined
    above: int | None
    depth: int
    self_ns: int
    critical_ns: int
    is_first_failure: bool
    follows: tuple[int, ...]
    below: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes depth first, siblings by start.

    Args:
        critical: What everybody waited for, from the first start to the last end of the roots, without holes.
        failures: Indices of the first failures, by the time of the failure.
        total: Spans that are known; more than there are nodes when the outline was cut.
    """

    nodes: tuple[Node, ...]
    start_ns: int
    duration_ns: int
    critical: tuple[Stretch, ...]
    failures: tuple[int, ...]
    total: int


def tree_of(outline: Outline) -> Tree:
    """Return the tree of an outline; an empty one for no spans."""
    spans = _once(outline.spans)
    if not spans:
        return Tree((), 0, 0, (), (), outline.total)
    above, joined, links = _placed(spans)
    order, depths = _depth_first(above)
    place = {old: new for new, old in enumerate(order)}
    spans = [spans[old] for old in order]
    joined = [joined[old] for old in order]
    parents = [None if (up := above[old]) is None else place[up] for old in order]
    follows = [tuple(place[one] for one in links[old]) for old in order]
    children: list[list[int]] = [[] for _ in spans]
    for index, up in enumerate(parents):
        if up is not None and joined[index] is Joined.CHILD:
            children[up].append(index)
    roots = [index for index in range(len(spans)) if joined[index] is not Joined.CHILD]
    critical = critical_path(spans, children, roots)
    part = [0] * len(spans)
    for stretch in critical:
        if stretch.index is not None:
            part[stretch.index] += stretch.until_ns - stretch.from_ns
    below, failing = _sums(spans, parents)
    first = [span.status == "error" and not failing[index] for index, span in enumerate(spans)]
    nodes = tuple(
        Node(
            span=span,
            joined=joined[index],
            above=parents[index],
            depth=depths[index],
            self_ns=_self_ns(span, [spans[child] for child in children[index]]),
            critical_ns=part[index],
            is_first_failure=first[index],
            follows=follows[index],
            below=below[index],
        )
        for index, span in enumerate(spans)
    )
    start_ns = min(span.start_ns for span in spans)
    failures = sorted((_end(spans[index]), index) for index in range(len(spans)) if first[index])
    return Tree(
        nodes=nodes,
        start_ns=start_ns,
        duration_ns=max(map(_end, spans)) - start_ns,
        critical=critical,
        failures=tuple(index for _, index in failures),
        total=outline.total,
    )


def most_telling(tree: Tree, limit: int) -> tuple[int, ...]:
    """Return the nodes to show when all of them are too many, in their order.

    First failures, then the critical path, then the longest own time; whatever is shown comes with everything above
    it, so at most `limit` nodes make a whole tree.
    """
    if len(tree.nodes) <= limit:
        return tuple(range(len(tree.nodes)))

    def weight(index: int) -> tuple[bool, bool, int, int]:
        node = tree.nodes[index]
        return (not node.is_first_failure, not node.critical_ns, -node.self_ns, index)

    shown: set[int] = set()
    steps = 0
    for index in sorted(range(len(tree.nodes)), key=weight):
        wanted: list[int] = []
        at: int | None = index
        while at is not None and at not in shown and len(wanted) <= limit:
            wanted.append(at)
            at = tree.nodes[at].above
        if len(shown) + len(wanted) <= limit:
            shown.update(wanted)
        steps += len(wanted)
        if len(shown) >= limit or steps > MOST_STEPS:
            break
    return tuple(sorted(shown))


def services_of(tree: Tree) -> Mapping[tuple[str, str], tuple[int, int]]:
    """Return spans and own time of every service and version, most time first."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for node in tree.nodes:
        key = (node.span.service, node.span.version)
        spans, self_ns = found.get(key, (0, 0))
        found[key] = (spans + 1, self_ns + node.self_ns)
    return dict(sorted(found.items(), key=lambda one: -one[1][1]))


def _once(spans: Iterable[SpanOutline]) -> list[SpanOutline]:
    found: dict[Key, SpanOutline] = {}
    for span in spans:
        found.setdefault((span.trace_id, span.span_id), span)
    return sorted(found.values(), key=lambda span: (span.start_ns, -span.duration_ns, span.span_id))


def _placed(
    spans: Sequence[SpanOutline],
) -> tuple[list[int | None], list[Joined], list[tuple[int, ...]]]:
    """Return what each span hangs below, how, and what it links to; nothing hangs below itself."""
    known = {(span.trace_id, span.span_id): index for index, span in enumerate(spans)}
    by_id: dict[str, int] = {}
    for index, span in enumerate(spans):
        by_id.setdefault(span.span_id, index)
    above: list[int | None] = []
    joined: list[Joined] = []
    for span in spans:
        found = known.get((span.trace_id, span.parent_span_id)) if span.parent_span_id else None
        above.append(found)
        if found is not None:
            joined.append(Joined.CHILD)
        else:
            joined.append(Joined.ORPHAN if span.parent_span_id else Joined.ROOT)
    _cut_rings(above, joined)
    links = [
        tuple(dict.fromkeys(by_id[one] for one in span.linked if by_id.get(one, index) != index))
        for index, span in enumerate(spans)
    ]
    _hang_by_links(spans, above, joined, links)
    return above, joined, links


def _cut_rings(above: list[int | None], joined: list[Joined]) -> None:
    """Make a root of the earliest span of each ring of parents; spans are by start, so it is the first one met."""
    is_settled = [False] * len(above)
    for begin in range(len(above)):
        path: list[int] = []
        on_path: set[int] = set()
        at: int | None = begin
        while at is not None and not is_settled[at]:
            if at in on_path:
                earliest = min(path[path.index(at) :])
                above[earliest], joined[earliest] = None, Joined.CYCLE
                break
            path.append(at)
            on_path.add(at)
            at = above[at]
        for one in path:
            is_settled[one] = True


def _hang_by_links(
    spans: Sequence[SpanOutline],
    above: list[int | None],
    joined: list[Joined],
    links: Sequence[tuple[int, ...]],
) -> None:
    """Put what begins a trace of its own below the first span that it links to, unless that hangs below it already."""
    top = [index if up is None else up for index, up in enumerate(above)]

    def root_of(index: int) -> int:
        path = []
        while top[index] != index:
            path.append(index)
            index = top[index]
        for one in path:
            top[one] = index
        return index

    for index in range(len(spans)):
        if above[index] is None and joined[index] is Joined.ROOT:
            producer = next((one for one in links[index] if root_of(one) != index), None)
            if producer is not None:
                above[index], joined[index] = producer, Joined.LINK
                top[index] = producer


def _depth_first(above: Sequence[int | None]) -> tuple[list[int], list[int]]:
    below: dict[int | None, list[int]] = {}
    for index, up in enumerate(above):
        below.setdefault(up, []).append(index)
    order: list[int] = []
    depths: list[int] = []
    waiting = [(index, 0) for index in reversed(below.get(None, []))]
    while waiting:
        index, depth = waiting.pop()
        order.append(index)
        depths.append(depth)
        waiting.extend((child, depth + 1) for child in reversed(below.get(index, [])))
    return order, depths


def _sums(spans: Sequence[SpanOutline], parents: Sequence[int | None]) -> tuple[list[int], list[bool]]:
    """Return how many spans hang below each, and whether one of them failed. Depth first: children come after."""
    below = [0] * len(spans)
    failing = [False] * len(spans)
    for index in range(len(spans) - 1, -1, -1):
        up = parents[index]
        if up is not None:
            below[up] += 1 + below[index]
            failing[up] = failing[up] or failing[index] or spans[index].status == "error"
    return below, failing


def _self_ns(span: SpanOutline, children: Sequence[SpanOutline]) -> int:
    """Return the time that no child covers: children may overlap, begin before and end after their parent."""
    covered, seen_until = 0, span.start_ns
    for child in children:  # by start
        begin, end = max(child.start_ns, seen_until), min(_end(child), _end(span))
        if end > begin:
            covered += end - begin
            seen_until = end
    return span.duration_ns - covered


def _end(span: SpanOutline) -> int:
    return span.start_ns + span.duration_ns
