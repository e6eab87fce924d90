"""One running bet of each metric: the errors, each rung of the latency ladder, and what to make of them together.

Part of the evidence judge (`odds`). The odds of several metrics are the weighted mean of their own: a mean of e-values
is an e-value whatever they have to do with each other (Vovk and Wang, Annals of Statistics 49, 2021, proposition 3.1),
and it beats asking each metric for 1/weight times as much (Bonferroni). A certificate needs every required metric, each
at beta: if one is worse than acceptable, its own proof alone reaches 1/beta with probability at most beta.

Tested by tests/controller/analysis/test_streams.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from controller.analysis import certainty, wealth
from controller.analysis.wealth import Bet, expected_rate
from controller.model.evidence import Evidence, Stream
from controller.model.metric import Metric, Need, RungMargin
from controller.model.plan import Policy
from controller.model.start import Rung
from controller.model.verdict import Part
from controller.model.wealth import Margin, Odds, Tally

NOTHING = (Tally(), Tally())
CEILING = "ceiling"
CEILING_WEIGHT = 0.1
"""The ceiling's part of the wealth, where there is one."""
NEARLY = 1.1
"""Odds within this factor of their lowest count as being there: what came since is what they stand on."""
MOST_NEEDED = 10_000
"""An uncertified step may pass with so many canary requests at the latest, however small the margin is."""


@dataclass(frozen=True, slots=True)
class Borders:
    """What is tolerable and what is acceptable in one stream."""

    tolerable: Margin
    acceptable: Margin


def borders(policy: Policy, evidence: Evidence, stream: Stream) -> Borders:
    """Return the margins of a stream as the policy writes them."""
    if stream.rung is None:
        return Borders(policy.tolerance.tolerable, policy.tolerance.acceptable)
    assert policy.latency is not None  # noqa: S101 - no rung has a stream without it
    rung = margins_of(policy.latency, evidence.start.rungs[stream.rung])
    assert rung is not None  # noqa: S101 - a rung without margins has no stream
    return Borders(rung.tolerable, rung.acceptable)


def margins_of(metric: Metric, rung: Rung) -> RungMargin | None:
    """Return a latency metric's margins for a rung; None when its ladder does not have the rung's quantile."""
    return next((one for one in metric.ladder if math.isclose(one.quantile, rung.quantile)), None)


def bet_on(policy: Policy, evidence: Evidence, stream: Stream, tolerable: Margin) -> Bet:
    """Return how a stream is bet on."""
    start = evidence.start
    rung = None if stream.rung is None else start.rungs[stream.rung]
    return Bet(
        margin=tolerable,
        prior=start.prior if rung is None else rung.prior,
        plan_s=start.plan_s,
        cap=policy.tolerance.cap,
        temper=start.temper if rung is None else rung.temper,
    )


def told(odds: Odds, new: tuple[Tally, Tally]) -> tuple[Tally, Tally]:
    """Return what can be bet on now: nothing until both arms have had a request since the last bet.

    Waiting depends on traffic only and never on outcomes, so that it costs no validity.
    """
    stable, canary = odds.stable + new[0], odds.canary + new[1]
    return (stable, canary) if stable.total > 0 and canary.total > 0 else NOTHING


def add(
    odds: Odds, bet: Bet, acceptable: Margin, new: tuple[Tally, Tally], *, at_s: float, gap_s: float
) -> Odds:
    """Return a stream's odds after a look.

    Args:
        odds: Before.
        bet: How it is bet on.
        acceptable: The margin of the proof.
        new: Requests and failures of (stable, canary) since the last look.
        at_s: Judged time at the look's end, seconds.
        gap_s: Judged time of the look, seconds.
    """
    stable, canary = told(odds, new)
    waits = canary.total == 0
    grown = wealth.add_look(odds.wealth, bet, odds.predictor, gap_s=gap_s, stable=stable, canary=canary)
    is_low = grown.total <= NEARLY * odds.lowest
    return Odds(
        wealth=grown,
        proof=certainty.add_look(odds.proof, acceptable, bet, odds.predictor, stable=stable, canary=canary),
        predictor=wealth.remember(odds.predictor, stable, gap_s=gap_s, half_life_s=bet.half_life_s),
        stable=odds.stable + new[0] if waits else Tally(),
        canary=odds.canary + new[1] if waits else Tally(),
        step_stable=odds.step_stable + stable,
        step_canary=odds.step_canary + canary,
        lowest=min(odds.lowest, grown.total),
        since_s=at_s if is_low else odds.since_s,
        since_stable=Tally() if is_low else odds.since_stable + new[0],
        since_canary=Tally() if is_low else odds.since_canary + new[1],
    )


