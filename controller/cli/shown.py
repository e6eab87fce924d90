"""How the client commands print: JSON for programs, tables and lines for people. Text from outside is never markup."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


class Output(StrEnum):
    """How an answer is printed."""

    TEXT = "text"
    JSON = "json"


def console(*, is_error: bool = False) -> Console:
    """Return a console on stdout, or on stderr."""
    from rich.console import Console

    return Console(stderr=is_error)


def line(text: str) -> None:
    """Print one line as it is."""
    typer.echo(text)


def as_json(value: object) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, one line a row; nothing is clipped, since people copy ids and programs cut them out."""
    cells = [tuple(columns), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    for row in cells:
        line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
