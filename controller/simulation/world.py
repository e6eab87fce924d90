"""A whole release without a second passing: the real state machine and the real engine in a made-up world.

Before it: a `Scene` and a seed. After it: `Run`, what came of it, and `controller.simulation.study`, which plays many.
The loop here keeps the rules of `controller.judging.loop` (one look before any exposure, FAIL before PASS before the
deadline) without its leases: nothing dies in this world, and a share is taken back at the look that fails it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from controller.analysis.beginning import begin_release
from controller.analysis.engine import begin_step, judge
from controller.judging.ending import is_earned, is_overdue
from controller.model.evidence import Evidence, StepOrder
from controller.model.lease import ClosureKind
from controller.model.look import Arm, History, Look, SourceState
from controller.model.machine import Event, Happening, Phase, Position, Task, advance, begin, command, todo
from controller.model.plan import Plan, Policy, Step
from controller.model.release import CommandKind, Outcome, ReleaseOrder
from controller.model.target import Target
from controller.model.verdict import Decision, Verdict, sentence
from controller.model.wealth import Tally
from controller.simulation.draws import binomial, poisson
from controller.simulation.scene import Scene

CANARY = "v2"
TARGET = Target(name="simulated", stable="v1", versions={"v1": ("127.0.0.1:1",), CANARY: ("127.0.0.1:2",)})


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one release.

    Args:
        outcome: How it ended; None when it waits for a person.
        verdict: The last one.
        reason: One sentence with numbers.
        step: Index of the step it ended in.
        took_s: From the first canary request to the end, seconds.
        stable: Served by stable.
        canary: Served by the canary: `failed` are the requests that users saw fail there.
        since_fault: The part of `canary` since the fault began.
        delay_s: From the begin of the fault to the FAIL that took the canary back, seconds; None without such a FAIL,
            below 0 when it came before the fault.
    """

    outcome: Outcome | None
    verdict: Verdict | None
    reason: str
    step: int
    took_s: float
    stable: Tally
    canary: Tally
    since_fault: Tally
    delay_s: float | None

    @property
    def is_failed(self) -> bool:
        """Whether a FAIL ended it, and not a deadline."""
        return self.verdict is not None and self.verdict.decision is Decision.FAIL


def _not_kept(order: StepOrder, look: Look) -> None:
    """Keep no record of a look."""


def run(
    scene: Scene,
    plan: Plan,
    policy: Policy,
    *,
    random: Random,
    record: Callable[[StepOrder, Look], None] = _not_kept,
) -> Run:
    """Play one release to its end; the same generator state gives the same run.

    Args:
        scene: The world.
        plan: A gate is passed by a person as soon as its `hold_s` is over.
        policy: A policy that waits for a person ends the run there: nobody comes.
        random: Where chance comes from.
        record: Told every look, as by the judge.
    """
    return _World(scene, plan, policy, random, record).to_the_end()


class _World:
    def __init__(
        self,
        scene: Scene,
        plan: Plan,
        policy: Policy,
        random: Random,
        record: Callable[[StepOrder, Look], None],
    ) -> None:
        self._scene = scene
        self._order = ReleaseOrder("sim-1", TARGET, CANARY, plan, policy, "simulation", "", 0.0)
        self._random = random
        self._record = record
        self._at = begin()
        self._evidence: Evidence | None = None
        self._now_s = 0.0
        self._stable = self._canary = self._since_fault = Tally()

    def to_the_end(self) -> Run:
        plan, policy = self._order.plan, self._order.policy
        while self._at.phase is not Phase.DONE and not self._at.is_waiting:
            task = todo(plan, self._at)
            event = self._hold(task) if self._at.phase is Phase.STEPPING else _done(task)
            if event is None:
                self._at = command(plan, self._at, CommandKind.PROMOTE)
            else:
                self._at = advance(plan, policy, self._at, event)
        return self._run(self._at)

    def _hold(self, task: Task) -> Event | None:
        """Hold a step as a judge does; None when a gate's time is over without a FAIL."""
        step, is_open = self._order.plan.steps[self._at.step], task is Task.HOLD_OPEN
        order = StepOrder(self._order, self._at.step, is_open=is_open, evidence=self._begin())
        evidence, is_held = order.evidence or Evidence(), False
        while True:
            look = self._look(evidence.looks + 1)
            self._record(order, look)
            evidence, verdict = judge(self._order.policy, evidence, look)
            self._evidence = evidence
            happening = _ending(step, verdict, evidence.step_s, is_held=is_held, is_open=is_open)
            if happening is not None:
                return Event(happening, verdict, reason=_reason(verdict))
            if is_open and evidence.step_s >= step.hold_s:
                return None
            is_held = True
            self._serve(step)

    def _begin(self) -> Evidence:
        if self._evidence is not None:
            return begin_step(self._evidence, self._order.plan.steps[self._at.step])
        scene = self._scene
        total = poisson(self._random, scene.per_s * scene.history_s)
        failed = binomial(self._random, total, scene.stable_rate)
        return begin_release(self._order.plan, self._order.policy, History(scene.history_s, total, failed))

    def _serve(self, step: Step) -> None:
        """Let traffic come until the next look; the rates are those of the middle of the time."""
        scene, random = self._scene, self._random
        total = poisson(random, scene.per_s * scene.look_every_s)
        canary = binomial(random, total, step.share / 10_000)
        bad_stable, bad_canary = scene.rates(self._now_s + scene.look_every_s / 2)
        met = Tally(canary, binomial(random, canary, bad_canary))
        self._stable += Tally(total - canary, binomial(random, total - canary, bad_stable))
        self._canary += met
        self._now_s += scene.look_every_s
        if self._now_s > scene.canary.after_s:
            self._since_fault += met

    def _look(self, number: int) -> Look:
        return Look(
            id=number,
            at_s=self._now_s,
            source=SourceState.OK,
            generation="1",
            stable=Arm(self._stable.total, self._stable.failed),
            canary=Arm(self._canary.total, self._canary.failed),
        )

    def _run(self, at: Position) -> Run:
        is_failed = at.verdict is not None and at.verdict.decision is Decision.FAIL
        return Run(
            outcome=at.outcome,
            verdict=at.verdict,
            reason=at.reason or (_reason(at.verdict) if at.verdict else ""),
            step=at.step,
            took_s=self._now_s,
            stable=self._stable,
            canary=self._canary,
            since_fault=self._since_fault,
            delay_s=self._now_s - self._scene.canary.after_s if is_failed else None,
        )


def _ending(step: Step, verdict: Verdict, step_s: float, *, is_held: bool, is_open: bool) -> Happening | None:
    if verdict.decision is Decision.FAIL:
        return Happening.STEP_FAILED
    if is_open:
        return None
    if is_held and is_earned(step, verdict, step_s):
        return Happening.STEP_PASSED
    return Happening.STEP_UNDECIDED if is_overdue(step, verdict, step_s) else None


def _done(task: Task) -> Event:
    """Answer what the world beside the judge does: it always succeeds."""
    if task is Task.CLOSE:
        return Event(Happening.CLOSED, closure=ClosureKind.FAILED)
    return Event(Happening.WELL)


def _reason(verdict: Verdict) -> str:
    return sentence(verdict, target=TARGET.name, canary=CANARY, stable=TARGET.stable)
