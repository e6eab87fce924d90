"""The judge's loop over the real keeper: it exposes only while it judges, closes by itself, and hands over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from controller.errors import ReleaseClosed
from controller.model.evidence import Evidence, StepOrder, StepReport
from controller.model.lease import ClosureKind, GrantRequest
from controller.model.look import SourceState
from controller.model.machine import Happening
from controller.model.plan import JudgeKind, Limits, Policy
from controller.model.share import EVERYTHING, BasisPoints
from controller.model.traffic import Asked, Match
from controller.model.verdict import Ground
from controller.routing.port import Shares
from tests.controller.judging.judging_world import PLAN, TARGET, World, fails_every, order


@pytest.fixture
async def world() -> AsyncIterator[World]:
    opened = await World().open()
    yield opened
    await opened.aclose()


async def run(
    world: World,
    step: StepOrder,
    *,
    seconds: float = 60,
    resume: Evidence | None = None,
    meanwhile: Callable[[], None] | None = None,
    at_s: float = 2.0,
) -> StepReport | None:
    """Run a judge for so many virtual seconds; its report, or None when it was cut off."""
    task = asyncio.create_task(
        world.judge().hold_step(step, resume=resume, checkpoint=world.checkpoints.append)
    )
    if meanwhile is not None:
        await world.clock.drive(until_s=at_s)
        meanwhile()
    await world.clock.drive(until_s=seconds, then=task.done)
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


async def test_a_good_canary_passes_and_keeps_its_share(world: World) -> None:
    """A PASS leaves the lease to the next step, without a gap."""
    report = await run(world, order())

    assert report is not None
    assert (report.kind, report.closure) == (Happening.STEP_PASSED, None)
    assert world.share() == 1000
    assert report.evidence.step_s >= 3


async def test_the_next_step_takes_over_with_the_next_epoch(world: World) -> None:
    """Each step is a new holder; the share moves in one go."""
    first = await run(world, order())
    assert first is not None

    second = await run(world, order(1, evidence=first.evidence))

    assert second is not None
    assert (second.kind, world.share()) == (Happening.STEP_PASSED, 5000)
    assert (await world.keeper.observe(TARGET.key)).epoch == 2


async def test_an_audience_comes_with_its_step_and_goes_with_it(world: World) -> None:
    """The lease carries the step's matches, the evidence knows of them, and the next step is for everybody."""
    inside = (Match(headers={"x-internal": "1"}),)
    plan = replace(PLAN, steps=(replace(PLAN.steps[0], share=EVERYTHING, matches=inside), *PLAN.steps[1:]))

    def at(step: StepOrder) -> StepOrder:
        return replace(step, release=replace(step.release, plan=plan))

    world.asked = Asked(headers={"x-internal": "1"})
    first = await run(world, at(order(is_open=True)), seconds=5)
    few = world.plane.share_of(TARGET.key)
    assert (first, few) == (None, Shares("v2", "rel-1", 10_000, inside))
    assert world.checkpoints[-1].has_audience
    assert world.plane.counters(TARGET).arms["v2"].total > 500

    second = await run(world, at(order(1, evidence=world.checkpoints[-1])))

    assert second is not None
    assert (second.kind, second.evidence.has_audience) == (Happening.STEP_PASSED, False)
    everybody = world.plane.share_of(TARGET.key)
    assert everybody is not None
    assert (everybody.share, everybody.matches) == (5_000, ())


async def test_a_target_that_lets_few_in_has_an_audience_in_every_step(world: World) -> None:
    """Its split is not measured against the share: three of a hundred requests are no mismatch."""
    step = order(is_open=True)
    narrowed = replace(step.release, target=replace(TARGET, matches=(Match(query={"beta": "*"}),)))

    await run(world, replace(step, release=narrowed), seconds=3)

    assert world.checkpoints[-1].has_audience


async def test_a_bad_canary_is_closed_before_anybody_is_told(world: World) -> None:
    """On FAIL the share is gone and the release is barred when the report arrives."""
    world.answers = fails_every(5)

    report = await run(world, order())

    assert report is not None
    assert (report.kind, report.closure, world.share()) == (Happening.STEP_FAILED, ClosureKind.FAILED, 0)
    assert report.verdict is not None
    assert report.verdict.ground is Ground.ERROR_RATE
    assert (
        f"catalog v2 failed {report.verdict.canary_failed} of {report.verdict.canary_total} requests"
        in report.reason
    )
    with pytest.raises(ReleaseClosed):
        await world.keeper.grant(GrantRequest(TARGET.key, "rel-1", "v2", BasisPoints(1), 5, 1))


