"""What people tell a running release, on the real workflow with scripted activities and a skipping clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from controller.model.lease import ClosureKind
from controller.model.plan import Fallback, Policy
from controller.model.release import CommandKind, Outcome, State
from tests.workflows.orders import a_command, an_order, failed, passed, undecided
from tests.workflows.stage import SOON_S, Script, end_of, promoted_first, start, workers
from workflows.messages import ABORT_SIGNAL, TELL_UPDATE, ReleaseEnd, Taken

pytestmark = pytest.mark.asyncio(loop_scope="session")

Handle = WorkflowHandle[Any, ReleaseEnd]


async def tell(handle: Handle, kind: CommandKind, **more: str) -> Taken:
    """Send an update as the runner does."""
    command = a_command(kind, **more)
    taken: Taken = await handle.execute_update(TELL_UPDATE, command, id=command.id, result_type=Taken)
    return taken


async def seen(script: Script, name: str) -> None:
    """Wait until an activity has begun."""
    async with asyncio.timeout(SOON_S):
        while name not in script.seen:
            await asyncio.sleep(0.01)


async def test_a_pause_keeps_judging_and_a_resume_goes_on_with_the_evidence(temporal: Client) -> None:
    """The judge is replaced by one without deadline, then by one with it, and each gets what the last one knew."""
    script = Script()

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=1))
        await seen(script, "hold_step:0")
        paused = await tell(handle, CommandKind.PAUSE, reason="lunch")
        await seen(script, "hold_step:0open")
        script.judgements = [passed()]
        resumed = await tell(handle, CommandKind.RESUME)
        end = await end_of(handle)

    assert (paused.state, resumed.state) == (State.PAUSED, State.STEPPING)
    assert [name for name in script.seen if "hold" in name] == [
        "hold_step:0",
        "hold_step:0open",
        "hold_step:0",
    ]
    handed_on = [errand.step.evidence.looks if errand.step.evidence else None for errand in script.orders]
    assert handed_on == [None, 1, 2]
    assert [errand.step.is_continued for errand in script.orders] == [False, True, True]
    assert end.outcome is Outcome.PROMOTED
    assert [(note.kind, note.actor) for note in script.notes if note.kind in ("paused", "resumed")] == [
        ("paused", "bo"),
        ("resumed", "bo"),
    ]


async def test_a_promote_command_leaves_the_step_for_the_next_one(temporal: Client) -> None:
    """A person who goes on is obeyed at once, and the next step begins with its own counts."""
    script = Script()

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=2))
        await seen(script, "hold_step:0")
        taken = await tell(handle, CommandKind.PROMOTE)
        await seen(script, "hold_step:1")
        await tell(handle, CommandKind.PROMOTE, key="again")
        end = await end_of(handle)

    assert taken == Taken(State.STEPPING, 1)
    assert [errand.step.is_continued for errand in script.orders] == [False, False]
    assert end.outcome is Outcome.PROMOTED
    assert script.lines.count("step_ended_by_command") == 2


async def test_a_gate_waits_for_a_person_however_long(temporal: Client) -> None:
    """A gate is judged without deadline until somebody says promote."""
    script = Script()

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=1, gate=0))
        await seen(script, "hold_step:0open")
        end_state = await tell(handle, CommandKind.PROMOTE)
        end = await end_of(handle)

    assert end_state.state is State.PROMOTING
    assert end.outcome is Outcome.PROMOTED


async def test_the_same_command_sent_twice_acts_once(temporal: Client) -> None:
    """The command's id is the update's, so a repeat gets the first answer and moves nothing."""
    script = Script()

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=3))
        await seen(script, "hold_step:0")
        first = await tell(handle, CommandKind.PROMOTE, key="key-1")
        again = await tell(handle, CommandKind.PROMOTE, key="key-1")
        await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT))
        await end_of(handle)

    assert first == again == Taken(State.STEPPING, 1)


@pytest.mark.parametrize(
    ("kind", "release", "words"),
    [
        (CommandKind.RESUME, "rel-1", "is not paused"),
        (CommandKind.PAUSE, "rel-other", "another release"),
        (CommandKind.START, "rel-1", "is not told this way"),
        (CommandKind.ABORT, "rel-1", "is not told this way"),
    ],
)
async def test_a_command_that_does_not_apply_is_refused_with_its_reason(
    temporal: Client, kind: CommandKind, release: str, words: str
) -> None:
    """The refusal carries our stable code and says why, and the release goes on as if nothing had been said."""
    script = Script()

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order())
        await seen(script, "hold_step:0")
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await tell(handle, kind, release=release)
        await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT))
        await end_of(handle)

    cause = refused.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "command_refused"
    assert words in cause.message


@pytest.mark.parametrize("phase", ["preflight", "start_version", "hold_step:0", "promote"])
async def test_an_abort_closes_in_every_phase(temporal: Client, phase: str) -> None:
    """Whatever runs, an abort is followed by the closure, the conclusion, and the end of the canary."""
    script = Script(judgements=[passed()] if phase == "promote" else [])
    gate = asyncio.Event()
    script.gates[phase] = gate

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=1))
        await seen(script, phase)
        await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT, reason="it smells"))
        await seen(script, "close")
        gate.set()
        end = await end_of(handle)

    assert end == ReleaseEnd(Outcome.ABORTED, "it smells")
    assert script.closes[0].kind is ClosureKind.ABORTED
    assert (script.endings[0].actor, script.retired) == ("bo", ["v2"])


async def test_a_start_that_was_overtaken_is_over_before_the_canary_is_stopped(temporal: Client) -> None:
    """The closure does not wait for it, but the retirement does: else it could start what was just stopped."""
    script = Script(gates={"start_version": asyncio.Event()})

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order())
        await seen(script, "start_version")
        await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT))
        await end_of(handle)

    assert script.seen[-2:] == ["retire", "finish"]
    assert "start_version cancelled" in script.seen


async def test_an_abort_while_it_closes_changes_nothing(temporal: Client) -> None:
    """The first reason stands."""
    script = Script(judgements=[failed()], gates={"close": asyncio.Event()})

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order())
        await seen(script, "close")
        await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT))
        script.gates["close"].set()
        end = await end_of(handle)

    assert end == ReleaseEnd(Outcome.ROLLED_BACK, "14 of 60 failed")
    assert script.seen.count("close") == 1


async def test_an_abort_that_comes_too_late_or_for_another_release_is_ignored(temporal: Client) -> None:
    """A durable signal can arrive after the outcome; it must not change it."""
    script = Script(judgements=[passed()], gates={"retire": asyncio.Event()})

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=1))
        await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT, release="rel-other"))
        await seen(script, "retire")
        await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT))
        script.gates["retire"].set()
        end = await end_of(handle)

    assert end.outcome is Outcome.PROMOTED


async def test_a_promotion_that_wins_the_race_against_an_abort_stands(temporal: Client) -> None:
    """The keeper's closure says which came first, and the release ends as promoted."""
    script = Script(
        judgements=[passed()], gates={"promote": asyncio.Event()}, answers={"close": [promoted_first()]}
    )

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=1))
        await seen(script, "promote")
        await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT))
        await seen(script, "close")
        script.gates["promote"].set()
        end = await end_of(handle)

    assert end.outcome is Outcome.PROMOTED
    assert script.retired == ["v1"]


