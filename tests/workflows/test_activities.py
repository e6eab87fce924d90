"""The real activities over a world in memory: what they do, repeat, and survive."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from controller.errors import DataPlaneRefused
from controller.model.lease import ClosureKind, GrantRequest
from controller.model.look import Arm, SourceState
from controller.model.machine import Happening
from controller.model.release import Change, JournalEvent, Outcome, State
from controller.model.share import BasisPoints
from controller.routing.memory import Mischief
from controller.workloads.port import Health
from tests.workflows.orders import FAIL, an_order
from tests.workflows.world import World, a_world
from workflows.messages import (
    Answer,
    CloseErrand,
    Ending,
    Errand,
    Ledger,
    Note,
    Retirement,
)

ORDER = an_order()
STARTED = Note("step_started", 1, 5.0, State.STEPPING, 0, BasisPoints(900))


async def ready(world: World, order: Any = ORDER) -> None:
    """Bring a release to the point where it may be judged."""
    await world.order(order)
    await world.keeper.declare(order.target)


async def run(activity_: Any, errand: Any, *, env: ActivityEnvironment | None = None) -> Any:
    """Run one activity as Temporal would."""
    return await (env or ActivityEnvironment()).run(activity_, errand)


class TestPreflight:
    """Nothing has been touched yet."""

    async def test_a_healthy_target_may_be_released_and_its_traffic_is_said(self) -> None:
        """The router learns a target that it forgot, and the answer tells what stable served."""
        async with a_world() as world:
            await world.order(ORDER)
            world.source.count(ORDER.target.key, "v1", total=120, failed=3)

            answer = await run(world.activities.preflight, Errand(ORDER))
            declared = await world.keeper.targets()

        assert answer.kind is Happening.WELL
        assert "3 of 120 failed" in answer.reason
        assert declared == (ORDER.target,)

    async def test_a_release_that_the_ledger_does_not_know_touches_nothing(self) -> None:
        """A discarded order leaves no trace in the router."""
        async with a_world() as world:
            answer = await run(world.activities.preflight, Errand(ORDER))
            declared = await world.keeper.targets()

        assert answer.ledger is Ledger.UNKNOWN
        assert declared == ()

    @pytest.mark.parametrize("ailment", ["stable", "source", "stale", "workloads"])
    async def test_an_ailing_stable_or_source_calls_the_release_off(self, ailment: str) -> None:
        """After the patience that a restart needs, the reason says what is unwell."""
        async with a_world() as world:
            await ready(world)
            if ailment == "stable":
                world.running.running["catalog.v1"] = Health(False, 0, "port closed")
            world.source.is_down = ailment == "source"
            world.source.state = SourceState.STALE if ailment == "stale" else SourceState.OK
            world.running.is_down = ailment == "workloads"

            answer = await run(world.activities.preflight, Errand(ORDER))

        words = {"stable": "port closed", "source": "down", "stale": "stale", "workloads": "down"}
        assert answer.kind is Happening.UNWELL
        assert words[ailment] in answer.reason

    async def test_a_stable_that_recovers_in_time_is_well(self) -> None:
        """A part that restarts does not call a release off."""
        async with a_world() as world:
            await ready(world)
            world.running.running["catalog.v1"] = Health(False, 0, "starting")
            begun = asyncio.create_task(run(world.activities.preflight, Errand(ORDER)))
            await asyncio.sleep(0)
            world.running.running["catalog.v1"] = Health(True, 1)

            answer = await begun

        assert answer.kind is Happening.WELL

    async def test_another_stable_than_the_order_says_calls_the_release_off(self) -> None:
        """A rollback would not return to what serves now."""
        async with a_world() as world:
            await ready(world)
            await world.keeper.promote(ORDER.target.key, "rel-0", "v2")

            answer = await run(world.activities.preflight, Errand(an_order(version="v3")))

        assert answer.kind is Happening.UNWELL
        assert "v2 as stable" in answer.reason

    @pytest.mark.parametrize("state", [State.CLOSING, State.DONE])
    async def test_an_outcome_in_the_ledger_stands(self, state: State) -> None:
        """A release that Temporal forgot is not run twice."""
        async with a_world() as world:
            await ready(world)
            event = JournalEvent("rel-1:rolled_back:1", "rel-1", "rolled_back", "why", 5.0)
            await world.store.record(event, Change(state=state, outcome=Outcome.ROLLED_BACK, reason="why"))

            answer = await run(world.activities.preflight, Errand(ORDER))

        assert (answer.outcome, answer.is_over, answer.reason) == (
            Outcome.ROLLED_BACK,
            state is State.DONE,
            "why",
        )


class TestStartVersion:
    """The canary runs and is in the route at share 0."""

    async def test_the_addresses_of_a_started_version_reach_ledger_and_router(self) -> None:
        """What was started somewhere is what gets the share later."""
        order = an_order(version="v3")
        async with a_world() as world:
            await ready(world, order)

            answer = await run(world.activities.start_version, Errand(order, (STARTED,)))
            (declared,) = await world.keeper.targets()
            kept = await world.store.get_target("local", "catalog")

        assert answer.kind is Happening.WELL
        assert declared.versions["v3"] == kept.versions["v3"] != ()

    async def test_a_version_that_does_not_get_ready_is_unwell_with_its_reason(self) -> None:
        """The limit of the plan holds, on the passed clock."""
        async with a_world() as world:
            await ready(world)
            world.running.running["catalog.v2"] = Health(False, 0, "it crashed at start")

            answer = await run(world.activities.start_version, Errand(ORDER))

        assert answer.kind is Happening.UNWELL
        assert answer.reason == "catalog v2 was not ready within 5 s: it crashed at start"

    async def test_workloads_that_do_not_answer_say_nothing_about_the_version(self) -> None:
        """The start is tried again instead of blaming the candidate."""
        async with a_world() as world:
            await ready(world)
            world.running.is_down = True

            with pytest.raises(ApplicationError) as error:
                await run(world.activities.start_version, Errand(ORDER))

        assert (error.value.type, error.value.non_retryable) == ("workloads_unavailable", False)

    async def test_a_refusing_proxy_is_final(self) -> None:
        """What the data plane rejects today it rejects tomorrow."""
        async with a_world() as world:
            await ready(world)
            world.plane.mischief = Mischief(refusal="bad cluster")

            with pytest.raises(ApplicationError) as error:
                await run(world.activities.start_version, Errand(ORDER))

        assert (error.value.type, error.value.non_retryable) == (DataPlaneRefused.code, True)

    async def test_a_discarded_release_starts_nothing(self) -> None:
        """The first line that the ledger does not take stops it."""
        async with a_world() as world:
            await world.store.put_target(ORDER.target)

            answer = await run(world.activities.start_version, Errand(ORDER, (STARTED,)))

        assert answer.ledger is Ledger.UNKNOWN
        assert world.running.running == {}


class TestPromoteAndClose:
    """The keeper decides which came first."""

    async def test_a_promotion_reaches_router_and_ledger(self) -> None:
        """Both say the same stable version afterwards, also when it is repeated."""
        async with a_world() as world:
            await ready(world)

            answers = [await run(world.activities.promote, Errand(ORDER)) for _ in range(2)]
            observed = await world.keeper.observe(ORDER.target.key)
            kept = await world.store.get_target("local", "catalog")

        assert [answer.kind for answer in answers] == [Happening.WELL, Happening.WELL]
        assert (observed.stable, kept.stable) == ("v2", "v2")

    async def test_a_release_that_was_closed_cannot_be_promoted(self) -> None:
        """The standing closure is the answer, with the verdict it stands on."""
        async with a_world() as world:
            await ready(world)
            await world.keeper.close(ORDER.target.key, "rel-1", ClosureKind.FAILED, "14 of 60 failed", FAIL)

            answer = await run(world.activities.promote, Errand(ORDER))
            observed = await world.keeper.observe(ORDER.target.key)

        assert (answer.kind, answer.closure, answer.verdict) == (Happening.CLOSED, ClosureKind.FAILED, FAIL)
        assert observed.stable == "v1"

    async def test_a_close_takes_the_share_back_whatever_the_ledger_does(self) -> None:
        """Without a ledger the share is gone just the same; the lines are owed."""
        async with a_world() as world:
            await ready(world)
            key = ORDER.target.key
            await world.keeper.grant(GrantRequest(key, "rel-1", "v2", BasisPoints(900), 5.0, 0))
            world.store.is_down = True

            answer = await run(
                world.activities.close, CloseErrand(ORDER, ClosureKind.ABORTED, "it smells", notes=(STARTED,))
            )

        assert (answer.closure, answer.ledger, answer.closed_at) == (
            ClosureKind.ABORTED,
            Ledger.OWED,
            world.clock.wall_s(),
        )
        assert world.plane.share_of(key) is None

    async def test_a_close_that_finds_a_promotion_lets_the_ledger_know(self) -> None:
        """A promotion whose activity died between router and ledger is completed by the closure."""
        async with a_world() as world:
            await ready(world)
            await world.keeper.promote(ORDER.target.key, "rel-1", "v2")

            answer = await run(world.activities.close, CloseErrand(ORDER, ClosureKind.ABORTED, "late"))
            kept = await world.store.get_target("local", "catalog")

        assert answer.closure is ClosureKind.PROMOTED
        assert kept.stable == "v2"


class TestConclude:
    """The outcome is written and told."""

    async def test_an_outcome_wakes_every_channel_after_it_is_written(self) -> None:
        """The notice lies in the outbox before anybody is woken."""
        async with a_world() as world:
            await ready(world)

            await run(world.activities.conclude, Ending(ORDER, Outcome.ROLLED_BACK, "why", FAIL))
            pending = await world.store.pending_notices("pager")

        assert [notice.id for notice in pending] == ["rel-1.rolled_back"]
        assert world.woken == ["pager"]
        name, labels = "serinus_worker_releases_ended_total", {"outcome": "rolled_back"}
        assert world.meters.registry.get_sample_value(name, labels) == 1.0

    async def test_a_delivery_that_cannot_be_woken_is_no_error(self) -> None:
        """The controller looks after the outbox as well."""
        async with a_world() as world:
            await ready(world)
            world.asleep.add("pager")

            answer = await run(world.activities.conclude, Ending(ORDER, Outcome.ABORTED, "why"))

        assert answer == Answer()

    async def test_a_ledger_that_is_away_is_waited_for(self) -> None:
        """An outcome is never dropped."""
        async with a_world() as world:
            await ready(world)
            world.store.is_down = True

            with pytest.raises(ApplicationError) as error:
                await run(world.activities.conclude, Ending(ORDER, Outcome.ABORTED, "why"))

        assert (error.value.type, error.value.non_retryable) == ("store_unavailable", False)


class TestRetire:
    """The loser leaves."""

    async def test_a_version_is_stopped_when_nothing_is_in_flight(self) -> None:
        """Two quiet counts in a row, then it stops."""
        async with a_world() as world:
            await ready(world)
            world.running.running["catalog.v2"] = Health(True, 0)

            answer = await run(world.activities.retire, Retirement(ORDER, "v2", is_replaced=False))

        assert (world.running.retired, answer.reason) == (["catalog.v2"], "")
        assert world.clock.now_s == 1_001.0

    async def test_requests_in_flight_hold_it_up_within_bounds(self) -> None:
        """A request that never ends does not keep a version for ever, and is mentioned."""
        async with a_world() as world:
            await ready(world)
            world.running.running["catalog.v2"] = Health(True, 0)
            world.source.put(ORDER.target.key, "v2", Arm(total=9, in_flight=2))

            answer = await run(world.activities.retire, Retirement(ORDER, "v2", is_replaced=False))

        assert world.running.retired == ["catalog.v2"]
        assert answer.reason == "2 requests were still in flight after 30 s"

    async def test_what_the_router_serves_as_stable_is_never_stopped(self) -> None:
        """Whatever the workflow believes, the version that users get stays."""
        async with a_world() as world:
            await ready(world)
            world.running.running["catalog.v1"] = Health(True, 0)

            answer = await run(world.activities.retire, Retirement(ORDER, "v1", is_replaced=True))

        assert world.running.retired == []
        assert "keeps running" in answer.reason

    @pytest.mark.parametrize("mischief", [Mischief(is_away=True), Mischief(is_silent=True)])
    async def test_a_replaced_version_stays_until_the_proxies_confirm_its_successor(
        self, mischief: Mischief
    ) -> None:
        """No version is scaled down on a desired share alone."""
        async with a_world() as world:
            await ready(world)
            world.running.running["catalog.v1"] = Health(True, 0)
            await world.keeper.promote(ORDER.target.key, "rel-1", "v2")
            world.plane.mischief = mischief

            answer = await run(world.activities.retire, Retirement(ORDER, "v1", is_replaced=True))

        assert world.running.retired == []
        assert "have not confirmed" in answer.reason

    async def test_a_worker_without_the_adapter_lets_the_release_end(self) -> None:
        """A version that cannot be stopped is mentioned; the target is not blocked by it."""
        order = replace(ORDER, target=replace(ORDER.target, workloads="elsewhere"))
        async with a_world() as world:
            await ready(world, order)

            answer = await run(world.activities.retire, Retirement(order, "v2", is_replaced=False))

        assert "could not be stopped" in answer.reason


async def test_the_end_gives_the_target_free() -> None:
    """After it another release of the target can be ordered."""
    async with a_world() as world:
        await ready(world)

        await run(world.activities.finish, Errand(ORDER))
        release = await world.store.get_release("rel-1")

    assert (release.state, release.is_active) == (State.DONE, False)
