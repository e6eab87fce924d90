"""The bench's engine is the product's engine: both give the same odds and proofs on the same counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.analysis import certainty, wealth
from controller.model.wealth import Margin, Predictor, Tally, Wealth
from tests.bench.analysis.shapes import Counts, Floats, Ladder, Rule
from tests.bench.analysis.vectorised import log_odds, log_proofs

LADDER = Ladder(shares=(0.01, 0.1, 0.5, 0.95), step_s=6)
ROWS_A_SEED = 100


def draw(seed: int) -> tuple[Counts, Rule]:
    """Return counts from no traffic to 100 000 a look, from no failure to all, and a rule for each path."""
    rng = np.random.default_rng(seed)
    size = (ROWS_A_SEED, LADDER.looks)
    load = 10 ** rng.uniform(-1.5, 5, (ROWS_A_SEED, 1)) * rng.choice([0.0, 1.0], size, p=[0.1, 0.9])
    base = 10 ** rng.uniform(-5, -0.2, (ROWS_A_SEED, 1))
    share = LADDER.share_of()
    nb, nc = rng.poisson(load * (1 - share)), rng.poisson(load * share)
    xb = rng.binomial(nb, base)
    xc = rng.binomial(nc, np.minimum(base * 10 ** rng.uniform(-0.5, 1.5, (ROWS_A_SEED, 1)), 1))
    rule = Rule(
        rho=np.repeat(rng.uniform(1, 3, (ROWS_A_SEED, 1)), len(LADDER.shares), axis=1),
        delta=float(rng.choice([0.0, 0.0005, 0.01])),
        prior=10 ** rng.uniform(-5, -1, ROWS_A_SEED),
        temper=rng.choice([1.0, 3.0, 8.0], ROWS_A_SEED),
        plan_s=float(rng.choice([10.0, 2400.0])),
        warm_looks=int(rng.choice([0, 2])),
    )
    return Counts(nb=nb, xb=xb, nc=nc, xc=xc), rule


def scalar(counts: Counts, rule: Rule, row: int) -> tuple[list[float], list[float]]:
    """Judge one path with the product's own functions; returns log odds and log proofs after each look."""
    margin = Margin(float(rule.rho[row, 0]), rule.delta)
    bet = wealth.Bet(
        margin=margin,
        prior=float(rule.prior[row]),
        plan_s=rule.plan_s,
        half_life_s=rule.half_life_s,
        cap=rule.cap,
        restored=rule.restored,
        temper=float(rule.temper[row]),
    )
    state, predictor, proof, odds, proofs = Wealth(), Predictor(), certainty.START, [], []
    stable, canary = Tally(), Tally()
    steps = LADDER.step_of()
    for look in range(LADDER.looks):
        if look and steps[look] != steps[look - 1]:
            state, proof = wealth.add_step(state), certainty.START
        stable = stable + Tally(int(counts.nb[row, look]), int(counts.xb[row, look]))
        if look < rule.warm_looks:
            predictor = wealth.remember(predictor, stable, gap_s=LADDER.look_s, half_life_s=rule.half_life_s)
            stable = Tally()
            odds.append(0.0)
            proofs.append(0.0)
            continue
        canary = canary + Tally(int(counts.nc[row, look]), int(counts.xc[row, look]))
        state = wealth.add_look(state, bet, predictor, gap_s=LADDER.look_s, stable=stable, canary=canary)
        proof = certainty.add_look(proof, margin, bet, predictor, stable=stable, canary=canary)
        both = stable.total > 0 and canary.total > 0
        predictor = wealth.remember(
            predictor, stable if both else Tally(), gap_s=LADDER.look_s, half_life_s=rule.half_life_s
        )
        if both:
            stable, canary = Tally(), Tally()
        odds.append(math.log(state.total))
        proofs.append(math.log(proof) if proof > 0 else -math.inf)
    return odds, proofs


def agree(seed: int) -> None:
    """Compare every path of one seed."""
    counts, rule = draw(seed)
    odds, proofs = log_odds(counts, LADDER, rule), log_proofs(counts, LADDER, rule)

    for row in range(ROWS_A_SEED):
        expected_odds, expected_proofs = scalar(counts, rule, row)
        assert_close(odds[row], expected_odds)
        assert_close(proofs[row], expected_proofs)


def assert_close(found: Floats, expected: list[float]) -> None:
    """Within 1e-9, or within 1e-12 of the size where counts make it large."""
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


def test_a_few_hundred_paths_agree() -> None:
    """300 paths over four steps, with idle looks, tempering and every margin."""
    for seed in range(3):
        agree(seed)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_ten_thousand_paths_agree() -> None:
    """The long form of the same."""
    for seed in range(100, 200):
        agree(seed)
