"""What the ledger keeps of a release, and who is told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from controller.model.release import Outcome, State
from controller.model.share import EVERYTHING, BasisPoints
from controller.model.traffic import Match
from controller.model.verdict import Part
from controller.store.memory import MemoryStore
from tests.workflows.orders import FAIL, PASS, an_order
from tests.workflows.world import a_world
from workflows.journal import Scribe, clean, line, notice
from workflows.messages import Ending, Ledger, Note

ORDER = an_order()
STARTED = Note("step_started", 1, 5.0, State.STEPPING, 0, BasisPoints(900), correlation_id="cor-1")


class SlowStore(MemoryStore):
    """A ledger on a disk that hangs."""

    async def record(self, *args: object, **more: object) -> int:
        """Never return."""
        await asyncio.Event().wait()
        return 0


async def test_lines_change_the_release_and_repeat_without_trace() -> None:
    """A retry brings the same lines again; the journal and the release have them once."""
    async with a_world() as world:
        await world.order(ORDER)
        scribe = Scribe(store=world.store, channels=())
        waiting = replace(STARTED, kind="waiting", state=State.WAITING, share=None, reason="nobody came")

        answers = [await scribe.write(ORDER, (STARTED, waiting)) for _ in range(2)]
        release, events = await world.store.get_release("rel-1"), await world.store.events("rel-1")

    assert answers == [Ledger.WRITTEN, Ledger.WRITTEN]
    assert [event.kind for event in events] == ["ordered", "step_started", "waiting"]
    assert (release.state, release.share, release.step, release.reason) == (
        State.WAITING,
        900,
        0,
        "nobody came",
    )


async def test_a_release_that_the_ledger_does_not_know_is_said() -> None:
    """Lines, an outcome and an end of it are answered with UNKNOWN and leave nothing behind."""
    scribe = Scribe(store=MemoryStore(), channels=("pager",))

    assert await scribe.write(ORDER, (STARTED,)) is Ledger.UNKNOWN
    assert await scribe.conclude(Ending(ORDER, Outcome.ABORTED, "why"), at=9.0) is Ledger.UNKNOWN
    assert await scribe.finish(ORDER, at=9.0) is Ledger.UNKNOWN


async def test_a_ledger_that_is_away_or_hangs_owes_the_lines() -> None:
    """Nobody who judges waits for the ledger longer than told."""
    away = MemoryStore()
    away.is_down = True

    assert await Scribe(store=away, channels=()).write_within(ORDER, (STARTED,), seconds=5) is Ledger.OWED
    assert (
        await Scribe(store=SlowStore(), channels=()).write_within(ORDER, (STARTED,), seconds=0.01)
        is Ledger.OWED
    )


@pytest.mark.parametrize(
    ("outcome", "told"), [(outcome, outcome is not Outcome.PROMOTED) for outcome in Outcome]
)
async def test_every_outcome_but_a_promotion_is_told_once_a_channel(outcome: Outcome, told: bool) -> None:
    """One notice for each channel with a stable id, however often the conclusion is written."""
    async with a_world() as world:
        await world.order(ORDER)
        scribe = Scribe(store=world.store, channels=("pager", "chat"))
        ending = Ending(ORDER, outcome, "14 of 60 failed", FAIL, 2, facts={"closed_at": 5.0})

        for _ in range(2):
            await scribe.conclude(ending, at=5.0)
        notices = await world.store.notices("rel-1")
        release = await world.store.get_release("rel-1")

    expected = [("pager", f"rel-1.{outcome}"), ("chat", f"rel-1.{outcome}")] if told else []
    assert [(each.channel, each.id) for each, _ in notices] == expected
    assert (release.outcome, release.reason, release.facts) == (
        outcome,
        "14 of 60 failed",
        {"closed_at": 5.0},
    )
    assert release.share == (10_000 if outcome is Outcome.PROMOTED else 0)


async def test_a_promotion_explains_itself_with_numbers() -> None:
    """Without a reason of its own it says how many steps passed, and the last verdict in words."""
    async with a_world() as world:
        await world.order(ORDER)
        await Scribe(store=world.store, channels=()).conclude(
            Ending(ORDER, Outcome.PROMOTED, "", PASS, 3), at=5.0
        )
        release = await world.store.get_release("rel-1")

    assert release.reason.startswith(
        "catalog v2 is stable after 3 of 3 steps; catalog v2 failed 1 of 100 requests"
    )


def test_a_notice_names_target_version_stable_and_numbers() -> None:
    """Whoever is woken sees what failed, how badly, and what serves now."""
    told = notice(Ending(ORDER, Outcome.ROLLED_BACK, "why", FAIL), "pager", "why", 5.0)

    assert told.title == "catalog v2: rolled back"
    assert (told.details["stable"], told.details["canary_failed"], told.details["correlation_id"]) == (
        "v1",
        14,
        "cor-1",
    )


def test_a_line_has_metric_bound_instance_and_parts() -> None:
    """Flat and finite, so that any ledger and any alert can carry them."""
    parts = (Part("errors", 1.5, 0.03), Part("latency p99", 640.0, 0.97))
    verdict = replace(
        FAIL, odds=640.0, proof=0.1, metric="latency p99", slower_than_s=0.25, instance="a:1", parts=parts
    )

    details = line(ORDER, replace(STARTED, verdict=verdict)).details

    assert (details["odds"], details["metric"], details["slower_than_s"]) == (640.0, "latency p99", 0.25)
    assert (details["instance"], details["part of latency p99"], details["odds of errors"]) == (
        "a:1",
        0.97,
        1.5,
    )
    assert json.loads(json.dumps(dict(details), allow_nan=False)) == details


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d pair", "x" * 10_000])
def test_texts_that_no_ledger_keeps_are_made_keepable(text: str) -> None:
    """A person's reason may hold anything; the journal line still gets written."""
    kept = line(ORDER, replace(STARTED, kind="paused", reason=text, actor=text)).text

    assert "\0" not in kept
    assert kept.encode("utf-8")
    assert len(clean(text)) <= 500


def test_the_line_of_a_step_names_its_audience() -> None:
    """Who reads the journal sees that a share of 100 % was for few."""
    inside = Match(headers={"x-internal": "1"})
    few = replace(ORDER.plan.steps[0], share=EVERYTHING, matches=(inside,))
    order = replace(ORDER, plan=replace(ORDER.plan, steps=(few, *ORDER.plan.steps[1:])))

    lines = [line(order, replace(STARTED, step=step)) for step in (0, 1)]

    assert [one.details.get("audience") for one in lines] == ["requests with x-internal: 1", None]
    assert [one.text for one in lines] == [
        "step 1 of 3 began: 100 % (only requests with x-internal: 1) of catalog to v2",
        "step 2 of 3 began: 18 % of catalog to v2",
    ]


def test_every_kind_has_words_of_its_own() -> None:
    """A line is a sentence for people, never just the name of its kind."""
    known = (
        "preflight_passed",
        "version_ready",
        "step_started",
        "step_passed",
        "step_ended_by_command",
        "paused",
    )
    others = ("resumed", "waiting", "promoting", "closing", "drained")

    texts = [line(ORDER, replace(STARTED, kind=kind)).text for kind in (*known, *others)]

    assert all(" " in text and "_" not in text for text in texts)
