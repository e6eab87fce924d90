"""The order in which a release does things, on the real workflow with scripted activities and a skipping clock."""

from __future__ import annotations

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from controller.errors import NotFound, RouterUnavailable
from controller.model.evidence import Evidence, StepReport
from controller.model.lease import ClosureKind
from controller.model.machine import Happening
from controller.model.release import Outcome
from tests.workflows.orders import an_order, failed, passed
from tests.workflows.stage import Script, end_of, start, workers
from workflows import attributes
from workflows.failures import crossing
from workflows.messages import Answer, Ledger, ReleaseEnd

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_release_that_passes_every_step_is_promoted(temporal: Client) -> None:
    """Preflight, start, each step, promotion, conclusion, drain and end follow each other, and the loser is stable."""
    script = Script(judgements=[passed(), passed(), passed()])

    async with workers(temporal, control=script.control, judge=script.hold_step):
        end = await end_of(await start(temporal, an_order()))

    assert end.outcome is Outcome.PROMOTED
    assert script.seen == [
        "preflight",
        "start_version",
        "hold_step:0",
        "hold_step:1",
        "hold_step:2",
        "promote",
        "conclude",
        "retire",
        "finish",
    ]
    assert script.retired == ["v1"]


async def test_a_failed_step_closes_before_anything_else(temporal: Client) -> None:
    """After a FAIL comes the closure with its verdict, then the conclusion with the judge's own times."""
    script = Script(judgements=[passed(), failed()])

    async with workers(temporal, control=script.control, judge=script.hold_step):
        end = await end_of(await start(temporal, an_order()))

    assert end.outcome is Outcome.ROLLED_BACK
    assert script.seen[3:] == ["hold_step:1", "close", "conclude", "retire", "finish"]
    assert script.endings[0].facts == {"verdict_at": 5_000.0, "closed_at": 5_000.25}
    assert script.retired == ["v2"]


async def test_evidence_travels_from_step_to_step(temporal: Client) -> None:
    """Each judge gets what the one before it knew, and is told that the step is a new one."""
    script = Script(judgements=[passed(), passed(), passed()])

    async with workers(temporal, control=script.control, judge=script.hold_step):
        await end_of(await start(temporal, an_order()))

    assert [errand.step.evidence for errand in script.orders] == [None, passed().evidence, passed().evidence]
    assert not any(errand.step.is_continued for errand in script.orders)


async def test_every_edge_that_people_care_about_is_journaled_once(temporal: Client) -> None:
    """The lines arrive in order, each numbered within its kind, with the correlation ID of the order."""
    script = Script(judgements=[passed(), failed()])

    async with workers(temporal, control=script.control, judge=script.hold_step):
        await end_of(await start(temporal, an_order(steps=2)))

    assert [(note.kind, note.n) for note in script.notes] == [
        ("preflight_passed", 1),
        ("version_ready", 1),
        ("step_started", 1),
        ("step_passed", 1),
        ("step_started", 2),
        ("closing", 1),
        ("drained", 1),
    ]
    assert {note.correlation_id for note in script.notes} == {"cor-1"}


async def test_lines_that_the_ledger_owes_are_brought_again(temporal: Client) -> None:
    """An activity that could not write leaves the lines to the next one."""
    script = Script(judgements=[passed()])
    script.answers["promote"] = [Answer(ledger=Ledger.OWED)]

    async with workers(temporal, control=script.control, judge=script.hold_step):
        await end_of(await start(temporal, an_order(steps=1)))

    assert script.lines == [
        "preflight_passed",
        "version_ready",
        "step_started",
        "step_passed",
        "promoting",
        "step_passed",
        "promoting",
        "drained",
    ]


async def test_a_release_unknown_to_the_ledger_ends_without_touching_anything(temporal: Client) -> None:
    """A start whose order was discarded is over after the preflight."""
    script = Script(answers={"preflight": [Answer(ledger=Ledger.UNKNOWN)]})

    async with workers(temporal, control=script.control, judge=script.hold_step):
        end = await end_of(await start(temporal, an_order()))

    assert end.outcome is None
    assert script.seen == ["preflight"]


async def test_a_release_that_the_ledger_forgets_on_the_way_is_taken_back(temporal: Client) -> None:
    """A discard that comes after the start is noticed with the first line, and the release closes."""
    script = Script(answers={"start_version": [Answer(ledger=Ledger.UNKNOWN)]})

    async with workers(temporal, control=script.control, judge=script.hold_step):
        end = await end_of(await start(temporal, an_order()))

    assert end.outcome is Outcome.ABORTED
    assert script.seen == ["preflight", "start_version", "close", "conclude", "retire", "finish"]


