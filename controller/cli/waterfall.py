"""A trace as people read it on a terminal: the tree on the left, bars on one time axis on the right.

Before it: the tree of the API, rows with offsets. After it: `serinus traces get`. Names come from outside and are never
markup; whatever could steer a terminal is shown as `?`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

LEAST_BAR = 20
LEAST_NAME = 24
LABEL = 9
"""Cells right of the bars, for the end of the axis."""
MOST_INDENT = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"
MARKS = {"orphan": "?", "cycle": "↺", "link": "⇢"}
"""How a span came to its place, where that is not simply below its parent."""


def lines(found: Mapping[str, Any], width: int) -> list[Text]:
    """Return the tree with an axis above it.

    Args:
        found: Of `GET /v1/traces/{id}` or `/v1/correlations/{id}`.
        width: Of the terminal, cells.
    """
    rows: Sequence[Mapping[str, Any]] = found["tree"]
    total_ms = float(found["duration_ms"])
    names = [_name(row) for row in rows]
    times = [f"{length(row['duration_ms'])}" for row in rows]
    time_width = max((len(one) for one in times), default=0)
    longest = max((cell_len(one.plain) for one in names), default=0)
    name_width = max(LEAST_NAME, min(longest, width - time_width - LEAST_BAR - LABEL - 4))
    bar_width = max(LEAST_BAR, width - name_width - time_width - LABEL - 4)
    said = [_axis(name_width + time_width + 4, bar_width, total_ms)]
    for row, name, time in zip(rows, names, times, strict=True):
        line = Text(no_wrap=True, overflow="crop")
        line.append_text(_fitted(name, name_width))
        line.append(f"  {time:>{time_width}}  ", "dim")
        line.append_text(bar(row, total_ms, bar_width))
        said.append(line)
    return said


def bar(row: Mapping[str, Any], total_ms: float, width: int) -> Text:
    """Return the bar of one span: bright where it is on the critical path, red where it failed; never invisible."""
    scale = width / total_ms if total_ms else 0.0
    begin = min(max(float(row["offset_ms"]) * scale, 0.0), width - 1.0)
    size = min(max(float(row["duration_ms"]) * scale, 0.125), width - begin)
    text = Text(" " * int(begin))
    style = "red" if row["status"] == "error" else "cyan" if row["critical_ms"] else "blue"
    lead = begin - int(begin)
    eighths = max(round((lead + size) * 8), 1)
    text.append("█" * (eighths // 8) + EIGHTHS[eighths % 8].strip(), style)
    text.truncate(width)
    return text


def length(duration_ms: float) -> str:
    """Say a duration with a fitting unit: `87 µs`, `12.3 ms`, `1.25 s`."""
    if duration_ms < 1:
        return f"{1_000 * duration_ms:.0f} µs"
    return f"{duration_ms:.3g} ms" if duration_ms < 1_000 else f"{duration_ms / 1_000:.3g} s"


def printable(text: object) -> str:
    """Return a text from outside without what could steer a terminal."""
    return "".join(one if one.isprintable() else "?" for one in str(text))


def _name(row: Mapping[str, Any]) -> Text:
    mark = MARKS.get(row["joined"], "")
    name = Text("  " * min(row["depth"], MOST_INDENT) + (f"{mark} " if mark else ""))
    version = f" {printable(row['version'])}" if row["version"] else ""
    name.append(printable(row["service"]) + version, "bold")
    name.append(f" {printable(row['name'])}")
    if row["is_first_failure"]:
        name.append(f"  ✗ {printable(row['error']) or 'failed'}", "red")
    elif row["status"] == "error":
        name.append("  ✗", "red")
    if row["hidden"]:
        name.append(f"  (+{row['hidden']} not shown)", "dim")
    return name


def _fitted(name: Text, width: int) -> Text:
    """Return a name of exactly so many cells; a longer one ends in `…`."""
    if cell_len(name.plain) <= width:
        return name + Text(" " * (width - cell_len(name.plain)))
    fitted = name.copy()
    fitted.truncate(width, overflow="ellipsis", pad=True)
    return fitted


def _axis(lead: int, width: int, total_ms: float) -> Text:
    ends = [length(total_ms * part) if part else "0" for part in (0.0, 0.25, 0.5, 0.75)]
    cells = "".join(set_cell_size(f"├{end}", width // 4) for end in ends)
    return Text(" " * lead + cells + f"┤{length(total_ms)}", "dim", no_wrap=True, overflow="crop")
