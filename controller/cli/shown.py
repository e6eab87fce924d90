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
    """Print a table; every cell is plain text."""
    from rich.table import Table
    from rich.text import Text

    found = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        found.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console().print(found)
