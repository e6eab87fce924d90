"""What is around the evidence: a canary that gets nothing or far from its share, a service that fails as a whole, requests that hang.

Second part of `engine.judge`, for every kind of judge. A dark canary and a burning service hold the share where it is
and let nothing pass; a FAIL goes before both. Tested by tests/controller/analysis/test_surroundings.py.
"""

from __future__ import annotations

import math
from dataclasses import replace

from controller.analysis import darkness, saying, split
from controller.analysis.counting import Counted, total_of
from controller.model.evidence import Evidence, Pace
from controller.model.look import Look, SourceState
from controller.model.plan import Policy
from controller.model.share import EVERYTHING
from controller.model.verdict import Decision, Ground, Verdict
from controller.model.wealth import Predictor, Tally

SHORT_S, LONG_S = 60.0, 300.0
"""Mean ages of the two memories of a burn, seconds."""
SETTLING_S = 3.0
"""Time a new share may take until it shows in the counts, seconds."""
SPLIT_ALPHA = 0.005
"""Probability, a side, that a split within a third and three times of its share is ever called wrong."""
DARK_ALPHA = 0.01
"""Probability that a canary with half its share or more is ever called dark."""
FEWEST_TO_BURN = 20
"""Requests an arm must have in memory before it can burn."""
SURELY_NATS = math.log(1e5)
"""How surely more requests hang in the canary than its share explains, at one look."""
FEWEST_TO_KNOW = 20
"""Requests of an audience from which its part of the traffic is taken to be known."""
TIMES = 4.0
"""So many times as many, for the same share, as in stable."""


def watch(policy: Policy, evidence: Evidence, look: Look, counted: Counted) -> Evidence:
    """Add one look to what is known about the surroundings.

    Args:
        policy: The rule.
        evidence: With this look counted.
        look: This look.
        counted: What is new in it.
    """
    if look.source is not SourceState.OK:
        return replace(evidence, hanging=0)
    block = counted.block
    gap_s = block.until_s - block.from_s
    stable, canary = (block.stable.total, block.canary.total) if evidence.step_s > SETTLING_S else (0, 0)
    is_warm = evidence.judged_s > policy.warmup_s
    return replace(
        evidence,
        darkness=darkness.add_look(evidence.darkness, stable=stable, canary=canary),
        split=split.add_look(
            evidence.split,
            share=evidence.share,
            stable=stable,
            canary=canary,
            has_audience=evidence.has_audience,
        ),
        pace=_aged(evidence.pace, block.stable, block.canary, gap_s),
        hanging=evidence.hanging + 1 if is_warm and _hangs(policy, evidence, look) else 0,
    )


def held(policy: Policy, evidence: Evidence, look: Look, verdict: Verdict) -> Verdict:
    """Return the verdict, or the HOLD that goes before it."""
    if verdict.decision is Decision.FAIL or look.source is not SourceState.OK:
        return verdict
    ground = _in_the_way(policy, evidence)
    is_earned = ground is Ground.AUDIENCE_AWAY and verdict.decision is Decision.PASS
    if ground is None or is_earned:  # an audience that has come long enough may go
        return verdict
    is_burn = ground is Ground.SERVICE_BURNING  # which passes by itself, so that no judge gives up on it
    return saying.on(
        total_of(evidence.recent),
        look,
        Decision.HOLD,
        ground,
        limit=policy.burn.limit if is_burn else None,
        is_exhausted=verdict.is_exhausted and not is_burn,
    )


def _in_the_way(policy: Policy, evidence: Evidence) -> Ground | None:
    if is_burning(policy, evidence.pace):
        return Ground.SERVICE_BURNING
    if evidence.has_audience:
        if darkness.is_away(evidence.darkness, share=evidence.share, alpha=DARK_ALPHA):
            return Ground.AUDIENCE_AWAY
    elif darkness.is_dark(evidence.darkness, share=evidence.share, alpha=DARK_ALPHA):
        return Ground.CANARY_DARK
    return Ground.SPLIT_MISMATCH if split.wrong_side(evidence.split, alpha=SPLIT_ALPHA) else None


def is_burning(policy: Policy, pace: Pace) -> bool:
    """Whether both arms burn the error budget too fast over five minutes, and still do over the last one."""
    limit = policy.burn.limit
    arms = (pace.stable_1m, pace.canary_1m, pace.stable_5m, pace.canary_5m)
    return all(one.seen >= FEWEST_TO_BURN and one.failed >= limit * one.seen for one in arms)


def _aged(pace: Pace, stable: Tally, canary: Tally, gap_s: float) -> Pace:
    short, long = math.exp(-gap_s / SHORT_S), math.exp(-gap_s / LONG_S)
    return Pace(
        stable_1m=_plus(pace.stable_1m, short, stable),
        canary_1m=_plus(pace.canary_1m, short, canary),
        stable_5m=_plus(pace.stable_5m, long, stable),
        canary_5m=_plus(pace.canary_5m, long, canary),
    )


def _plus(memory: Predictor, kept: float, new: Tally) -> Predictor:
    return Predictor(memory.seen * kept + new.total, memory.failed * kept + new.failed)


def _hangs(policy: Policy, evidence: Evidence, look: Look) -> bool:
    """Whether far more requests wait in the canary than its share of all that wait.

    In flight together, each is the canary's with the probability of its share while both arms are equally fast; four
    times as slow moves that to `border`. The canary's part must be beyond the border, and too large to be chance for
    equal arms (Chernoff's bound on a binomial tail).
    """
    waiting, part = look.canary.in_flight + look.stable.in_flight, _part(evidence)
    if look.canary.in_flight < policy.rail.min_requests or not 0.0 < part < 1.0:
        return False
    border, found = TIMES * part / (TIMES * part + 1.0 - part), look.canary.in_flight / waiting
    return found >= border and waiting * _divergence(found, part) >= SURELY_NATS


def _part(evidence: Evidence) -> float:
    """Return the canary's part of the traffic: its share, or of an audience what it had so far (its share at most)."""
    known = (
        darkness.audience_part(evidence.darkness, fewest=FEWEST_TO_KNOW) if evidence.has_audience else None
    )
    return evidence.share / EVERYTHING if known is None else known


def _divergence(found: float, part: float) -> float:
    rest = 0.0 if found >= 1.0 else (1.0 - found) * math.log((1.0 - found) / (1.0 - part))
    return found * math.log(found / part) + rest
