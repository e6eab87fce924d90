"""Whether a canary is bad, or only one of its instances: the same odds with each instance left out in turn.

Part of the evidence judge (`odds`). A single bad node is no reason to take a version back, so that odds which reach the
bar fail the canary only if they stay high without any one instance. Else the verdict is "one bad instance". The rule can
only lower the probability of a false rollback, because it asks for more. The margin of luck (`luck`) is that of a group
with one instance less.

Tested by tests/controller/analysis/test_instances.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.analysis import wealth
from controller.analysis.counting import Counted
from controller.analysis.luck import ratio
from controller.analysis.streams import whole
from controller.analysis.wealth import Bet
from controller.model.evidence import Evidence, Without
from controller.model.look import Look, SourceState
from controller.model.metric import MetricKind
from controller.model.plan import Policy
from controller.model.start import Start
from controller.model.wealth import Margin, Predictor, Tally, Wealth

MOST = 32
"""Instances that are left out in turn; more are judged with the rest."""
HIGH_ENOUGH = 20.0
"""Odds (to 1) that the rest has to reach on its own."""
REST_TAIL = 0.025
"""Probability that luck alone exceeds the margin of the rest."""
WIDEST = 10.0
"""The largest ratio that a margin holds."""


def margin(policy: Policy, start: Start, look: Look) -> Margin:
    """Return what is tolerable in errors, given how unlike instances are and how many of them carry each arm."""
    tail = policy.tolerance.alpha / 2 / start.steps
    return _wider(
        policy, start, canary=len(look.canary.instances), stable=len(look.stable.instances), tail=tail
    )


def bar(policy: Policy, start: Start) -> float:
    """Return the odds that fail a canary: half of alpha is spent on luck where instances are unlike."""
    return (2.0 if start.luck.tau else 1.0) / policy.tolerance.alpha


def add(
    policy: Policy,
    evidence: Evidence,
    look: Look,
    counted: Counted,
    *,
    before: Wealth,
    bet: Bet,
    predictor: Predictor,
    told: tuple[Tally, Tally],
) -> tuple[Without, ...]:
    """Return the odds without each instance after a look.

    Args:
        policy: The rule.
        evidence: Before.
        look: This look.
        counted: What is new in it.
        before: Odds of the whole arm before this look: also those without an instance that is new.
        bet: On errors; its margin is replaced.
        predictor: Of stable's rate, before this look.
        told: What the whole arm is bet on, (stable, canary); both empty while one arm waits.
    """
    rest = _wider(
        policy,
        evidence.start,
        canary=len(look.canary.instances) - 1,
        stable=len(look.stable.instances),
        tail=REST_TAIL,
    )
    bet, gap_s = replace(bet, margin=rest), counted.block.until_s - counted.block.from_s
    marks = {one.id: Tally(one.total, one.failed) for one in look.canary.instances}
    known = {one.instance: one for one in evidence.without}
    new = [Without(name, wealth=before) for name, _ in counted.instances if name not in known]
    fresh = dict(counted.instances)
    return tuple(
        _left_out(
            replace(one, seen=marks[one.instance] if one.instance in fresh else one.seen),
            fresh.get(one.instance, Tally()),
            told,
            (bet, predictor, gap_s),
        )
        for one in (*evidence.without, *new)[:MOST]
    )


def marked(evidence: Evidence, look: Look) -> tuple[Without, ...]:
    """Return the odds without each instance after a look in the warm-up: what it served so far does not count."""
    if look.source is not SourceState.OK:
        return evidence.without
    now = {one.id: Tally(one.total, one.failed) for one in look.canary.instances}
    known = {one.instance: one for one in evidence.without}
    names = list(dict.fromkeys((*known, *now)))[:MOST]
    kept = (known.get(name, Without(name)) for name in names)
    return tuple(replace(one, seen=now.get(one.instance, one.seen), waiting=Tally()) for one in kept)


def _left_out(
    one: Without, served: Tally, told: tuple[Tally, Tally], how: tuple[Bet, Predictor, float]
) -> Without:
    stable, canary = told
    bet, predictor, gap_s = how
    waiting = one.waiting + served
    rest = Tally()
    if canary.total > 0:
        total = max(canary.total - waiting.total, 0)
        rest, waiting = Tally(total, min(max(canary.failed - waiting.failed, 0), total)), Tally()
    grown = wealth.add_look(one.wealth, bet, predictor, gap_s=gap_s, stable=stable, canary=rest)
    return replace(one, waiting=waiting, wealth=grown)


def crossed(policy: Policy, evidence: Evidence, look: Look, odds: float) -> Evidence:
    """Latch what the odds have reached, and name the one instance that they hang on, if there is one.

    Args:
        policy: The rule.
        evidence: With this look's bets.
        look: This look.
        odds: On all metrics together.
    """
    if not evidence.crossed and odds < bar(policy, evidence.start):
        return evidence
    if look.source is not SourceState.OK:
        return replace(evidence, crossed=True)
    if evidence.rest_crossed or len(evidence.without) < 2:
        return replace(evidence, crossed=True, rest_crossed=True, blamed="")
    worst = min(evidence.without, key=lambda one: one.wealth.total)
    if _without(evidence, worst) >= HIGH_ENOUGH:
        return replace(evidence, crossed=True, rest_crossed=True, blamed="")
    is_there = any(one.id == worst.instance for one in look.canary.instances)
    return replace(evidence, crossed=True, blamed=worst.instance if is_there else "")


def _without(evidence: Evidence, one: Without) -> float:
    """Return the whole odds with those on errors replaced by those without an instance.

    Latencies and the ceiling are not told apart by instance, and stay as they are.
    """
    rest = tuple(
        replace(stream, odds=replace(stream.odds, wealth=one.wealth))
        if stream.metric is MetricKind.ERRORS
        else stream
        for stream in evidence.streams
    )
    return whole(replace(evidence, streams=rest))


def _wider(policy: Policy, start: Start, *, canary: int, stable: int, tail: float) -> Margin:
    tolerable = policy.tolerance.tolerable
    if not start.luck.tau:
        return tolerable
    wider = tolerable.rho * ratio(start.luck, canary=max(canary, 1), stable=max(stable, 1), tail=tail)
    return Margin(min(wider, WIDEST), tolerable.delta)


def without_a_step(without: Sequence[Without]) -> tuple[Without, ...]:
    """Return the odds at a weight step: the mass of a step comes in here as in the whole arm's."""
    return tuple(replace(one, wealth=wealth.add_step(one.wealth)) for one in without)
