"""`serinus simulate`: many releases in a made-up world, under any plan and policy, in seconds and without a stack.

Before it: somebody who asks what a policy would do. After it: `controller.simulation.study`. Needs no controller.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import scenes, shown
from controller.cli.shown import Output

if TYPE_CHECKING:
    from controller.simulation.scene import Scene
    from controller.simulation.study import Frequency, Spread, Study

PLAN = "Name of a ready-made plan, or a .yaml or .json file with one."
POLICY = "Name of a ready-made policy, or a .yaml or .json file with one."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    plan: Annotated[str, typer.Option(help=PLAN)] = "standard",
    policy: Annotated[str, typer.Option(help=POLICY)] = "standard",
    rate: scenes.Rate = 100.0,
    stable_errors: scenes.StableErrors = 0.5,
    group: scenes.Group = 1,
    burst: scenes.Bursts = None,
    source_down: scenes.Outages = None,
    history: scenes.HistoryS = 3600.0,
    look_every: scenes.LookEvery = 1.0,
    audience: scenes.Audience = 10.0,
    canary_errors: scenes.CanaryErrors = None,
    after: scenes.After = 0.0,
    ramp: scenes.Ramp = 0.0,
    dark_after: scenes.DarkAfter = None,
    hang_after: scenes.HangAfter = None,
    latency_ms: scenes.LatencyMs = None,
    latency_sigma: scenes.LatencySigma = 0.5,
    pauses: scenes.Paused = False,
    canary_slower: scenes.CanarySlower = 1.0,
    canary_sigma: scenes.CanarySigma = None,
    canary_slow_part: scenes.CanarySlowPart = 0.0,
    slow_ms: scenes.SlowMs = 1000.0,
    instances: scenes.Instances = None,
    unlike: scenes.Unlike = 0.0,
    bad_instance: scenes.BadInstance = None,
    generations: scenes.Generations = 0,
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many releases.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 1,
    output: Annotated[Output, typer.Option(help="text for people, json for programs.")] = Output.TEXT,
) -> None:
    """Play releases on a virtual clock: how often is the canary taken back, how soon, and what did users see?"""
    from controller.simulation.latency import Slowness
    from controller.simulation.scene import Scene

    slow = scenes.slowness(canary_slower, canary_slow_part, slow_ms, canary_sigma)
    is_slower = slow != Slowness(by_s=slow.by_s)
    errors = stable_errors if canary_errors is None else canary_errors
    scene = Scene(
        per_s=rate,
        stable_rate=stable_errors / 100,
        canary=scenes.fault(errors, after, ramp, (dark_after, hang_after), slow if is_slower else Slowness()),
        bursts=scenes.bursts(burst or ()),
        history_s=history,
        look_every_s=look_every,
        latency=scenes.latency(latency_ms, latency_sigma, has_pauses=pauses, is_slower=is_slower),
        fleet=scenes.fleet(instances, unlike, bad_instance, generations),
        group=group,
        outages=scenes.outages(source_down or ()),
        audience=audience / 100,
    )
    _play(scene, plan, policy, (runs, seed), output)


def _play(scene: Scene, plan: str, policy: str, often: tuple[int, int], output: Output) -> None:
    from controller.plans import files
    from controller.simulation.study import study

    runs, seed = often
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


def _lines(found: Study, scene: Scene, chosen: str) -> list[str]:
    canary = "is tolerable" if found.is_tolerable else "is not tolerable"
    lines = [
        f"{found.failed.runs} releases at {scene.per_s:g} requests/s, {chosen}; this canary {canary}",
        f"{'rolled back by mistake' if found.is_tolerable else 'rolled back':<30}{_often(found.failed)}",
    ]
    if found.failed_by:
        by = ", ".join(f"{one.name} {one.count}" for one in found.failed_by)
        lines.append(f"{'what they stand on':<30}{by}")
        where = ", ".join(f"{one.name}: {one.count}" for one in found.failed_in)
        lines.append(f"{'where they came':<30}{where}")
    if scene.fault_at_s > 0:
        lines.append(f"{'rolled back before its fault':<30}{_often(found.early)}")
    lines += [
        f"{'promoted':<30}{_often(found.promoted)}",
        f"{'taken back at a deadline':<30}{_often(found.undecided)}",
        f"{'waited for a person in vain':<30}{_often(found.waiting)}",
    ]
    held = {
        "held: one bad instance": found.bad_instance,
        "held: canary gets nothing": found.dark,
        "held: the whole service fails": found.burning,
    }
    lines += [f"{name:<30}{_often(one)}" for name, one in held.items() if one.count]
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
