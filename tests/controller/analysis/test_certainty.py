"""Certification: reference values, fairness at the margin, and speed on a good version."""

from __future__ import annotations

import math

import pytest

from controller.analysis.certainty import START, add_look
from controller.analysis.wealth import Bet, remember
from controller.model.wealth import Margin, Predictor, Tally

BETA = 0.05


def proofs(looks: int, stable: Tally, canary: Tally, margin: Margin) -> list[float]:
    """Repeat one look and return the proof after each."""
    proof, predictor, bet, found = START, Predictor(), Bet(), []
    for _ in range(looks):
        proof = add_look(proof, margin, bet, predictor, stable=stable, canary=canary)
        predictor = remember(predictor, stable, gap_s=1, half_life_s=bet.half_life_s)
        found.append(proof)
    return found


def test_reference_values_of_the_proof() -> None:
    """(950, 1, 50, 0) against 1.25 x + 0.2 points: log 1.118816 after ten looks, certified at look 27."""
    found = proofs(30, Tally(950, 1), Tally(50, 0), Margin(1.25, 0.002))

    assert math.log(found[9]) == pytest.approx(1.118816, abs=1e-6)
    assert next(n for n, proof in enumerate(found, 1) if proof >= 1 / BETA) == 27


@pytest.mark.parametrize("margin", [Margin(1.25, 0.002), Margin(1.5, 0.01)])
@pytest.mark.parametrize(("nb", "nc"), [(19, 1), (10, 10), (2, 18)])
@pytest.mark.parametrize("seen", [Predictor(), Predictor(1000, 5), Predictor(50, 30)])
def test_no_proof_is_expected_to_grow_at_the_margin(
    margin: Margin, nb: int, nc: int, seen: Predictor
) -> None:
    """E[proof] <= 1 for every version that is at the margin or worse: exact enumeration."""
    worst = 0.0
    for pb in (0.0, 0.001, 0.01, 0.1, 0.3):
        for worse in (0.0, 0.05):
            pc = min(margin.rho * pb + margin.delta + worse, 1.0)
            total = 0.0
            for xb in range(nb + 1):
                for xc in range(nc + 1):
                    chance = math.comb(nb, xb) * pb**xb * (1 - pb) ** (nb - xb)
                    chance *= math.comb(nc, xc) * pc**xc * (1 - pc) ** (nc - xc)
                    if chance > 0:
                        bet = Bet(cap=1e9)
                        total += chance * add_look(
                            START, margin, bet, seen, stable=Tally(nb, xb), canary=Tally(nc, xc)
                        )
            worst = max(worst, total)

    assert worst <= 1 + 1e-9


def test_a_look_without_both_arms_proves_nothing() -> None:
    """Nothing to compare is nothing learned."""
    assert add_look(7.0, Margin(), Bet(), Predictor(), stable=Tally(0, 0), canary=Tally(50, 0)) == 7.0
    assert add_look(7.0, Margin(), Bet(), Predictor(), stable=Tally(50, 0), canary=Tally(0, 0)) == 7.0
