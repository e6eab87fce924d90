"""The evidence judge: running odds on the raw counts of both arms, valid however often one looks.

Last part of `engine.judge` for policies of kind `evidence`. It bets against "the canary is tolerable" over the whole
release (`wealth`) and, anew in each step, against "the canary is worse than acceptable" (`certainty`). At 1/alpha the
first fails the canary; at 1/beta the second certifies the step. Requests count once a look has both arms in it; until
then they wait, which depends on traffic only and never on outcomes, so that it costs no validity.
"""

from __future__ import annotations

import math
from dataclasses import replace

from controller.analysis import certainty, wealth
from controller.analysis.counting import total_of
from controller.analysis.wealth import Bet, expected_rate
from controller.model.evidence import Block, Evidence
from controller.model.look import Look, SourceState
from controller.model.plan import Policy
from controller.model.verdict import Decision, Ground, Verdict
from controller.model.wealth import Odds, Tally

NOTHING = (Tally(), Tally())
MOST_NEEDED = 10_000
"""An uncertified step may pass with so many canary requests at the latest, however small the margin is."""


def add(policy: Policy, evidence: Evidence, block: Block) -> Evidence:
    """Bet on what is new in a look; in the warm-up stable's rate is learned and nothing is bet."""
    odds, bet, gap_s = evidence.odds, _bet(policy, evidence), block.until_s - block.from_s
    if block.until_s <= policy.warmup_s:
        predictor = wealth.remember(odds.predictor, block.stable, gap_s=gap_s, half_life_s=bet.half_life_s)
        return replace(evidence, odds=replace(odds, predictor=predictor))
    stable, canary = odds.stable + block.stable, odds.canary + block.canary
    is_complete = stable.total > 0 and canary.total > 0
    told, waiting = ((stable, canary), NOTHING) if is_complete else (NOTHING, (stable, canary))
    return replace(
        evidence,
        odds=Odds(
            wealth=wealth.add_look(
                odds.wealth, bet, odds.predictor, gap_s=gap_s, stable=told[0], canary=told[1]
            ),
            proof=certainty.add_look(
                odds.proof, policy.tolerance.acceptable, bet, odds.predictor, stable=told[0], canary=told[1]
            ),
            predictor=wealth.remember(odds.predictor, told[0], gap_s=gap_s, half_life_s=bet.half_life_s),
            stable=waiting[0],
            canary=waiting[1],
            step_requests=odds.step_requests + told[1].total,
        ),
    )


def weigh(policy: Policy, evidence: Evidence, look: Look) -> Verdict:
    """Say what the odds mean now."""
    on = total_of(evidence.window)
    decision, ground = _decide(policy, evidence, look)
    return Verdict(
        decision=decision,
        ground=ground,
        canary_total=on.canary.total,
        canary_failed=on.canary.failed,
        stable_total=on.stable.total,
        stable_failed=on.stable.failed,
        window_s=on.until_s - on.from_s,
        source=look.source,
        look=look.id,
        odds=evidence.odds.wealth.total,
        proof=evidence.odds.proof,
    )


def needed(policy: Policy, rate: float) -> int:
    """Return how many canary requests a step needs before it may pass without a certificate.

    As many as a fixed-sample test would need to tell a canary like stable from one at the acceptable margin with error
    beta: log(1/beta) / KL(rate || margin), by Chernoff-Stein (Cover and Thomas, 2006, theorem 11.8.3).
    """
    margin = policy.tolerance.acceptable
    worse = min(margin.rho * rate + margin.delta, 0.999)
    divergence = rate * math.log(rate / worse) + (1 - rate) * math.log((1 - rate) / (1 - worse))
    enough = math.log(1 / policy.tolerance.beta)
    return MOST_NEEDED if divergence * MOST_NEEDED <= enough else math.ceil(enough / divergence)


def _decide(policy: Policy, evidence: Evidence, look: Look) -> tuple[Decision, Ground]:
    odds = evidence.odds
    if odds.wealth.total >= 1 / policy.tolerance.alpha:
        return Decision.FAIL, Ground.ODDS
    if look.source is not SourceState.OK:
        return Decision.HOLD, Ground.SOURCE_DOWN
    if evidence.judged_s <= policy.warmup_s:
        return Decision.HOLD, Ground.WARMING_UP
    if odds.proof >= 1 / policy.tolerance.beta:
        return Decision.PASS, Ground.CERTIFIED
    if odds.step_requests >= needed(policy, expected_rate(odds.predictor, evidence.prior)):
        return Decision.PASS, Ground.WITHIN_LIMIT
    return Decision.HOLD, Ground.COLLECTING if odds.step_requests or odds.canary.total else Ground.NO_TRAFFIC


def _bet(policy: Policy, evidence: Evidence) -> Bet:
    return Bet(
        margin=policy.tolerance.tolerable,
        prior=evidence.prior,
        plan_s=evidence.plan_s,
        cap=policy.tolerance.cap,
    )
