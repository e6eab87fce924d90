"""`serinus replay`: how would another policy have judged what a release has seen?

Before it: `<state_dir>/looks/<release>.jsonl`, which every judged release leaves behind. After it:
`controller.simulation.replay`. Needs no controller.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import shown
from controller.cli.shown import Output
from controller.errors import InvalidInput

if TYPE_CHECKING:
    from controller.model.recording import Recording
    from controller.simulation.replay import Judged, Replayed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Recorded looks; a release's id finds its file.")
    ],
    policy: Annotated[
        str | None,
        typer.Option(
            help="Name of a ready-made policy, or a .yaml or .json file; the release's own when left out."
        ),
    ] = None,
    output: Annotated[Output, typer.Option(help="text for people, json for programs.")] = Output.TEXT,
) -> None:
    """Judge recorded looks again, under the same or another policy."""
    from controller.plans import files
    from controller.simulation.replay import replay as judged_again

    recording = _read(_found(file))
    rule = files.policy(policy) if policy is not None else recording.heading.policy
    found = judged_again(recording, rule)
    if output is Output.JSON:
        shown.as_json(_document(recording, found, rule.name))
        return
    for line in _lines(recording, found, rule.name):
        shown.line(line)


def _found(file: str) -> Path:
    """Return the file that is meant: a path, or the id of a release of this state folder."""
    path = Path(file)
    if path.suffix or path.exists():
        return path
    from controller.settings import load

    return load().looks_dir / f"{path.name}.jsonl"


def _read(path: Path) -> Recording:
    from controller.judging.lines import read

    try:
        with path.open("rb") as file:
            return read(file)
    except OSError as error:
        raise InvalidInput(f"recorded looks cannot be read: {error.strerror}", field="FILE") from error


def _document(recording: Recording, found: Replayed, policy: str) -> dict[str, Any]:
    heading = recording.heading
    return {
        "release": heading.release,
        "target": heading.target,
        "policy": policy,
        "judged_by": heading.policy.name,
        "outcome": found.outcome.value if found.outcome else None,
        "is_waiting": found.is_waiting,
        "reason": found.reason,
        "damaged": recording.damaged,
        "notes": list(found.notes),
        "earned": [_judged(one) for one in found.earned],
        "looks": [_judged(one) for one in found.judged],
    }


def _judged(one: Judged) -> dict[str, Any]:
    return {**asdict(one), "verdict": asdict(one.verdict)}


def _lines(recording: Recording, found: Replayed, policy: str) -> list[str]:
    from controller.model.verdict import attribution

    heading, looks = recording.heading, recording.looks
    steps = heading.plan.steps
    lines = [
        f"{heading.release}: {heading.target} {heading.stable} -> {heading.version}, {len(looks)} looks, "
        f"judged by {heading.policy.name}; here under {policy}"
    ]
    if looks[0].look.id > 1:
        lines.append(f"note: the record begins at look {looks[0].look.id}; what was known before is missing")
    if recording.damaged:
        lines.append(f"note: {recording.damaged} damaged lines are left out")
    lines += [f"note: {one}" for one in found.notes]
    lines += [
        f"step {one.step + 1} ({steps[one.step].share / 100:g} %) earned after {one.step_s:.0f} s: "
        f"{one.verdict.ground.value}, look {one.look}"
        for one in found.earned
    ]
    last = found.judged[-1]
    made_of = attribution(last.verdict)
    return [
        *lines,
        f"{_end(found)} after {last.at_s:.0f} s, look {last.look}: {found.reason}",
        *([made_of] if made_of else ()),
    ]


def _end(found: Replayed) -> str:
    if found.outcome is not None:
        return found.outcome.value.replace("_", " ")
    return "waiting for a person" if found.is_waiting else "the record ends undecided"
