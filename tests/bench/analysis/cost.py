"""What a verdict costs: CPU time of one metric and one look, beside a fixed loop of arithmetic in the same run.

Before it: the product's own scalar functions, not the compiled ones. After it: `run` prints the figures. The ratio
compares machines; microseconds alone do not.
"""

from __future__ import annotations

import time
from typing import Any

from controller.analysis import certainty, wealth
from controller.model.wealth import Margin, Predictor, Tally, Wealth

LOOKS = 1500
ROUNDS = 5
LOOP = 100_000
RELEASES, METRICS = 1000, 4
PROFILES = {
    "1000 a look, errors": (Tally(950, 5), Tally(50, 1)),
    "1000 a look, clean": (Tally(950, 0), Tally(50, 0)),
    "1 a look": (Tally(1, 0), Tally(0, 0)),
    "no traffic": (Tally(), Tally()),
}


def measure() -> dict[str, Any]:
    """Return microseconds a metric and look (best of five rounds), their ratio to the loop, and cores for a fleet."""
    best = {name: min(_looks_us(*arms) for _ in range(ROUNDS)) for name, arms in PROFILES.items()}
    loop = min(_loop_us() for _ in range(ROUNDS))
    return {
        "cell": "cost",
        "kind": "cost",
        "look_us": best,
        "proof_us": min(_proofs_us() for _ in range(ROUNDS)),
        "loop_us": loop,
        "ratio": max(best.values()) / loop,
        "fleet_cores": min(fleet_cores(seconds=1) for _ in range(ROUNDS)),
    }


def fleet_cores(*, seconds: int) -> float:
    """Judge 1 000 releases with 4 metrics for that many looks of one second; returns CPU seconds a second."""
    bet, margin = wealth.Bet(), Margin(1.25, 0.002)
    stable, canary = PROFILES["1000 a look, errors"]
    states = [(Wealth(), Predictor(), certainty.START)] * (RELEASES * METRICS)
    begin = time.process_time()
    for _ in range(seconds):
        states = [_judge(state, bet, margin, stable, canary) for state in states]
    return (time.process_time() - begin) / seconds


def _judge(
    state: tuple[Wealth, Predictor, float], bet: wealth.Bet, margin: Margin, stable: Tally, canary: Tally
) -> tuple[Wealth, Predictor, float]:
    odds, predictor, proof = state
    return (
        wealth.add_look(odds, bet, predictor, gap_s=1.0, stable=stable, canary=canary),
        wealth.remember(predictor, stable, gap_s=1.0, half_life_s=bet.half_life_s),
        certainty.add_look(proof, margin, bet, predictor, stable=stable, canary=canary),
    )


def _looks_us(stable: Tally, canary: Tally) -> float:
    state, predictor, bet = Wealth(), Predictor(), wealth.Bet()
    begin = time.process_time()
    for _ in range(LOOKS):
        state = wealth.add_look(state, bet, predictor, gap_s=1.0, stable=stable, canary=canary)
        predictor = wealth.remember(predictor, stable, gap_s=1.0, half_life_s=bet.half_life_s)
    return (time.process_time() - begin) / LOOKS * 1e6


def _proofs_us() -> float:
    proof, margin, bet, predictor = certainty.START, Margin(1.25, 0.002), wealth.Bet(), Predictor()
    stable, canary = PROFILES["1000 a look, errors"]
    begin = time.process_time()
    for _ in range(LOOKS):
        proof = certainty.add_look(proof, margin, bet, predictor, stable=stable, canary=canary)
    return (time.process_time() - begin) / LOOKS * 1e6


def _loop_us() -> float:
    """Return microseconds of 100 floating point multiplications and additions."""
    value = 1.0
    begin = time.process_time()
    for _ in range(LOOP):
        value = value * 0.999 + 0.001
    return (time.process_time() - begin) / LOOP * 100 * 1e6
