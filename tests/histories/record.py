"""Record the histories that `tests/workflows/test_replay.py` replays: `python -m tests.histories.record`.

Run it when the workflow's commands change on purpose, together with `workflow.patched`, and add the new files beside
the old ones: histories of releases in flight must stay replayable. `--missing` writes only files that are not there.
Each story is one way through the state machine, played by scripted activities on a time-skipping Temporal.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle

from controller.errors import NotFound
from controller.model.release import CommandKind, ReleaseOrder
from tests.workflows.orders import a_command, an_order, failed, passed, undecided
from tests.workflows.stage import SOON_S, Script, end_of, promoted_first, skipping, start, workers
from workflows.failures import crossing
from workflows.messages import (
    ABORT_SIGNAL,
    CONTROL_QUEUE,
    DELIVER_WORKFLOW,
    TELL_UPDATE,
    WAKE_SIGNAL,
    Activity,
    Answer,
    Delivered,
    Delivery,
    Ledger,
    ReleaseEnd,
    Round,
)

FOLDER = Path(__file__).parent
Handle = WorkflowHandle[Any, ReleaseEnd]
Plot = Callable[[Script, Handle], Awaitable[None]]


async def _seen(script: Script, name: str) -> None:
    async with asyncio.timeout(SOON_S):
        while name not in script.seen:
            await asyncio.sleep(0.01)


async def _nothing(script: Script, handle: Handle) -> None:
    """Let it run."""


async def _tell(handle: Handle, kind: CommandKind) -> None:
    await handle.execute_update(TELL_UPDATE, a_command(kind), id=f"cmd-{kind}")


async def _pause_and_resume(script: Script, handle: Handle) -> None:
    await _seen(script, "hold_step:0")
    await _tell(handle, CommandKind.PAUSE)
    await _seen(script, "hold_step:0open")
    script.judgements = [passed(), passed()]
    await _tell(handle, CommandKind.RESUME)


async def _abort_step(script: Script, handle: Handle) -> None:
    await _seen(script, "hold_step:0")
    await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT, reason="it smells"))


async def _abort_promotion(script: Script, handle: Handle) -> None:
    await _seen(script, "promote")
    await handle.signal(ABORT_SIGNAL, a_command(CommandKind.ABORT))
    await _seen(script, "close")
    script.gates["promote"].set()


async def _pass_gate(script: Script, handle: Handle) -> None:
    await _seen(script, "hold_step:1open")
    await _tell(handle, CommandKind.PROMOTE)


async def _cancel(script: Script, handle: Handle) -> None:
    await _seen(script, "hold_step:0")
    await handle.cancel()


DELIVERY = "delivery"
STORIES: dict[str, tuple[ReleaseOrder, Callable[[], Script], Plot]] = {
    "promoted": (an_order(), lambda: Script(judgements=[passed()] * 3), _nothing),
    "rolled_back": (an_order(), lambda: Script(judgements=[passed(), failed()]), _nothing),
    "paused_and_resumed": (an_order(steps=2), Script, _pause_and_resume),
    "aborted_in_step": (an_order(), Script, _abort_step),
    "aborted_too_late": (
        an_order(steps=1),
        lambda: Script(
            judgements=[passed()], gates={"promote": asyncio.Event()}, answers={"close": [promoted_first()]}
        ),
        _abort_promotion,
    ),
    "gate": (an_order(steps=2, gate=1), lambda: Script(judgements=[passed()]), _pass_gate),
    "undecided": (an_order(steps=1), lambda: Script(judgements=[undecided(), failed()]), _nothing),
    "cancelled": (an_order(), Script, _cancel),
    "not_ready": (
        an_order(),
        lambda: Script(answers={"start_version": [crossing(NotFound("no such version"))]}),
        _nothing,
    ),
    "unknown": (an_order(), lambda: Script(answers={"preflight": [Answer(ledger=Ledger.UNKNOWN)]}), _nothing),
}


async def record(client: Client, name: str) -> str:
    """Play one story and return its history as JSON."""
    order, make, plot = STORIES[name]
    script = make()
    async with workers(client, control=script.control, judge=script.hold_step):
        handle = await start(client, order)
        await plot(script, handle)
        await end_of(handle)
        return _without_machine((await handle.fetch_history()).to_json_dict())


async def record_delivery(client: Client) -> str:
    """Play a delivery in which one notice is given up for now, and return its history as JSON."""
    script = [
        Delivery(Delivered.GIVEN_UP, "a"),
        Delivery(Delivered.SENT, "b"),
        Delivery(Delivered.NOTHING_LEFT),
    ]

    @activity.defn(name=Activity.DELIVER_NEXT)
    async def deliver_next(what: Round) -> Delivery:
        return script.pop(0) if script else Delivery(Delivered.NOTHING_LEFT)

    async with workers(client, control=[], io=deliver_next):
        handle = await client.start_workflow(
            DELIVER_WORKFLOW,
            Round("pager"),
            id="deliver.pager",
            task_queue=CONTROL_QUEUE,
            start_signal=WAKE_SIGNAL,
        )
        async with asyncio.timeout(SOON_S):
            await handle.result()
        return _without_machine((await handle.fetch_history()).to_json_dict())


def _without_machine(history: Any) -> str:
    """Return a history as one line of JSON, without what tells about the machine that it was recorded on."""
    return json.dumps(_cleaned(history), sort_keys=True, separators=(",", ":"))


def _cleaned(part: Any) -> Any:
    if isinstance(part, list):
        return [_cleaned(each) for each in part]
    if isinstance(part, dict):
        kept = {key: _cleaned(value) for key, value in part.items() if key != "stackTrace"}
        return {**kept, "identity": "recorder"} if "identity" in kept else kept
    return part


async def main(*, only_missing: bool) -> None:
    """Write every story's file."""
    async with skipping() as client:
        for name in (*STORIES, DELIVERY):
            path = FOLDER / f"{name}.1.json"
            if not (only_missing and path.exists()):
                text = await (record_delivery(client) if name == DELIVERY else record(client, name))
                path.write_text(text + "\n")


if __name__ == "__main__":
    asyncio.run(main(only_missing="--missing" in sys.argv))
