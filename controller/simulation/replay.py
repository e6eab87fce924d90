"""Recorded looks under a policy: what it would have said at each of them, and when it would have ended the release.

Before it: `controller.judging.lines.read`. After it: `serinus replay`. The shares are those that were; a policy that
would have left a step earlier is still shown the rest of that step, so that nothing that was seen is thrown away. What
was frozen when the release began is taken from the heading: another policy begins with the same knowledge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from controller.analysis.beginning import begin, unjudged
from controller.analysis.engine import begin_step, judge
from controller.judging.ending import has_waited_long, is_earned, is_overdue
from controller.model.machine import Event, Happening, Phase, Position, advance
from controller.model.plan import JudgeKind, Policy
from controller.model.recording import Heading, Recorded, Recording
from controller.model.release import Outcome
from controller.model.verdict import Decision, Verdict, sentence


@dataclass(frozen=True, slots=True)
class Judged:
    """One look as the policy judges it.

    Args:
        look: Its number in the recording.
        step: Index of the step.
        at_s: Judged time since the first recorded look, seconds.
        step_s: Judged time in the step, seconds.
        verdict: What the policy says.
    """

    look: int
    step: int
    at_s: float
    step_s: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Replayed:
    """A recording under a policy.

    Args:
        judged: Every look up to the end.
        earned: The first look of each step that would have ended it as passed, in order.
        outcome: ROLLED_BACK, or PROMOTED when the last step of the plan is earned; None when the recording is over
            before the policy is done, or when it would wait for a person.
        is_waiting: It would wait for a person.
        reason: One sentence with numbers about the end.
        notes: What the policy asks for and the recording cannot answer, a sentence each.
    """

    judged: tuple[Judged, ...]
    earned: tuple[Judged, ...]
    outcome: Outcome | None
    is_waiting: bool
    reason: str
    notes: tuple[str, ...] = ()


def replay(recording: Recording, policy: Policy | None = None) -> Replayed:
    """Judge recorded looks again.

    Args:
        recording: What was seen.
        policy: None takes the one it was judged by.
    """
    heading = recording.heading
    return _Replay(recording, policy or heading.policy).to_the_end()


class _Replay:
    def __init__(self, recording: Recording, policy: Policy) -> None:
        heading = recording.heading
        self._recording = recording
        self._policy = policy
        first = heading.plan.steps[recording.looks[0].step]
        has_audience = heading.is_narrowed or bool(first.matches)
        self._evidence = begin(self._policy, heading.start, first.share, has_audience=has_audience)
        self._at = Position(Phase.STEPPING, step=recording.looks[0].step)
        self._judged: list[Judged] = []
        self._earned: dict[int, Judged] = {}

    def to_the_end(self) -> Replayed:
        for recorded in self._recording.looks:
            self._go_to(recorded.step)
            self._take(recorded)
            if self._at.phase is not Phase.STEPPING:
                break
        at = self._at
        is_earned = at.outcome is None and len(self._recording.heading.plan.steps) - 1 in self._earned
        is_through = is_earned or at.phase is Phase.PROMOTING
        return Replayed(
            judged=tuple(self._judged),
            earned=tuple(self._earned.values()),
            outcome=Outcome.PROMOTED if is_through else at.outcome,
            is_waiting=at.is_waiting and at.outcome is None and not is_through,
            reason=at.reason or self._sentence(self._judged[-1].verdict),
            notes=_notes(self._policy, self._recording.heading),
        )

    def _go_to(self, step: int) -> None:
        if step != self._at.step:
            heading = self._recording.heading
            step_is = heading.plan.steps[step]
            self._evidence = begin_step(self._evidence, step_is, is_narrowed=heading.is_narrowed)
            self._at = replace(self._at, step=step, is_waiting=False, reason="")

    def _take(self, recorded: Recorded) -> None:
        heading = self._recording.heading
        is_first = not self._judged or self._judged[-1].step != recorded.step
        self._evidence, verdict = judge(self._policy, self._evidence, recorded.look)
        evidence, step = self._evidence, heading.plan.steps[recorded.step]
        judged = Judged(recorded.look.id, recorded.step, evidence.judged_s, evidence.step_s, verdict)
        self._judged.append(judged)
        if verdict.decision is Decision.FAIL:
            self._happen(Happening.STEP_FAILED, verdict)
        elif self._at.is_waiting:
            if has_waited_long(step, self._policy, evidence.step_s):
                self._happen(Happening.STEP_UNDECIDED, verdict)
        elif recorded.is_open or recorded.step in self._earned:
            return
        elif not is_first and is_earned(step, verdict, evidence.step_s):
            self._earned[recorded.step] = judged
        elif is_overdue(step, verdict, evidence.step_s):
            self._happen(Happening.STEP_UNDECIDED, verdict)

    def _happen(self, kind: Happening, verdict: Verdict) -> None:
        """Let the real machine say what follows; whether a step is left early is not asked of it, since it was not."""
        event = Event(kind, verdict, reason=self._sentence(verdict))
        after = advance(self._recording.heading.plan, self._policy, self._at, event)
        self._at = replace(after, step=self._at.step)

    def _sentence(self, verdict: Verdict) -> str:
        heading = self._recording.heading
        return sentence(
            verdict,
            target=heading.target.partition(".")[2],
            canary=heading.version,
            stable=heading.stable,
        )


def _notes(policy: Policy, heading: Heading) -> tuple[str, ...]:
    """Say where a policy's latency ladder and the bounds at which the looks were counted do not fit together."""
    metric = policy.latency
    if metric is None or policy.judge is not JudgeKind.EVIDENCE:
        return ()
    recorded = [one.quantile for one in heading.start.rungs]
    left = [one.quantile for one in unjudged(policy, heading.start)]
    wanted = [one.quantile for one in metric.ladder]
    if not left and _ladder(policy) == _ladder(heading.policy):
        return ()
    if not recorded:
        return ("latency is left out: the looks were recorded without it",)
    judged = [one for one in recorded if one not in left]
    missing = [one for one in wanted if one not in judged]
    if not left and not missing:
        return ()
    how = f"judged at {_named(judged)} only" if judged else "left out"
    return (
        f"latency is {how}: the looks were counted at {_named(recorded)}, the policy has {_named(wanted)}",
    )


def _ladder(policy: Policy) -> tuple[float, ...]:
    metric = policy.latency
    return () if metric is None else tuple(one.quantile for one in metric.ladder)


def _named(quantiles: Iterable[float]) -> str:
    return ", ".join(f"p{100 * one:g}" for one in dict.fromkeys(quantiles))
