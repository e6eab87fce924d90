"""`serinus policy` and `serinus plan`: the JSON schema of the files, and what a name or a file means. Needs no stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from controller.cli import shown

Choice = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Ready-made, or a .yaml or .json file.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for kind in ("plan", "policy"):
        group = typer.Typer(help=f"Look at {kind} files and ready-made ones.", no_args_is_help=True)
        group.command("schema", help=f"Print the JSON schema of a {kind} file.")(_schema(kind))
        group.command("show")({"plan": show_plan, "policy": show_policy}[kind])
        app.add_typer(group, name=kind)


def show_plan(choice: Choice) -> None:
    """Check a plan and print it in full, as JSON."""
    from controller.plans import files, schema

    shown.as_json(schema.write_plan(files.plan(choice)))


def show_policy(choice: Choice) -> None:
    """Check a policy and print it in full, as JSON."""
    from controller.plans import files, schema

    shown.as_json(schema.write_policy(files.policy(choice)))


def _schema(kind: str) -> Callable[[], None]:
    def schema() -> None:
        from controller.plans import files

        shown.as_json(files.json_schema(kind))

    return schema
