"""`serinus status`: how the parts are, and which releases are active."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controller.cli import shown
from controller.cli.client import talk
from controller.cli.shown import Output


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    output: Annotated[Output, typer.Option(help="text for people, json for programs.")] = Output.TEXT,
) -> None:
    """Show how every part is; exit code 1 when one is not well."""
    found = talk(lambda api: api.call("GET", "/v1/status"))
    if output is Output.JSON:
        shown.as_json(found)
    else:
        _show(found)
    raise typer.Exit(0 if found["is_well"] else 1)


def _show(found: dict[str, Any]) -> None:
    shown.line(f"serinus {found['version']}")
    for part in found["parts"]:
        shown.line(f"  {part['name']:<14} {'well' if part['is_well'] else 'NOT WELL: ' + part['code']}")
    active = found["active_releases"]
    if active is None:
        shown.line("active releases: not known, the ledger does not answer")
    else:
        shown.line(f"active releases: {', '.join(active) or 'none'}")
