"""The judge's loop: acquire, look, judge, renew, close. Rollback happens here and waits for nobody.

Before it: `workflows.activities.hold_step` (or the simulator) hands in a step. After it: the report goes back into the
state machine. The judge owns the valve: on FAIL it closes the release in the router itself and only then reports. It
never closes on anything but FAIL; whoever interrupts it finds the lease alive for a few seconds and takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import cast

from controller.analysis.beginning import begin_release
from controller.analysis.engine import begin_step, judge
from controller.errors import EpochConflict, LeaseHeld, ReleaseClosed, RouterUnavailable, StoreUnavailable
from controller.judging.alarms import WAITING, Watch
from controller.judging.clock import Clock
from controller.judging.ending import ending
from controller.judging.looking import Eye
from controller.judging.renewals import Holding, Renewals
from controller.model.evidence import Evidence, StepOrder, StepReport
from controller.model.lease import Closure, ClosureKind, GrantRequest, Standing
from controller.model.look import Look
from controller.model.machine import Happening
from controller.model.plan import Step
from controller.model.release import Progress, ReleaseOrder
from controller.model.verdict import Decision, Verdict, sentence
from controller.observability import logger
from controller.routing.port import LeaseKeeper

log = logger(__name__)

RETRY_S = 0.2
"""Pause before asking a keeper again that did not answer or whose lease is still held."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often and how long.

    Args:
        look_every_s: Time between two looks, seconds.
        lease_term_s: How long a share outlives its last renewal, seconds.
    """

    look_every_s: float = 1.0
    lease_term_s: float = 5.0


def _not_kept(order: StepOrder, look: Look) -> None:
    """Keep no record of a look."""


async def _not_told(order: StepOrder, trouble: str, verdict: Verdict, reason: str) -> None:
    """Tell nobody of a trouble."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a judge works with.

    Args:
        keeper: Who keeps the leases.
        eye: Composes looks.
        renewals: Renews leases in one batch for the worker.
        clock: The judge's clock.
        report: Told the newest verdict after each look; its failures do not matter.
        rhythm: How often and how long.
        record: Told each look before it is judged, with an order whose evidence is what the judge began with. Must
            neither wait nor raise.
        alarm: Told a trouble that has become news: order, its stable name, verdict, and one sentence. Must not raise.
    """

    keeper: LeaseKeeper
    eye: Eye
    renewals: Renewals
    clock: Clock
    report: Callable[[Progress], Awaitable[None]]
    rhythm: Rhythm
    record: Callable[[StepOrder, Look], None] = _not_kept
    alarm: Callable[[StepOrder, str, Verdict, str], Awaitable[None]] = _not_told


class Judge:
    """Judges steps; one instance serves all releases of a worker."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def hold_step(
        self, order: StepOrder, *, resume: Evidence | None, checkpoint: Callable[[Evidence], None]
    ) -> StepReport:
        """Hold one step until PASS, FAIL, its deadline, or somebody else's closure.

        Args:
            order: What to hold.
            resume: The last checkpoint of an earlier attempt at the same order, None at the first.
            checkpoint: Called with the evidence after each look.

        Raises:
            asyncio.CancelledError: It was cancelled; the lease is left to the next judge, or runs out.
        """
        evidence = await self._evidence(order, resume)
        run = _Run(self._tools, replace(order, evidence=evidence), evidence, checkpoint)
        try:
            return await run.until_decided()
        except ReleaseClosed as closed:
            return run.closed(cast(Closure, closed.closure))
        finally:
            run.let_go()

    async def _evidence(self, order: StepOrder, resume: Evidence | None) -> Evidence:
        """Return what the first look is judged with: a checkpoint, the evidence of the steps before, or the history."""
        if resume is not None:
            return resume
        if order.evidence is None:
            return await self._first(order.release)
        if order.is_continued:
            return order.evidence
        release = order.release
        return begin_step(
            order.evidence, release.plan.steps[order.step], is_narrowed=bool(release.target.matches)
        )

    async def _first(self, release: ReleaseOrder) -> Evidence:
        eye = self._tools.eye
        return begin_release(
            release.plan,
            release.policy,
            await eye.history(release),
            largest_group=eye.largest_group,
            is_narrowed=bool(release.target.matches),
        )


