"""The evidence judge: running odds on the raw counts of both arms, valid however often one looks.

Last part of `engine.judge` for policies of kind `evidence`. It bets against "the canary is tolerable" over the whole
release (`wealth`) and, anew in each step, against "the canary is worse than acceptable" (`certainty`), on each metric
(`streams`) and without each instance (`instances`). At the bar the first fails the canary; at 1/beta the second
certifies the step.
"""

from __future__ import annotations

from dataclasses import replace

from controller.analysis import ceiling, instances, saying, streams
from controller.analysis.counting import Counted
from controller.analysis.wealth import add_step
from controller.model.evidence import Evidence, Stream, Without
from controller.model.look import Look
from controller.model.metric import MetricKind
from controller.model.plan import Policy
from controller.model.verdict import Decision, Ground, Verdict
from controller.model.wealth import Odds, Tally, Wealth

ABOUT_ODDS = (Ground.ODDS, Ground.LEANING, Ground.ONE_BAD_INSTANCE)
"""Grounds that are told with what the odds stand on; all others with the numbers of the step."""
UNACCEPTABLE = 1e-12
"""A proof that has sunk so low speaks against the canary as nothing that is only unlucky does: with 1e-6, 3 of 60 good
releases of unlike instances were held as well, with 1e-12 none."""
LEANS = 3.0
"""A step that is not certified does not pass while the odds are so high against the canary (to 1)."""


def add(policy: Policy, evidence: Evidence, look: Look, counted: Counted) -> Evidence:
    """Bet on what is new in a look."""
    if counted.block.until_s <= policy.warmup_s:
        return _learned(policy, evidence, look, counted)
    grown = replace(
        evidence,
        streams=tuple(_added(policy, evidence, look, counted, one) for one in evidence.streams),
        ceiling=_under_ceiling(policy, evidence, counted),
        without=_without(policy, evidence, look, counted),
    )
    after = instances.crossed(policy, grown, look, streams.whole(grown))
    is_replaced = bool(evidence.blamed) and not after.blamed and not after.rest_crossed
    return _proving_anew(after) if is_replaced else after


def weigh(policy: Policy, evidence: Evidence, look: Look) -> Verdict:
    """Say what the odds mean now."""
    decision, ground = _decide(policy, evidence, look)
    on = streams.leading(evidence) if ground in ABOUT_ODDS else streams.least_proved(evidence)
    canary, stable, window_s = _numbers(evidence, on.odds, is_about_odds=ground in ABOUT_ODDS)
    return Verdict(
        decision=decision,
        ground=ground,
        canary_total=canary.total,
        canary_failed=canary.failed,
        stable_total=stable.total,
        stable_failed=stable.failed,
        window_s=window_s,
        source=look.source,
        look=look.id,
        odds=streams.whole(evidence),
        proof=streams.least_proved(evidence).odds.proof,
        metric=_metric(evidence, on, is_about_odds=ground in ABOUT_ODDS),
        slower_than_s=None if on.rung is None else evidence.start.rungs[on.rung].bound_s,
        instance=evidence.blamed,
        parts=streams.parts(evidence),
    )


def _metric(evidence: Evidence, on: Stream, *, is_about_odds: bool) -> str:
    """Return whose numbers they are; the ceiling has those of the errors."""
    most = max(streams.parts(evidence), key=lambda part: part.part, default=None)
    is_ceiling = is_about_odds and most is not None and most.metric == streams.CEILING
    return streams.CEILING if is_ceiling else streams.label(evidence, on)


def _numbers(evidence: Evidence, odds: Odds, *, is_about_odds: bool) -> tuple[Tally, Tally, float]:
    """Return what (canary, stable) served, and in how many seconds: since the odds began to rise, or in this step."""
    if is_about_odds:
        return odds.since_canary, odds.since_stable, max(evidence.judged_s - odds.since_s, 0.0)
    return odds.step_canary + odds.canary, odds.step_stable + odds.stable, evidence.step_s


def begin_step(evidence: Evidence) -> Evidence:
    """Return the evidence at a weight step: mass for faults that begin with load, and proofs from the start."""
    stepped = tuple(
        replace(one, odds=streams.unproved(replace(one.odds, wealth=add_step(one.odds.wealth))))
        for one in evidence.streams
    )
    return replace(
        evidence,
        streams=stepped,
        ceiling=None if evidence.ceiling is None else add_step(evidence.ceiling),
        without=instances.without_a_step(evidence.without),
    )


