"""Before a start: what the plan can see is said, and what can see nothing or is too often wrong is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from controller.errors import InvalidInput
from controller.model.look import History
from controller.model.plan import JudgeKind, Limits, MannWhitney, Plan, Policy, Rail, Step, Tolerance
from controller.model.share import EVERYTHING, BasisPoints
from controller.model.traffic import Match
from controller.plans import ready
from controller.releases.foreseeing import seen_by_step
from controller.releases.request import StartRequest
from tests.controller.releases.world import CATALOG, a_world, caller

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
        assert caught.value.message.endswith("more traffic (from 0.019 requests/s on it sees one)")
        assert await world.store.list_releases() == ()
        assert world.runner.orders == []


@pytest.mark.parametrize(
    ("per_s", "short"),
    [
        (
            100,
            "0.1 % gets about 7.2e+02 of the 4e+03 canary requests it needs, that at 1 % gets about 1.8e+03 of",
        ),
        (1_000, None),
        (10_000, None),
    ],
)
async def test_a_deadline_before_enough_was_seen_is_said(per_s: int, short: str | None) -> None:
    """`probe` is for a thousand requests a second: with a tenth its first two steps end by the policy, not the judge."""
    async with a_world() as world:
        world.keeper.known = History(3_600, 3_600 * per_s, 18 * per_s)

        release = await world.use_cases.ordering.start(
            StartRequest(target="catalog", version="v2", plan=ready.plan("probe")), caller()
        )

        event = (await world.store.events(release.order.id))[1]
        assert event.details["steps_short"] == (2 if short else 0)
        assert ("; before its deadline the step at " in event.text) is bool(short)
        assert short is None or short in event.text


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


ARGO = Policy("argo", judge=JudgeKind.THRESHOLD, max_error_rate=0.01, limits=Limits(60, 3))
WINDOW = Policy("window", judge=JudgeKind.THRESHOLD, max_error_rate=0.02, min_requests=50)
RANKS = Policy("ranks", judge=JudgeKind.MANN_WHITNEY, mann_whitney=MannWhitney(confidence=0.8, tolerance=0))
RAIL = Policy("rail", rail=Rail(min_requests=5, max_failed=0.05))
SLOW = History(window_s=3600, total=36_000, failed=180)


def request(policy: Policy, plan: Plan | None = None) -> StartRequest:
    return StartRequest(target="catalog", version="v2", policy=policy, plan=plan)


@pytest.mark.parametrize(
    ("policy", "change"),
    [
        (
            replace(ARGO, limits=Limits(60, 1), min_requests=5),
            "raise max_error_percent or limits.failure_limit",
        ),
        (WINDOW, "raise max_error_percent or min_requests"),
        (RANKS, "raise mann_whitney.confidence or mann_whitney.tolerance"),
        (RAIL, "raise rail.min_requests or rail.max_failed_percent"),
    ],
)
async def test_a_policy_that_breaks_its_own_bound_is_refused(policy: Policy, change: str) -> None:
    """With how often it would be wrong about identical versions, and what to change; nothing is written."""
    async with a_world() as world:
        world.keeper.known = SLOW

        with pytest.raises(InvalidInput) as caught:
            await world.use_cases.ordering.start(request(policy), caller())

        assert caught.value.field == "policy"
        assert re.match(
            r"identical versions would be rolled back in ([\d.]+ %|all) of releases at 10 requests/s of which 0.5 % fail; ",
            caught.value.message,
        )
        assert change in caught.value.message
        assert await world.store.list_releases() == ()


INSIDE = (Match(headers={"x-internal": "1"}),)
LOOSE = Tolerance(alpha=0.5)


@pytest.mark.parametrize("policy", [Policy("p"), ARGO, WINDOW, RANKS], ids=lambda policy: str(policy.name))
async def test_an_audience_is_an_unknown_part_of_the_traffic(policy: Policy) -> None:
    """The start says so instead of a number, refuses nothing for it, and tells the other steps as ever."""
    few = Step(EVERYTHING, hold_s=400, deadline_s=900, matches=INSIDE)
    plan = Plan("few", (few, Step(BasisPoints(5_000), hold_s=400, deadline_s=900)))
    async with a_world() as world:
        world.keeper.known = BUSY

        release = await world.use_cases.ordering.start(
            request(replace(policy, tolerance=LOOSE), plan), caller()
        )

        text = (await world.store.events(release.order.id))[1].text
        assert (
            "sees a failing canary at 100 % (only requests with x-internal: 1) in an unknown part of the traffic, "
            "at 50 % from "
        ) in text
        seen = seen_by_step(release.facts, 2)
        assert seen[0] is None
        assert seen[1] is not None


async def test_a_target_with_matches_is_not_called_blind() -> None:
    """Nobody knows how many of its requests fit, at any traffic."""
    async with a_world() as world:
        await world.use_cases.declaring.put(replace(CATALOG, matches=INSIDE))
        world.keeper.known = QUIET

        release = await world.start()

        assert release.facts == {}
        text = (await world.store.events(release.order.id))[1].text
        assert text.count("in an unknown part of the traffic") == 3


async def test_a_risk_that_is_accepted_is_said() -> None:
    """With `tolerance.alpha` above it the release starts, and the journal has the number."""
    accepted = replace(ARGO, min_requests=5, tolerance=Tolerance(alpha=0.5))
    async with a_world() as world:
        world.keeper.known = SLOW

        release = await world.use_cases.ordering.start(request(accepted), caller())

        event = (await world.store.events(release.order.id))[1]
        assert "; identical versions would be rolled back in " in event.text
        risk = event.details["rolls_back_identical"]
        assert isinstance(risk, float)
        assert 0.001 < risk < 0.5


async def test_a_risk_below_one_in_a_thousand_is_not_worth_a_word() -> None:
    """It stands in the details only."""
    async with a_world() as world:
        world.keeper.known = BUSY

        release = await world.start()

        event = (await world.store.events(release.order.id))[1]
        assert "identical" not in event.text
        assert event.details["rolls_back_identical"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        (
            replace(ARGO, limits=Limits(300)),
            "its deadline comes after 60 s and what its judge needs is measured after 305 s",
        ),
        (
            replace(RANKS, mann_whitney=MannWhitney(12)),
            "its deadline comes after 60 s and what its judge needs is measured after 65 s",
        ),
    ],
)
async def test_a_step_that_could_never_pass_is_refused_at_any_traffic(policy: Policy, numbers: str) -> None:
    """A deadline before the first measurement is a mistake, whether the traffic is known or not."""
    async with a_world() as world:
        with pytest.raises(InvalidInput, match="step 1 could never pass") as caught:
            await world.use_cases.ordering.start(request(policy, ready.plan("demo")), caller())

        assert numbers in caught.value.message
        assert await world.store.list_releases() == ()


async def test_a_gate_may_wait_for_its_measurements() -> None:
    """It has no deadline."""
    gates = replace(
        ready.plan("demo"), steps=tuple(replace(one, gate=True) for one in ready.plan("demo").steps)
    )
    async with a_world() as world:
        release = await world.use_cases.ordering.start(
            request(replace(ARGO, limits=Limits(300)), gates), caller()
        )

        assert release.order.policy.name == "argo"


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
