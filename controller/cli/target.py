"""`serinus target`: put, get, list, delete. What can be released, and where its versions answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from controller.cli import shown
from controller.cli.client import talk
from controller.cli.shown import Output
from controller.errors import InvalidInput

MOST_BYTES = 64 * 1024

Name = Annotated[str, typer.Argument(metavar="NAME")]
Environment = Annotated[str, typer.Option(help="Environment of the target.")]
Print = Annotated[Output, typer.Option(help="text for people, json for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    target = typer.Typer(help="Declare what can be released.", no_args_is_help=True)
    for command in (put, get, list_, delete):
        target.command(command.__name__.rstrip("_"))(command)
    app.add_typer(target, name="target")


def put(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON with name, stable, versions, ...; - is stdin.")
    ],
    is_moved: Annotated[
        bool, typer.Option("--move-stable", help="Also move the stable version, at once and unjudged.")
    ] = False,
    output: Print = Output.TEXT,
) -> None:
    """Declare a target, or replace its declaration; a known one keeps its stable version."""
    document = _read(file)
    name = document.get("name")
    if not isinstance(name, str):
        raise InvalidInput("expected the target's name in the file", field="name")
    query = {"move_stable": "true"} if is_moved else None
    found = talk(
        lambda api: api.call("PUT", f"/v1/targets/{quote(name, safe='')}", body=document, query=query)
    )
    if output is Output.JSON:
        shown.as_json(found)
        return
    shown.line(
        f"{found['name']} is declared: stable {found['stable']}, versions {', '.join(found['versions'])}"
    )
    if found.get("note"):
        shown.line(f"note: {found['note']}")


def get(name: Name, environment: Environment = "local") -> None:
    """Show one target as JSON that `put` takes."""
    query = {"environment": environment}
    shown.as_json(talk(lambda api: api.call("GET", f"/v1/targets/{quote(name, safe='')}", query=query)))


def list_(output: Print = Output.TEXT) -> None:
    """List all targets."""
    found = talk(lambda api: api.call("GET", "/v1/targets"))
    if output is Output.JSON:
        shown.as_json(found)
        return
    shown.table(
        ("ENVIRONMENT", "NAME", "STABLE", "VERSIONS", "HOSTS", "WORKLOADS"),
        [
            (
                one["environment"],
                one["name"],
                one["stable"],
                ", ".join(one["versions"]),
                ", ".join(one["hosts"]),
                one["workloads"],
            )
            for one in found["targets"]
        ],
    )


def delete(name: Name, environment: Environment = "local") -> None:
    """Delete a target and its route."""
    query = {"environment": environment}
    talk(lambda api: api.call("DELETE", f"/v1/targets/{quote(name, safe='')}", query=query))
    shown.line(f"{name} is deleted")


def _read(file: str) -> dict[str, object]:
    from controller.plans.text import parse

    try:
        text = sys.stdin.buffer.read(MOST_BYTES + 1) if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}", field="FILE") from error
    if len(text) > MOST_BYTES:
        raise InvalidInput(f"expected at most {MOST_BYTES} bytes", field="FILE")
    document = parse(text)
    if not isinstance(document, dict):
        raise InvalidInput("expected a JSON object", field="FILE")
    return document
