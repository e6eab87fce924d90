"""Before a start: what the plan can see is said, and a plan that can see nothing is refused; unknown traffic refuses nothing."""

from __future__ import annotations

import pytest

from controller.errors import InvalidInput
from controller.model.look import History
from controller.releases.foreseeing import seen_by_step
from tests.controller.releases.world import a_world

BUSY = History(window_s=3600, total=720_000, failed=720)
QUIET = History(window_s=3600, total=9, failed=0)


async def test_the_answer_and_the_journal_say_what_can_be_seen() -> None:
    """A number for each step, in the facts of the answer and in one sentence of the journal."""
    async with a_world() as world:
        world.keeper.known = BUSY

        release = await world.start()

        seen = seen_by_step(release.facts, 3)
        assert len(seen) == 3
        assert all(rate is not None and 0.001 < rate < 0.02 for rate in seen)
        events = await world.store.events(release.order.id)
        assert [event.kind for event in events] == ["ordered", "foreseen"]
        assert events[1].text.startswith(
            "at 200 requests/s of which 0.1 % fail, this plan sees a failing canary at 5 % from "
        )
        assert events[1].details["requests_per_s"] == 200


async def test_a_plan_that_can_see_nothing_is_refused_with_its_numbers() -> None:
    """Nothing is written and nothing runs; the next step for the reader is in the message."""
    async with a_world() as world:
        world.keeper.known = QUIET

        with pytest.raises(InvalidInput) as caught:
            await world.start()

        assert caught.value.field == "plan"
        assert "at 0.0025 requests/s" in caught.value.message
        assert await world.store.list_releases() == ()
        assert world.runner.orders == []


@pytest.mark.parametrize(
    "known",
    [
        None,
        History(window_s=0, total=0, failed=0),
        History(window_s=29.9, total=1, failed=0),
        History(window_s=3600, total=0, failed=0),
    ],
)
async def test_traffic_that_is_not_known_refuses_nothing(known: History | None) -> None:
    """A new target, a history of seconds, or no request at all: the release starts, and nothing is claimed."""
    async with a_world() as world:
        world.keeper.known = known

        release = await world.start()

        assert release.facts == {}
        assert [event.kind for event in await world.store.events(release.order.id)] == ["ordered"]


async def test_a_silent_router_refuses_nothing() -> None:
    """Without the router nothing can be said; whether the release can run is the preflight's question."""
    async with a_world() as world:
        world.keeper.is_down = True

        release = await world.start()

        assert seen_by_step(release.facts, 3) == ()


async def test_a_repeat_is_not_judged_again() -> None:
    """The same key finds its release, also when the traffic would refuse it by now."""
    async with a_world() as world:
        world.keeper.known = BUSY
        first = await world.start(key="k1")
        world.keeper.known = QUIET

        again = await world.start(key="k1")

        assert again == first


def test_a_step_without_a_number_sees_nothing() -> None:
    """Where something was foreseen, a missing step is one that sees nothing."""
    assert seen_by_step({"sees_step_2": 0.5, "verdict_at": 1.0}, 3) == (None, 0.5, None)
    assert seen_by_step({"verdict_at": 1.0}, 3) == ()
