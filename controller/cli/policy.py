"""`serinus policy` and `serinus plan`: the JSON schema of the files, and what a name or a file means. Needs no stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import shown

if TYPE_CHECKING:
    from controller.model.plan import Plan, Policy

Choice = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Ready-made, or a .yaml or .json file.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for kind in ("plan", "policy"):
        group = typer.Typer(help=f"Look at {kind} files and ready-made ones.", no_args_is_help=True)
        group.command("schema", help=f"Print the JSON schema of a {kind} file.")(_schema(kind))
        group.command("show")({"plan": show_plan, "policy": show_policy}[kind])
        app.add_typer(group, name=kind)


def show_plan(
    choice: Choice,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, max=1_000_000, help="Say what it can see at so many requests a second."),
    ] = None,
    stable_errors: Annotated[
        float, typer.Option(min=0, max=100, help="With --rate: per cent of stable's requests that fail.")
    ] = 0.5,
    policy: Annotated[str, typer.Option(help="With --rate: under which policy.")] = "standard",
) -> None:
    """Check a plan and print it in full, as JSON; with --rate as a table of what each step can see."""
    from controller.plans import files, schema

    plan = files.plan(choice)
    if rate is None:
        shown.as_json(schema.write_plan(plan))
        return
    columns = ("share", "sees a canary that fails", "sees anything from", "canary requests it needs", "gets")
    shown.table(columns, _foreseen(plan, files.policy(policy), rate, stable_errors / 100))


def show_policy(choice: Choice) -> None:
    """Check a policy and print it in full, as JSON."""
    from controller.plans import files, schema

    shown.as_json(schema.write_policy(files.policy(choice)))


def _foreseen(plan: Plan, policy: Policy, per_s: float, failing: float) -> list[tuple[str, ...]]:
    """Return a row a step: what it sees, from which traffic on, and whether its requests come before its deadline."""
    from dataclasses import replace

    from controller.analysis.power import least_traffic, sights
    from controller.judging.looking import HISTORY_S
    from controller.model.look import History

    total = max(round(HISTORY_S * per_s), 1)
    history = History(HISTORY_S, total, round(total * failing))
    rows: list[tuple[str, ...]] = []
    for sight in sights(plan, policy, history):
        step = plan.steps[sight.step]
        if sight.has_audience:
            rows.append(
                (step.said, "in an unknown part of the traffic", "", f"{sight.needed:.0f}", "unknown")
            )
            continue
        alone = least_traffic(replace(plan, steps=(step,)), policy, history)
        rows.append(
            (
                step.said,
                "never" if sight.rate is None else f"from {100 * sight.rate:.2g} %",
                "no traffic" if alone is None else f"{alone:.2g} requests/s",
                f"{sight.needed:.0f}",
                f"{sight.requests:.0f}" + (" (too few before its deadline)" if sight.is_short else ""),
            )
        )
    return rows


def _schema(kind: str) -> Callable[[], None]:
    def schema() -> None:
        from controller.plans import files

        shown.as_json(files.json_schema(kind))

    return schema
