"""A whole release without a second passing: the real state machine and the real engine in a made-up world.

Before it: a `Scene` and a seed; `traffic` plays it. After it: `Run`, what came of it, and `controller.simulation.study`,
which plays many. The loop here keeps the rules of `controller.judging.loop` (one look before any exposure, FAIL before
PASS before the deadline, a person who does not come) without its leases: nothing dies in this world, and a share is
taken back at the look that fails it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import cast

from controller.analysis.beginning import begin_release
from controller.analysis.engine import begin_step, judge
from controller.judging.ending import ending
from controller.model.evidence import Evidence, StepOrder
from controller.model.lease import ClosureKind
from controller.model.look import Look
from controller.model.machine import Event, Happening, Phase, Position, Task, advance, begin, command, todo
from controller.model.plan import Plan, Policy
from controller.model.release import CommandKind, Outcome, ReleaseOrder
from controller.model.share import NOTHING
from controller.model.target import Target
from controller.model.verdict import Decision, Ground, Verdict, sentence
from controller.model.wealth import Tally
from controller.simulation import past
from controller.simulation.scene import Scene
from controller.simulation.traffic import Traffic

CANARY = "v2"
TARGET = Target(name="simulated", stable="v1", versions={"v1": ("127.0.0.1:1",), CANARY: ("127.0.0.1:2",)})


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one release.

    Args:
        outcome: How it ended.
        verdict: The last one.
        reason: One sentence with numbers.
        step: Index of the step it ended in.
        took_s: From the first canary request to the end, seconds.
        stable: Served by stable.
        canary: Served by the canary: `failed` are the requests that users saw fail there.
        since_fault: The part of `canary` since the fault began.
        delay_s: From the begin of the fault to the FAIL that took the canary back, seconds; None without such a FAIL,
            below 0 when it came before the fault.
        has_waited: The policy waited for a person, and nobody came.
        grounds: Of all its verdicts, each once, in the order in which they came.
    """

    outcome: Outcome
    verdict: Verdict | None
    reason: str
    step: int
    took_s: float
    stable: Tally
    canary: Tally
    since_fault: Tally
    delay_s: float | None
    has_waited: bool
    grounds: tuple[Ground, ...]

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
        policy: A policy that waits for a person waits in vain: nobody comes.
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
        self._traffic = Traffic(scene, random, stable=TARGET.stable, canary=CANARY)
        self._evidence: Evidence | None = None
        self._has_waited = False
        self._grounds: dict[Ground, None] = {}

    def to_the_end(self) -> Run:
        plan, policy = self._order.plan, self._order.policy
        while self._at.phase is not Phase.DONE:
            task = todo(plan, self._at)
            event = self._hold(task) if self._at.phase is Phase.STEPPING else _done(task)
            if event is None:
                self._at = command(plan, self._at, CommandKind.PROMOTE)
            else:
                self._at = advance(plan, policy, self._at, event)
            self._has_waited = self._has_waited or self._at.is_waiting
        return self._run(self._at)

    def _hold(self, task: Task) -> Event | None:
        """Hold a step as a judge does; None when a gate's time is over without a FAIL."""
        order = self._step_order(task)
        step, evidence, is_held = order.release.plan.steps[order.step], order.evidence or Evidence(), False
        while True:
            look = self._traffic.look(evidence.looks + 1)
            self._record(order, look)
            evidence, verdict = judge(order.release.policy, evidence, look)
            self._evidence = evidence
            self._grounds[verdict.ground] = None
            happening = ending(order, verdict, evidence.step_s, may_pass=is_held)
            if happening is not None:
                return Event(happening, verdict, reason=_reason(verdict))
            if order.is_open and not order.is_waiting and evidence.step_s >= step.hold_s:
                return None
            is_held = bool(evidence.generation)  # nothing is granted before there is a mark to count from
            audience = self._scene.audience if step.matches else 1.0
            self._traffic.go_on(step.share if is_held else NOTHING, audience=audience)

    def _step_order(self, task: Task) -> StepOrder:
        at = self._at
        order = StepOrder(self._order, at.step, is_open=task is Task.HOLD_OPEN, is_waiting=at.is_waiting)
        if self._evidence is None:
            return replace(order, evidence=self._first())
        if at.is_waiting:
            return replace(order, evidence=self._evidence, is_continued=True)
        return replace(order, evidence=begin_step(self._evidence, self._order.plan.steps[at.step]))

    def _first(self) -> Evidence:
        known = past.history(self._scene, self._traffic.stable, self._random)
        evidence = begin_release(self._order.plan, self._order.policy, known)
        self._traffic.rungs = evidence.start.rungs
        return evidence

    def _run(self, at: Position) -> Run:
        is_failed = at.verdict is not None and at.verdict.decision is Decision.FAIL
        traffic = self._traffic
        return Run(
            outcome=cast(Outcome, at.outcome),  # a machine that is done has one
            verdict=at.verdict,
            reason=at.reason or (_reason(at.verdict) if at.verdict else ""),
            step=at.step,
            took_s=traffic.now_s,
            stable=traffic.met_stable,
            canary=traffic.met_canary,
            since_fault=traffic.since_fault,
            delay_s=traffic.now_s - self._scene.fault_at_s if is_failed else None,
            has_waited=self._has_waited,
            grounds=tuple(self._grounds),
        )


def _done(task: Task) -> Event:
    """Answer what the world beside the judge does: it always succeeds."""
    if task is Task.CLOSE:
        return Event(Happening.CLOSED, closure=ClosureKind.FAILED)
    return Event(Happening.WELL)


def _reason(verdict: Verdict) -> str:
    return sentence(verdict, target=TARGET.name, canary=CANARY, stable=TARGET.stable)