@pytest.mark.parametrize("is_over", [True, False])
async def test_a_release_that_has_its_outcome_already_only_tidies_up(temporal: Client, is_over: bool) -> None:
    """Started again after Temporal lost it, it drains and ends, or does nothing at all when that is done too."""
    script = Script(
        answers={"preflight": [Answer(outcome=Outcome.ROLLED_BACK, is_over=is_over, reason="old")]}
    )

    async with workers(temporal, control=script.control, judge=script.hold_step):
        end = await end_of(await start(temporal, an_order()))

    assert end == ReleaseEnd(Outcome.ROLLED_BACK, "old")
    assert script.seen == (["preflight"] if is_over else ["preflight", "retire", "finish"])


@pytest.mark.parametrize(
    ("activity", "outcome"),
    [
        ("preflight", Outcome.FAILED),
        ("start_version", Outcome.ROLLED_BACK),
        ("promote", Outcome.ROLLED_BACK),
    ],
)
async def test_what_can_never_succeed_ends_the_release_with_its_reason(
    temporal: Client, activity: str, outcome: Outcome
) -> None:
    """An error that no retry can help is an event of the release, not a failure of the workflow."""
    script = Script(judgements=[passed()], answers={activity: [crossing(NotFound("no such version"))]})

    async with workers(temporal, control=script.control, judge=script.hold_step):
        end = await end_of(await start(temporal, an_order(steps=1)))

    assert end == ReleaseEnd(outcome, "no such version")
    assert "close" in script.seen


@pytest.mark.parametrize(
    "activity", ["preflight", "start_version", "promote", "close", "conclude", "retire", "finish"]
)
async def test_what_is_only_unavailable_is_tried_until_it_is_there(temporal: Client, activity: str) -> None:
    """A part that comes back is used as if nothing had been wrong."""
    away = crossing(RouterUnavailable("the router does not answer"))
    good = Answer(Happening.CLOSED, closure=ClosureKind.FAILED) if activity == "close" else Answer()
    judgement = failed() if activity == "close" else passed()
    script = Script(judgements=[judgement], answers={activity: [away, away, good]})

    async with workers(temporal, control=script.control, judge=script.hold_step):
        end = await end_of(await start(temporal, an_order(steps=1)))

    assert end.outcome is (Outcome.ROLLED_BACK if activity == "close" else Outcome.PROMOTED)
    assert script.seen.count(activity) == 3


async def test_a_closure_found_by_the_judge_ends_the_release(temporal: Client) -> None:
    """When somebody barred the release, the judge says so, the closure is confirmed, and its kind is the outcome."""
    report = StepReport(
        Happening.CLOSED, Evidence(looks=3), reason="stopped by ada", closure=ClosureKind.ABORTED
    )
    script = Script(judgements=[report])

    async with workers(temporal, control=script.control, judge=script.hold_step):
        end = await end_of(await start(temporal, an_order()))

    assert end == ReleaseEnd(Outcome.ABORTED, "stopped by ada")
    assert script.seen.count("close") == 1


async def test_a_defect_of_ours_takes_the_share_back_before_the_workflow_fails(temporal: Client) -> None:
    """An answer that makes no sense to the workflow is followed by the closure, the alert, and a visible failure."""
    script = Script(
        judgements=[passed()],
        answers={"conclude": [ApplicationError("broken", non_retryable=True), Answer()]},
    )

    async with workers(temporal, control=script.control, judge=script.hold_step):
        with pytest.raises(WorkflowFailureError) as failure:
            await end_of(await start(temporal, an_order(steps=1)))

    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == "internal"
    assert script.seen[-3:] == ["conclude", "retire", "finish"]


async def test_a_second_defect_leaves_nothing_but_the_closure(temporal: Client) -> None:
    """When even the way back is broken, the release is barred and the workflow fails instead of turning in circles."""
    script = Script(
        judgements=[failed()], answers={"conclude": [ApplicationError("broken", non_retryable=True)]}
    )

    async with workers(temporal, control=script.control, judge=script.hold_step):
        with pytest.raises(WorkflowFailureError):
            await end_of(await start(temporal, an_order(steps=1)))

    assert script.seen[-4:] == ["close", "conclude", "conclude", "close"]


async def test_the_search_attributes_follow_the_steps(temporal: Client) -> None:
    """Whoever lists workflows sees the release, its step and how it stands."""
    script = Script(judgements=[passed(), passed()])

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=2))
        await end_of(handle)
        found = (await handle.describe()).typed_search_attributes

    assert (found[attributes.STATE], found[attributes.STEP], found[attributes.RELEASE]) == (
        "done",
        1,
        "rel-1",
    )


async def test_ten_steps_stay_below_120_history_events(temporal: Client) -> None:
    """A release of ten steps is small in Temporal, however long its steps take."""
    script = Script(judgements=[passed()] * 10)

    async with workers(temporal, control=script.control, judge=script.hold_step):
        handle = await start(temporal, an_order(steps=10))
        await end_of(handle)
        events = [event async for event in handle.fetch_history_events()]

    assert len(events) < 120