class _Run:
    """One step in one judge's hands."""

    def __init__(
        self, tools: Tools, order: StepOrder, evidence: Evidence, checkpoint: Callable[[Evidence], None]
    ) -> None:
        self._tools = tools
        self._order = order
        self._checkpoint = checkpoint
        self._holding: Holding | None = None
        self._is_applied = False
        self._watch = Watch()
        self._has_looked = False
        self.evidence = evidence

    @property
    def _step(self) -> Step:
        return self._order.release.plan.steps[self._order.step]

    async def until_decided(self) -> StepReport:
        verdict = await self._look()  # sets the mark to count from, before the first canary request
        while True:
            if verdict.decision is Decision.FAIL:
                return await self._fail(verdict)
            await self._tell(verdict)
            ended = await self._ended(verdict)
            if ended is not None:
                return self._answer(ended, verdict)
            if self.evidence.generation and not await self._hold_lease():
                return self._answer(Happening.INTERRUPTED, None)
            await self._wait()
            verdict = await self._look()

    async def _tell(self, verdict: Verdict) -> None:
        """Vouch for the lease, keep the evidence, show the verdict. No ledger must not mean no judge."""
        if self._holding is not None:
            self._tools.renewals.vouch(self._holding)
        self._checkpoint(self.evidence)
        now = self._tools.clock.wall_s()
        try:
            await self._tools.report(
                Progress(self._order.release.id, self._order.step, self._step.share, verdict, now)
            )
        except StoreUnavailable as error:
            log.warning("progress_not_kept", release=self._order.release.id, reason=error.message)
        for trouble in self._news(verdict):
            await self._tools.alarm(self._order, trouble, verdict, self._sentence(verdict))

    def _news(self, verdict: Verdict) -> list[str]:
        """Return the troubles that have become news with this look."""
        found = self._watch.after(verdict)
        is_first, self._has_looked = not self._has_looked, True
        waits = [WAITING] if self._order.is_waiting and is_first else []
        return [*waits, found] if found else waits

    async def _look(self) -> Verdict:
        release = self._order.release
        look = await self._tools.eye.look(
            release, number=self.evidence.looks + 1, rungs=self.evidence.start.rungs
        )
        self._tools.record(self._order, look)
        self.evidence, verdict = judge(release.policy, self.evidence, look)
        return verdict

    async def _ended(self, verdict: Verdict) -> Happening | None:
        """Return how the step ends at this look, None when it goes on."""
        step_s, is_held = self.evidence.step_s, self._holding is not None
        found = ending(self._order, verdict, step_s, may_pass=is_held)
        if found is Happening.STEP_PASSED and not await self._applied():
            return ending(self._order, verdict, step_s, may_pass=False)
        return found

    async def _applied(self) -> bool:
        """Whether every connected proxy has taken the share: a desired share alone never lets a step pass."""
        if not self._is_applied:
            try:
                observed = await self._tools.keeper.observe(self._order.release.target.key)
            except RouterUnavailable:
                return False
            self._is_applied = observed.is_applied
        return self._is_applied

    async def _wait(self) -> None:
        """Wait for the next look, or for news about the lease."""
        nap = asyncio.ensure_future(self._tools.clock.sleep(self._tools.rhythm.look_every_s))
        waits = {nap}
        if self._holding is not None:
            waits.add(asyncio.ensure_future(_news(self._holding)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _hold_lease(self) -> bool:
        """See to it that this run holds the lease; False when another judge of the release does."""
        holding = self._holding
        if holding is not None and holding.standing is Standing.RENEWED:
            return True
        if holding is not None and holding.standing is Standing.SUPERSEDED:
            return False
        if holding is not None and holding.closure is not None:
            raise ReleaseClosed("the release was closed", closure=holding.closure)
        await self._acquire()
        return True

    async def _acquire(self) -> None:
        """Take the lease with the next epoch; a keeper that does not answer is asked again at the next look."""
        tools, release = self._tools, self._order.release
        self._holding = None
        self._is_applied = False
        try:
            observed = await tools.keeper.observe(release.target.key)
            lease = await tools.keeper.grant(
                GrantRequest(
                    target=release.target.key,
                    release=release.id,
                    version=release.version,
                    share=self._step.share,
                    term_s=tools.rhythm.lease_term_s,
                    after_epoch=observed.epoch,
                    matches=self._step.matches,
                )
            )
        except (RouterUnavailable, EpochConflict, LeaseHeld) as error:
            log.warning("lease_not_granted", release=release.id, reason=error.message)
            return
        self._holding = tools.renewals.hold(lease)
        log.info(
            "lease_granted", release=release.id, epoch=lease.epoch, share=lease.share, step=self._order.step
        )

    async def _fail(self, verdict: Verdict) -> StepReport:
        """Close first, then say so. Until the router answers nothing is renewed, so the share lapses meanwhile."""
        verdict_at = self._tools.clock.wall_s()
        self.let_go()
        release = self._order.release
        reason = self._sentence(verdict)
        while True:
            try:
                closure = await self._tools.keeper.close(
                    release.target.key, release.id, ClosureKind.FAILED, reason, verdict
                )
                break
            except RouterUnavailable as error:
                log.error("close_not_confirmed", release=release.id, reason=error.message)
                await self._tools.clock.sleep(RETRY_S)
        if closure.kind is not ClosureKind.FAILED or closure.verdict != verdict:
            return self.closed(closure)  # somebody was faster; the first closure stands
        closed_at = self._tools.clock.wall_s()
        log.info("close_confirmed", release=release.id, ground=verdict.ground, close_s=closed_at - verdict_at)
        report = self._answer(Happening.STEP_FAILED, verdict)
        return replace(report, verdict_at=verdict_at, closed_at=closed_at, closure=closure.kind)

    def closed(self, closure: Closure) -> StepReport:
        """Report a closure that was there before this judge could say anything."""
        return replace(
            self._answer(Happening.CLOSED, closure.verdict),
            reason=closure.reason,
            closure=closure.kind,
            verdict_at=closure.at,
            closed_at=closure.at,
        )

    def let_go(self) -> None:
        """Stop renewing; the lease itself is left alone."""
        if self._holding is not None:
            self._tools.renewals.drop(self._holding)

    def _answer(self, kind: Happening, verdict: Verdict | None) -> StepReport:
        reason = self._sentence(verdict) if verdict is not None else ""
        return StepReport(kind=kind, evidence=self.evidence, verdict=verdict, reason=reason)

    def _sentence(self, verdict: Verdict) -> str:
        release = self._order.release
        return sentence(
            verdict, target=release.target.name, canary=release.version, stable=release.target.stable
        )


async def _news(holding: Holding) -> None:
    await holding.news.wait()
