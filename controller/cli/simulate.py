"""`serinus simulate`: many releases in a made-up world, under any plan and policy, in seconds and without a stack.

Before it: somebody who asks what a policy would do. After it: `controller.simulation.study`. Needs no controller.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import shown
from controller.cli.shown import Output
from controller.errors import InvalidInput

if TYPE_CHECKING:
    from controller.simulation.scene import Burst, Scene
    from controller.simulation.study import Frequency, Spread, Study

Percent = Annotated[float, typer.Option(min=0, max=100)]
PLAN = "Name of a ready-made plan, or a .yaml or .json file with one."
POLICY = "Name of a ready-made policy, or a .yaml or .json file with one."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    plan: Annotated[str, typer.Option(help=PLAN)] = "standard",
    policy: Annotated[str, typer.Option(help=POLICY)] = "standard",
    rate: Annotated[float, typer.Option(help="Requests a second on both versions together.")] = 100.0,
    stable_errors: Annotated[
        float, typer.Option(min=0, max=100, help="Per cent of stable's requests that fail.")
    ] = 0.5,
    canary_errors: Annotated[
        float | None,
        typer.Option(min=0, max=100, help="Per cent of the canary's that fail; as stable's when left out."),
    ] = None,
    after: Annotated[
        float, typer.Option(min=0, help="The canary fails like stable for so many seconds.")
    ] = 0.0,
    ramp: Annotated[float, typer.Option(min=0, help="Then its fault grows for so many seconds.")] = 0.0,
    burst: Annotated[
        list[str] | None,
        typer.Option(metavar="AT:FOR:PERCENT", help="An incident of both versions; may be repeated."),
    ] = None,
    history: Annotated[float, typer.Option(min=0, help="Seconds that stable has served before.")] = 3600.0,
    look_every: Annotated[float, typer.Option(help="Seconds between two looks.")] = 1.0,
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many releases.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 1,
    output: Annotated[Output, typer.Option(help="text for people, json for programs.")] = Output.TEXT,
) -> None:
    """Play releases on a virtual clock: how often is the canary taken back, how soon, and what did users see?"""
    from controller.plans import files
    from controller.simulation.scene import Fault, Scene
    from controller.simulation.study import study

    scene = Scene(
        per_s=rate,
        stable_rate=stable_errors / 100,
        canary=Fault((stable_errors if canary_errors is None else canary_errors) / 100, after, ramp),
        bursts=tuple(_burst(text) for text in burst or ()),
        history_s=history,
        look_every_s=look_every,
    )
    chosen = files.plan(plan), files.policy(policy)
    found = study(scene, *chosen, runs=runs, seed=seed)
    if output is Output.JSON:
        shown.as_json(
            {
                "plan": chosen[0].name,
                "policy": chosen[1].name,
                "seed": seed,
                "scene": asdict(scene),
                **asdict(found),
            }
        )
        return
    for line in _lines(found, scene, f"plan {chosen[0].name}, policy {chosen[1].name}, seed {seed}"):
        shown.line(line)


def _burst(text: str) -> Burst:
    from controller.simulation.scene import Burst

    try:
        at_s, for_s, percent = (float(part) for part in text.split(":"))
    except ValueError:
        raise InvalidInput("expected AT:FOR:PERCENT, such as 60:10:30", field="burst") from None
    return Burst(at_s, for_s, percent / 100)


def _lines(found: Study, scene: Scene, chosen: str) -> list[str]:
    canary = "is tolerable" if found.is_tolerable else "is not tolerable"
    lines = [
        f"{found.failed.runs} releases at {scene.per_s:g} requests/s, {chosen}; this canary {canary}",
        f"{'rolled back by mistake' if found.is_tolerable else 'rolled back':<30}{_often(found.failed)}",
    ]
    if scene.canary.after_s > 0:
        lines.append(f"{'rolled back before its fault':<30}{_often(found.early)}")
    lines += [
        f"{'promoted':<30}{_often(found.promoted)}",
        f"{'taken back at a deadline':<30}{_often(found.undecided)}",
        f"{'left waiting for a person':<30}{_often(found.waiting)}",
    ]
    if found.failed.count:
        lines += [
            f"{'from fault to rollback':<30}{_spread(found.delay_s)} s",
            f"{'canary requests until then':<30}{_spread(found.delay_requests)}",
            f"{'of which users saw fail':<30}{_spread(found.users_hit)}",
        ]
    if found.promoted.count:
        lines.append(f"{'time to full promotion':<30}{_spread(found.promotion_s)} s")
    return [*lines, f"for example: {found.example}"]


def _often(found: Frequency) -> str:
    return (
        f"{found.count} of {found.runs}: {100 * found.count / found.runs:.2f} % "
        f"(95 % sure: {100 * found.low:.2f} to {100 * found.high:.2f} %)"
    )


def _spread(found: Spread) -> str:
    return f"median {found.median:g}, 95 % within {found.p95:g}"