async def test_the_first_canary_request_already_counts(world: World) -> None:
    """The mark is set before the share is granted, so that no early failure is lost."""
    world.answers = lambda version: version != "v2"

    report = await run(world, order())

    assert report is not None
    assert report.verdict is not None
    assert report.verdict.ground is Ground.RAIL_FAILING
    served = world.plane.counters(TARGET).arms["v2"]
    assert report.verdict.canary_failed == served.total


async def test_a_retried_judge_gets_the_closure_with_its_verdict(world: World) -> None:
    """Between a FAIL's close and its report everything may die: the next judge learns of it and opens nothing."""
    world.answers = fails_every(5)
    first = await run(world, order())
    assert first is not None
    world.answers = lambda version: True
    world.plane.restart()

    second = await run(world, order(), resume=world.checkpoints[-1])

    assert second is not None
    assert (second.kind, second.closure, second.verdict) == (
        Happening.CLOSED,
        ClosureKind.FAILED,
        first.verdict,
    )
    assert world.share() == 0


async def test_an_abort_ends_the_judge_at_once(world: World) -> None:
    """Somebody else's closure is noticed with the next renewal, not with the next deadline."""
    closing: list[asyncio.Task[object]] = []

    def abort() -> None:
        closing.append(
            asyncio.create_task(
                world.keeper.close(TARGET.key, "rel-1", ClosureKind.ABORTED, "changed my mind")
            )
        )

    report = await run(world, order(is_open=True), meanwhile=abort, seconds=3)

    assert report is not None
    assert (report.kind, report.closure, report.reason) == (
        Happening.CLOSED,
        ClosureKind.ABORTED,
        "changed my mind",
    )


async def test_a_killed_judge_loses_its_share_within_the_term(world: World) -> None:
    """Nobody renews: traffic is back on stable after the term of the lease."""
    assert await run(world, order(is_open=True), seconds=10) is None
    assert world.share() == 1000

    await world.clock.drive(until_s=5.5)

    assert world.share() == 0


async def test_a_hung_judge_loses_its_share_like_a_dead_one(world: World) -> None:
    """The worker still renews for others; a lease nobody vouches for is left out."""
    never = asyncio.Event()

    def hang() -> None:
        async def stuck(key: object) -> object:
            await never.wait()
            return None

        world.keeper.counters = stuck  # type: ignore[assignment,method-assign]  # a router that accepts and never answers

    await run(world, order(is_open=True), meanwhile=hang, seconds=12)

    assert world.share() == 0


async def test_a_lapsed_lease_is_taken_again_by_its_own_release(world: World) -> None:
    """Only a lapse may be re-acquired, and it is, with a new epoch."""
    task = asyncio.create_task(
        world.judge().hold_step(order(is_open=True), resume=None, checkpoint=world.checkpoints.append)
    )
    await world.clock.drive(until_s=2)
    before = world.share()

    await world.freeze_renewals(6)
    lapsed = world.share()
    await world.clock.drive(until_s=3, then=task.done)

    assert not task.done()
    assert (before, lapsed, world.share()) == (1000, 0, 1000)
    assert (await world.keeper.observe(TARGET.key)).epoch == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_a_proxy_lost_costs_no_lease(world: World) -> None:
    """The share is back with the next tick, under the same epoch: the judge need not take it again."""

    def lose() -> None:
        world.plane.mischief.has_lost_layer = True

    report = await run(world, order(is_open=True), meanwhile=lose, seconds=6)

    assert report is None
    assert (await world.keeper.observe(TARGET.key)).epoch == 1
    assert world.share() == 1000


async def test_an_older_judge_stops_when_another_took_over(world: World) -> None:
    """Two judges of one step: the one with the older epoch hands in INTERRUPTED and touches nothing."""
    older = asyncio.create_task(
        world.judge().hold_step(order(is_open=True), resume=None, checkpoint=world.checkpoints.append)
    )
    await world.clock.drive(until_s=3)

    newer = asyncio.create_task(
        world.judge().hold_step(order(is_open=True), resume=None, checkpoint=world.checkpoints.append)
    )
    await world.clock.drive(until_s=5, then=older.done)

    assert older.result().kind is Happening.INTERRUPTED
    assert world.share() == 1000
    newer.cancel()
    await asyncio.gather(newer, return_exceptions=True)


async def test_a_source_that_is_down_opens_nothing(world: World) -> None:
    """Without a mark to count from there is no share at all; the deadline says why."""
    world.plane.mischief.source = SourceState.DOWN

    report = await run(world, order(), seconds=40)

    assert report is not None
    assert report.kind is Happening.STEP_UNDECIDED
    assert report.verdict is not None
    assert report.verdict.ground is Ground.SOURCE_DOWN
    assert world.plane.counters(TARGET).arms["v2"].total == 0


