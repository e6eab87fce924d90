"""Recorded looks as JSON lines: a heading, then one line a look.

Before it: `recording` writes these lines into files. After it: `controller.simulation.replay` judges what `read` found.
A look that was judged and then lost with its judge is followed by the next judge's look of the same number; reading
keeps what the surviving evidence was made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from controller.errors import InvalidInput
from controller.model.evidence import Evidence, StepOrder
from controller.model.look import Look
from controller.model.recording import Heading, Recorded, Recording
from controller.plans.text import parse

LONGEST_LINE = 64 * 1024
"""Bytes. A line of a hundred instances needs 12 000."""
MOST_LOOKS = 1_000_000
"""Eleven days of one look a second."""

Value = TypeVar("Value")
_HEADING = TypeAdapter(Heading)
_RECORDED = TypeAdapter(Recorded)


def heading_line(order: StepOrder) -> bytes:
    """Return the first line of a release; the order's evidence is what its judge began with."""
    release, evidence = order.release, order.evidence or Evidence()
    heading = Heading(
        release=release.id,
        target=release.target.key,
        stable=release.target.stable,
        version=release.version,
        plan=release.plan,
        policy=release.policy,
        start=evidence.start,
        is_narrowed=bool(release.target.matches),
    )
    return _HEADING.dump_json(heading) + b"\n"


def look_line(order: StepOrder, look: Look) -> bytes:
    """Return the line of one look; what has its default is left out."""
    recorded = Recorded(look, step=order.step, is_open=order.is_open)
    return _RECORDED.dump_json(recorded, exclude_defaults=True) + b"\n"


def read(lines: Iterable[bytes]) -> Recording:
    """Read a recording; a damaged line, or one of a step that the plan does not have, is left out and counted.

    Raises:
        InvalidInput: The first line is not a heading, or no look could be read.
    """
    given = iter(lines)
    heading = _line(_HEADING, next(given, b""))
    if heading is None:
        raise InvalidInput("expected recorded looks: the first line must say what was released", field="FILE")
    kept: list[Recorded] = []
    damaged = 0
    for line in given:
        found = _line(_RECORDED, line)
        if found is None or not 0 <= found.step < len(heading.plan.steps):
            damaged += 1
            continue
        while kept and kept[-1].look.id >= found.look.id:
            kept.pop()
        kept.append(found)
        if len(kept) > MOST_LOOKS:
            raise InvalidInput(f"expected at most {MOST_LOOKS} looks", field="FILE")
    if not kept:
        raise InvalidInput("the recording holds no look", field="FILE")
    return Recording(heading, tuple(kept), damaged)


def _line(adapter: TypeAdapter[Value], line: bytes) -> Value | None:
    if len(line) > LONGEST_LINE:
        return None
    try:
        parse(line)  # stricter than what follows: no NaN, no doubled key, bounded depth
        return adapter.validate_json(line, strict=True)
    except (InvalidInput, ValidationError):
        return None
