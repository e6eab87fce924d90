"""From a change of position to the journal lines that people read; pure, so that the workflow only carries them.

Before it: `controller.model.machine` moved the release. After it: the next activity writes the lines (`workflows.journal`).
A line costs no event in the workflow's history, because it travels with the activity that comes next anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.model.machine import Phase, Position, state_of
from controller.model.plan import Plan
from controller.model.share import NOTHING
from workflows.messages import Note


@dataclass(frozen=True, slots=True)
class Cause:
    """Who or what moved the release, and when (seconds since 1970, UTC)."""

    at: float
    actor: str = "serinus"
    correlation_id: str = ""
    reason: str = ""
    is_command: bool = False


def edges(plan: Plan, before: Position, after: Position, cause: Cause) -> tuple[Note, ...]:
    """Return the lines for one move, in order and not yet numbered; empty when nothing that people see has changed."""
    blank = Note(
        kind="",
        n=0,
        at=cause.at,
        state=state_of(plan, after),
        step=after.step,
        reason=cause.reason or after.reason,
        verdict=after.verdict,
        actor=cause.actor,
        correlation_id=cause.correlation_id,
    )
    return (
        *_left(blank, before, after, cause),
        *_toggled(blank, before, after),
        *_entered(plan, blank, before, after),
    )


def number(notes: tuple[Note, ...], counts: Mapping[str, int]) -> tuple[tuple[Note, ...], dict[str, int]]:
    """Number lines by kind; returns them and the new counts."""
    counted = dict(counts)
    numbered = []
    for note in notes:
        counted[note.kind] = counted.get(note.kind, 0) + 1
        numbered.append(replace(note, n=counted[note.kind]))
    return tuple(numbered), counted


def _left(blank: Note, before: Position, after: Position, cause: Cause) -> tuple[Note, ...]:
    """Say what is behind us."""
    if before.phase is Phase.PREFLIGHT and after.phase is Phase.STARTING:
        return (replace(blank, kind="preflight_passed"),)
    if before.phase is Phase.STARTING and after.phase is Phase.STEPPING:
        return (replace(blank, kind="version_ready"),)
    went_on = after.phase is Phase.PROMOTING or after.step > before.step
    if before.phase is Phase.STEPPING and went_on:
        kind = "step_ended_by_command" if cause.is_command and not before.has_passed else "step_passed"
        return (replace(blank, kind=kind, step=before.step),)
    if before.phase is Phase.RETIRING and after.phase is Phase.FINISHING:
        return (replace(blank, kind="drained", verdict=None, reason=cause.reason),)
    return ()


def _toggled(blank: Note, before: Position, after: Position) -> tuple[Note, ...]:
    """Say what a person or a deadline changed without leaving the step."""
    if (after.phase, after.step) != (before.phase, before.step):
        return ()
    if after.is_paused and not before.is_paused:
        return (replace(blank, kind="paused"),)
    if before.is_paused and not after.is_paused:
        return (replace(blank, kind="resumed"),)
    if after.is_waiting and not before.is_waiting:
        return (replace(blank, kind="waiting"),)
    return ()


def _entered(plan: Plan, blank: Note, before: Position, after: Position) -> tuple[Note, ...]:
    """Say what begins."""
    is_new = after.phase is not before.phase or after.step != before.step
    if after.phase is Phase.STEPPING and is_new:
        return (
            replace(blank, kind="step_started", share=plan.steps[after.step].share, verdict=None, reason=""),
        )
    if after.phase is Phase.PROMOTING and is_new:
        return (replace(blank, kind="promoting", verdict=None),)
    if after.phase is Phase.CLOSING and is_new:
        return (replace(blank, kind="closing", share=NOTHING),)
    return ()