async def test_a_cancellation_in_temporal_is_an_abort(temporal: Client) -> None:
    """Whoever cancels the workflow gets a rollback, and a second cancellation does not stop it."""
    script = Script(gates={"close": asyncio.Event()})

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order())
        await seen(script, "hold_step:0")
        await handle.cancel()
        await seen(script, "close")
        await handle.cancel()
        script.gates["close"].set()
        end = await end_of(handle)

    assert end == ReleaseEnd(Outcome.ABORTED, "the workflow was cancelled in Temporal")
    assert script.seen[-3:] == ["conclude", "retire", "finish"]


@pytest.mark.parametrize(
    ("fallback", "outcome", "state_seen"),
    [
        (Fallback.ROLLBACK, Outcome.ROLLED_BACK, "closing"),
        (Fallback.PROMOTE, Outcome.PROMOTED, "promoting"),
        (Fallback.WAIT, Outcome.PROMOTED, "waiting"),
    ],
)
async def test_a_deadline_without_verdict_follows_the_policy(
    temporal: Client, fallback: Fallback, outcome: Outcome, state_seen: str
) -> None:
    """Rolled back, promoted, or judged on until a person decides."""
    script = Script(judgements=[undecided()])

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=1, policy=Policy("p", on_no_data=fallback)))
        if fallback is Fallback.WAIT:
            await seen(script, "hold_step:0open")
            await tell(handle, CommandKind.PROMOTE)
        end = await end_of(handle)

    assert end.outcome is outcome
    assert state_seen in script.lines