async def test_a_source_that_goes_down_neither_promotes_nor_rolls_back(world: World) -> None:
    """Evidence that stops is a HOLD until the deadline."""

    def down() -> None:
        world.plane.mischief.source = SourceState.DOWN

    report = await run(world, order(), meanwhile=down, at_s=1.5, seconds=40)

    assert report is not None
    assert (report.kind, report.closure) == (Happening.STEP_UNDECIDED, None)


async def test_a_judge_that_gives_up_does_not_wait_for_the_deadline(world: World) -> None:
    """Past its limit of measurements without a source the step ends undecided at once, with its share untouched."""

    def down() -> None:
        world.plane.mischief.source = SourceState.DOWN

    limits = Limits(interval_s=5, consecutive_error_limit=1)
    policy = Policy("p", judge=JudgeKind.THRESHOLD, limits=limits, min_requests=50, warmup_s=0)

    report = await run(world, order(policy=policy), meanwhile=down, at_s=1.5, seconds=40)

    assert report is not None
    assert report.verdict is not None
    assert (report.kind, report.closure) == (Happening.STEP_UNDECIDED, None)
    assert (report.verdict.ground, report.verdict.is_exhausted) == (Ground.SOURCE_DOWN, True)
    assert report.evidence.step_s < 12


async def test_no_traffic_holds_until_the_deadline(world: World) -> None:
    """No request is no evidence."""
    world.rate = 0

    report = await run(world, order(), seconds=40)

    assert report is not None
    assert report.verdict is not None
    assert (report.kind, report.verdict.ground) == (Happening.STEP_UNDECIDED, Ground.NO_TRAFFIC)


async def test_a_desired_share_alone_never_passes(world: World) -> None:
    """While a proxy has not acknowledged, the step waits, however good the numbers are."""
    world.plane.mischief.is_silent = True

    report = await run(world, order(), seconds=20)

    assert report is None


async def test_an_open_step_is_ended_by_a_fail(world: World) -> None:
    """A pause keeps judging."""

    def break_it() -> None:
        world.answers = fails_every(3)

    report = await run(world, order(is_open=True), meanwhile=break_it, at_s=20, seconds=60)

    assert report is not None
    assert (report.kind, world.share()) == (Happening.STEP_FAILED, 0)


async def test_a_candidate_that_dies_is_rolled_back(world: World) -> None:
    """A dead candidate looks quiet to the counters; the workloads know better."""
    report = await run(world, order(is_open=True), meanwhile=lambda: world.workloads.crash(TARGET, "v2"))

    assert report is not None
    assert report.verdict is not None
    assert (report.kind, report.verdict.ground) == (Happening.STEP_FAILED, Ground.CANDIDATE_RESTARTED)


async def test_workloads_that_do_not_answer_are_no_reason(world: World) -> None:
    """Who does not know whether the candidate lives does not say that it died."""

    def down() -> None:
        world.workloads.is_down = True

    report = await run(world, order(), meanwhile=down, at_s=0.5)

    assert report is not None
    assert report.kind is Happening.STEP_PASSED


async def test_a_ledger_that_is_down_does_not_stop_the_judge(world: World) -> None:
    """Progress that cannot be kept is lost, and nothing else."""
    world.is_ledger_down = True
    world.answers = fails_every(5)

    report = await run(world, order())

    assert report is not None
    assert (report.kind, world.told) == (Happening.STEP_FAILED, [])


async def test_the_next_judge_counts_what_happened_while_nobody_judged(world: World) -> None:
    """The evidence of the last checkpoint goes on; the gap is one block."""
    policy = Policy("p", judge=JudgeKind.THRESHOLD, max_error_rate=0.05, min_requests=10_000, warmup_s=0)
    assert await run(world, order(is_open=True, policy=policy), seconds=5) is None
    counted = world.checkpoints[-1]

    await run(world, order(is_open=True, policy=policy), resume=counted, seconds=5)

    served = world.plane.counters(TARGET).arms["v2"].total
    last = world.checkpoints[-1]
    assert last.canary_seen.total <= served
    assert sum(block.canary.total for block in last.window) == last.canary_seen.total


async def test_a_continued_step_keeps_its_time_and_counts(world: World) -> None:
    """A pause and a resume begin nothing anew."""
    assert await run(world, order(is_open=True), seconds=4) is None
    evidence = world.checkpoints[-1]

    report = await run(world, order(evidence=evidence, is_continued=True), seconds=3)

    assert report is not None
    assert report.kind is Happening.STEP_PASSED
    assert report.evidence.step_s >= evidence.step_s


async def test_a_closed_release_with_a_latched_fail_stays_closed(world: World) -> None:
    """A judge that resumes with a FAIL in its memory closes again, idempotently."""
    world.answers = fails_every(5)
    first = await run(world, order())
    assert first is not None
    latched = replace(first.evidence)

    again = await run(world, order(), resume=latched)

    assert again is not None
    assert (again.kind, again.verdict) == (Happening.STEP_FAILED, first.verdict)