def _learned(policy: Policy, evidence: Evidence, look: Look, counted: Counted) -> Evidence:
    """Learn stable's rates in the warm-up, and set the marks of the canary's instances."""
    block = counted.block

    def learned(stream: Stream) -> Stream:
        bet = streams.bet_on(policy, evidence, stream, streams.borders(policy, evidence, stream).tolerable)
        stable = _new(stream, counted)[0]
        gap_s = block.until_s - block.from_s
        return replace(stream, odds=streams.learn(stream.odds, bet, stable, at_s=block.until_s, gap_s=gap_s))

    return replace(
        evidence,
        streams=tuple(map(learned, evidence.streams)),
        without=instances.marked(evidence, look),
    )


def _new(stream: Stream, counted: Counted) -> tuple[Tally, Tally]:
    if stream.rung is None:
        return counted.block.stable, counted.block.canary
    return counted.slow[stream.rung] if stream.rung < len(counted.slow) else streams.NOTHING


def _added(policy: Policy, evidence: Evidence, look: Look, counted: Counted, stream: Stream) -> Stream:
    border, block = streams.borders(policy, evidence, stream), counted.block
    is_errors = stream.metric is MetricKind.ERRORS
    tolerable = instances.margin(policy, evidence.start, look) if is_errors else border.tolerable
    bet = streams.bet_on(policy, evidence, stream, tolerable)
    odds = streams.add(
        stream.odds,
        bet,
        border.acceptable,
        _new(stream, counted),
        at_s=block.until_s,
        gap_s=block.until_s - block.from_s,
    )
    return Stream(stream.metric, stream.rung, stream.weight, stream.is_required, odds)


def _under_ceiling(policy: Policy, evidence: Evidence, counted: Counted) -> Wealth | None:
    if evidence.ceiling is None or policy.ceiling is None:
        return evidence.ceiling
    block = counted.block
    bet = streams.bet_on(policy, evidence, _errors(evidence), policy.tolerance.tolerable)
    gap_s = block.until_s - block.from_s
    return ceiling.add_look(evidence.ceiling, bet, policy.ceiling, gap_s=gap_s, canary=block.canary)


def _without(policy: Policy, evidence: Evidence, look: Look, counted: Counted) -> tuple[Without, ...]:
    """Bet again without each instance; a service without counted instances costs nothing here."""
    if not counted.instances and not evidence.without:
        return ()
    errors = _errors(evidence)
    return instances.add(
        policy,
        evidence,
        look,
        counted,
        before=errors.odds.wealth,
        bet=streams.bet_on(policy, evidence, errors, policy.tolerance.tolerable),
        predictor=errors.odds.predictor,
        told=streams.told(errors.odds, (counted.block.stable, counted.block.canary)),
    )


def _errors(evidence: Evidence) -> Stream:
    return next(one for one in evidence.streams if one.metric is MetricKind.ERRORS)


def _proving_anew(evidence: Evidence) -> Evidence:
    """Begin the proofs of this step again, once the one bad instance is gone: what it failed says nothing of the rest."""
    anew = tuple(replace(one, odds=streams.unproved(one.odds)) for one in evidence.streams)
    return replace(evidence, streams=anew)


def _decide(policy: Policy, evidence: Evidence, look: Look) -> tuple[Decision, Ground]:
    if evidence.crossed and evidence.rest_crossed:
        return Decision.FAIL, Ground.ODDS
    if ground := saying.unready(policy, evidence, look):
        return Decision.HOLD, ground
    if evidence.blamed:
        return Decision.HOLD, Ground.ONE_BAD_INSTANCE
    if not streams.is_measured(policy, evidence):
        return Decision.HOLD, Ground.NOT_MEASURED
    return _proved(policy, evidence)


def _proved(policy: Policy, evidence: Evidence) -> tuple[Decision, Ground]:
    if streams.least_proved(evidence).odds.proof >= 1 / policy.tolerance.beta:
        return Decision.PASS, Ground.CERTIFIED
    if streams.has_enough(policy, evidence):
        return _uncertified(policy, evidence)
    is_quiet = all(_is_quiet(one.odds) for one in evidence.streams)
    return Decision.HOLD, Ground.NO_TRAFFIC if is_quiet else Ground.COLLECTING


def _uncertified(policy: Policy, evidence: Evidence) -> tuple[Decision, Ground]:
    """Let a step pass on the number of its requests, unless it looks worse than tolerable or than acceptable.

    A margin that luck has made wide may tolerate what is far beyond acceptable: with four unlike instances a side a
    canary that failed four times as often was promoted in 31 of 40 simulated releases without the second condition.
    """
    if streams.whole(evidence) >= LEANS and not evidence.crossed:
        return Decision.HOLD, Ground.LEANING
    if streams.least_proved(evidence).odds.proof <= UNACCEPTABLE:
        return Decision.HOLD, Ground.NOT_ACCEPTABLE
    return Decision.PASS, Ground.WITHIN_LIMIT


def _is_quiet(odds: Odds) -> bool:
    return odds.step_requests == 0 and odds.canary.total == 0