def unproved(odds: Odds) -> Odds:
    """Return a stream's odds with the proof of the step begun anew."""
    return replace(odds, proof=certainty.START, step_stable=Tally(), step_canary=Tally())


def learn(odds: Odds, bet: Bet, stable: Tally, *, at_s: float, gap_s: float) -> Odds:
    """Return a stream's odds after a look in the warm-up: stable's rate is learned and nothing is bet."""
    predictor = wealth.remember(odds.predictor, stable, gap_s=gap_s, half_life_s=bet.half_life_s)
    return replace(odds, predictor=predictor, since_s=at_s)


def whole(evidence: Evidence) -> float:
    """Return the odds against "the canary is tolerable" on all metrics together."""
    decided = sum(one.weight * one.odds.wealth.total for one in evidence.streams)
    if evidence.ceiling is None:
        return decided
    return (1 - CEILING_WEIGHT) * decided + CEILING_WEIGHT * evidence.ceiling.total


def parts(evidence: Evidence) -> tuple[Part, ...]:
    """Return what each metric says; nothing when there is one only."""
    total, left = whole(evidence), 1.0 if evidence.ceiling is None else 1 - CEILING_WEIGHT
    found = [
        Part(label(evidence, one), one.odds.wealth.total, left * one.weight * one.odds.wealth.total / total)
        for one in evidence.streams
    ]
    if evidence.ceiling is not None:
        found.append(Part(CEILING, evidence.ceiling.total, CEILING_WEIGHT * evidence.ceiling.total / total))
    return tuple(found) if len(found) > 1 else ()


def label(evidence: Evidence, stream: Stream) -> str:
    """Return what people call a stream."""
    if stream.rung is None:
        return stream.metric.value
    return f"{stream.metric.value} p{100 * evidence.start.rungs[stream.rung].quantile:g}"


def leading(evidence: Evidence) -> Stream:
    """Return the stream that makes the largest part of the odds."""
    return max(evidence.streams, key=lambda one: one.weight * one.odds.wealth.total)


def least_proved(evidence: Evidence) -> Stream:
    """Return the required stream whose proof is the smallest."""
    return min((one for one in evidence.streams if one.is_required), key=lambda one: one.odds.proof)


def is_measured(policy: Policy, evidence: Evidence) -> bool:
    """Whether every required metric has a stream."""
    there = {one.metric for one in evidence.streams}
    return all(one.kind in there for one in policy.metrics if one.need is Need.REQUIRED)


def has_enough(policy: Policy, evidence: Evidence) -> bool:
    """Whether each required stream has judged as many canary requests as an uncertified step needs."""
    return all(
        one.odds.step_requests
        >= needed(policy, borders(policy, evidence, one).acceptable, _rate(evidence, one))
        for one in evidence.streams
        if one.is_required
    )


def needed(policy: Policy, acceptable: Margin, rate: float) -> int:
    """Return how many canary requests a step needs before it may pass without a certificate.

    As many as a fixed-sample test would need to tell a canary like stable from one at the acceptable margin with error
    beta: log(1/beta) / KL(rate || margin), by Chernoff-Stein (Cover and Thomas, 2006, theorem 11.8.3).
    """
    worse = min(acceptable.rho * rate + acceptable.delta, 0.999)
    divergence = rate * math.log(rate / worse) + (1 - rate) * math.log((1 - rate) / (1 - worse))
    enough = math.log(1 / policy.tolerance.beta)
    return MOST_NEEDED if divergence * MOST_NEEDED <= enough else math.ceil(enough / divergence)


def _rate(evidence: Evidence, stream: Stream) -> float:
    rung = None if stream.rung is None else evidence.start.rungs[stream.rung]
    return expected_rate(stream.odds.predictor, evidence.start.prior if rung is None else rung.prior)
