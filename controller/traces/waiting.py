"""The critical path of a trace: at each moment the one span that everybody waited for. Pure.

Before it: spans with their children, from `tree`. After it: stretches from the first start to the last end, without
holes. Read backwards from the end of a span: it waited for the child that ended last, until that one began; then for
the child that had ended by then, and so on; what lies between is its own time. This is the definition of Eaton et al.,
"CRISP: Critical Path Analysis of Large-Scale Microservice Architectures" (USENIX ATC 2022), section 3. A child that
outlives its parent counts to the parent's end only: nobody waited for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappush

from controller.model.trace import SpanOutline


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the critical path.

    Args:
        index: Whose time it was; None where no span is known: between the roots of a trace that came in pieces.
    """

    index: int | None
    from_ns: int
    until_ns: int


class _Frame:
    """One span while its part of the path is read backwards.

    Args:
        index: Which span.
        from_ns: Where its part begins.
        at_ns: The moment that has been reached, from its end on.
        children: With the end that counts, the last one first.
    """

    __slots__ = ("at_ns", "children", "from_ns", "index")

    def __init__(self, index: int, from_ns: int, at_ns: int, children: Iterator[tuple[int, int]]) -> None:
        self.index = index
        self.from_ns = from_ns
        self.at_ns = at_ns
        self.children = children


def critical_path(
    spans: Sequence[SpanOutline], children: Sequence[Sequence[int]], roots: Sequence[int]
) -> tuple[Stretch, ...]:
    """Return the path from the first start to the last end of the roots.

    Args:
        spans: All of them.
        children: Indices, for each span.
        roots: Indices; several where a trace came in pieces, or for the traces of one correlation ID.
    """
    stretches: list[Stretch] = []
    at_ns = max(_end(spans[root]) for root in roots)
    begin_ns = min(spans[root].start_ns for root in roots)
    by_end = sorted(roots, key=lambda root: (_end(spans[root]), -spans[root].start_ns), reverse=True)
    waiting = iter(by_end)
    upcoming = next(waiting, None)
    running: list[tuple[int, int]] = []
    while at_ns > begin_ns:
        # Of pieces nobody knows who waited for whom: of those that ran at the moment, the one that began first counts.
        while upcoming is not None and _end(spans[upcoming]) >= at_ns:
            heappush(running, (spans[upcoming].start_ns, upcoming))
            upcoming = next(waiting, None)
        if running and running[0][0] < at_ns:
            start_ns, chosen = running[0]
            _read(spans, children, chosen, at_ns, stretches)
            at_ns = start_ns
            continue
        running.clear()  # they began later, and the path only goes back
        gap_from_ns = begin_ns if upcoming is None else _end(spans[upcoming])
        stretches.append(Stretch(None, gap_from_ns, at_ns))
        at_ns = gap_from_ns
    return tuple(_joined(reversed(stretches)))


def _read(
    spans: Sequence[SpanOutline],
    children: Sequence[Sequence[int]],
    root: int,
    until_ns: int,
    stretches: list[Stretch],
) -> None:
    """Add the path of one root from `until_ns` back to its start, last stretch first."""
    stack = [_frame(spans, children, root, spans[root].start_ns, until_ns)]
    while stack:
        top = stack[-1]
        found = next(((child, end) for child, end in top.children if end <= top.at_ns), None)
        if found is None:
            if top.at_ns > top.from_ns:
                stretches.append(Stretch(top.index, top.from_ns, top.at_ns))
            stack.pop()
            continue
        child, end_ns = found
        from_ns = max(spans[child].start_ns, top.from_ns)
        if end_ns <= from_ns:
            continue  # it took no time, or lies outside
        if end_ns < top.at_ns:
            stretches.append(Stretch(top.index, end_ns, top.at_ns))
        top.at_ns = from_ns
        stack.append(_frame(spans, children, child, from_ns, end_ns))


def _frame(
    spans: Sequence[SpanOutline], children: Sequence[Sequence[int]], index: int, from_ns: int, until_ns: int
) -> _Frame:
    ends = sorted(
        ((min(_end(spans[child]), until_ns), -spans[child].start_ns, child) for child in children[index]),
        reverse=True,
    )
    return _Frame(index, from_ns, until_ns, ((child, end) for end, _, child in ends))


def _joined(stretches: Iterator[Stretch]) -> Iterator[Stretch]:
    """Put neighbours of one span together."""
    last: Stretch | None = None
    for stretch in stretches:
        if last is not None and last.index == stretch.index:
            last = Stretch(last.index, last.from_ns, stretch.until_ns)
            continue
        if last is not None:
            yield last
        last = stretch
    if last is not None:
        yield last


def _end(span: SpanOutline) -> int:
    return span.start_ns + span.duration_ns
