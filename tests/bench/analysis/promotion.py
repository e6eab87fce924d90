"""How long a good version waits until it is proven good, and how often a version at the margin is.

Before it: the ready-made plans of `controller.plans.ready`, whose shares and least times are used here. After it:
`run` and `page`. Every step is certified on its own; the time of a release is the sum over its steps.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.plans import ready
from tests.bench.analysis import entrants
from tests.bench.analysis.fleets import STABLE_INSTANCES, canary_instances, luck, with_luck
from tests.bench.analysis.judge import SEED
from tests.bench.analysis.shapes import NEVER, Counts, Floats, Ladder, Rule
from tests.bench.analysis.vectorised import first_at_least, log_odds, log_proofs
from tests.bench.analysis.worlds import WARM_UP_S, Family, Fault, counts, rates

BETA = 0.05
PROFILES = {"fast": (1.5, 0.01), "standard": (1.25, 0.002)}
"""Margin of non-inferiority of each profile."""
BATCH = 250


@dataclass(frozen=True, slots=True)
class Climb:
    """One profile at one rate; `at_margin` makes the canary exactly as bad as the margin, before its instances' luck."""

    profile: str
    rps: float
    base: float
    at_margin: bool = False
    group: int = 1
    spread: float = 0.0

    @property
    def name(self) -> str:
        """Return what the table and `--cells` call it."""
        what = "at the margin" if self.at_margin else "good"
        groups = f", groups of {self.group}" if self.group > 1 else ""
        groups += f", unlike instances, sd {self.spread:g}" if self.spread else ""
        return f"promotion/{self.profile}/{what}{groups}/{self.rps:g} rps/{self.base:.2%}"


def climbs() -> Iterator[Climb]:
    """Every profile at every rate."""
    for profile in PROFILES:
        for rps in (40, 250, 1000, 5000):
            for base in (0.0, 0.003, 0.008):
                yield Climb(profile, rps, base)
        for rps in (250, 1000, 5000):
            yield Climb(profile, rps, 0.003, at_margin=True)
            yield Climb(profile, rps, 0.003, at_margin=True, group=3)
            yield Climb(profile, rps, 0.003, at_margin=True, spread=0.25)
        yield Climb(profile, 1000, 0.003, group=3)
        yield Climb(profile, 1000, 0.003, spread=0.25)


def judge_climb(climb: Climb, replications: int) -> dict[str, Any]:
    """Return seconds to full promotion and the chance that each step is certified."""
    totals, certified, failed = [], [], 0
    for begin in range(0, replications, BATCH):
        rows = min(BATCH, replications - begin)
        rng = np.random.default_rng([SEED, zlib.crc32(climb.name.encode()), begin])
        waits, fails = _climb(climb, rows, rng)
        failed += fails
        certified.append(~np.isnan(waits))
        totals.append(waits.sum(axis=1))
    passed, total_s = np.concatenate(certified), np.concatenate(totals)
    whole = total_s[~np.isnan(total_s)]
    outcome: dict[str, Any] = {
        "cell": climb.name,
        "kind": "promotion",
        "replications": replications,
        "at_margin": climb.at_margin,
        "alike": not climb.spread,
        "steps": passed.mean(axis=0).tolist(),
        "promoted": int(whole.size),
        "rolled_back": failed,
    }
    if whole.size:
        outcome |= {"median_s": float(np.median(whole)), "p95_s": float(np.quantile(whole, 0.95))}
    return outcome


def _climb(climb: Climb, rows: int, rng: np.random.Generator) -> tuple[Floats, int]:
    """Return seconds until each step is certified, (replications, steps), not a number where it is not in time."""
    rho, delta = PROFILES[climb.profile]
    plan = ready.plan(climb.profile)
    ladder = Ladder(shares=tuple(s.share / 10_000 for s in plan.steps), step_s=plan.steps[0].deadline_s)
    family = Family(
        "climb", sizes=(climb.group,), apart=climb.group > 1, bound=climb.group, spread=climb.spread
    )
    worse = Fault("at the margin", factor=rho, level=delta / (1 - rho * climb.base), at_s=0.0)
    world = rates(family, worse if climb.at_margin else None, ladder, climb.rps, climb.base, rows, rng)
    canary = luck(family, rows, canary_instances(max(ladder.shares)), ladder.total_s, rng)
    stable = luck(family, rows, STABLE_INSTANCES, ladder.total_s, rng)
    drawn = counts(family, with_luck(world, ladder, canary, stable), ladder, rng)
    proofs = log_proofs(drawn, ladder, _rule(climb, ladder, rows, rho, delta))
    waits = np.full((rows, len(plan.steps)), np.nan)
    for index, step in enumerate(plan.steps):
        span = slice(index * ladder.looks_a_step, (index + 1) * ladder.looks_a_step)
        first = first_at_least(proofs[:, span], math.log(1 / BETA))
        least = step.hold_s + (WARM_UP_S if index == 0 else 0.0)
        waits[:, index] = np.where(first == NEVER, np.nan, np.maximum(first + 1.0, least))
    return waits, _rolled_back(climb, drawn, ladder, rows)


def _rule(climb: Climb, ladder: Ladder, rows: int, rho: float, delta: float) -> Rule:
    return Rule(
        rho=np.full((rows, len(ladder.shares)), rho),
        delta=delta,
        prior=np.full(rows, max(climb.base, 1e-4)),
        temper=np.full(rows, float(climb.group)),
        plan_s=ladder.total_s,
    )


def _rolled_back(climb: Climb, drawn: Counts, ladder: Ladder, rows: int) -> int:
    odds = log_odds(drawn, ladder, _rule(climb, ladder, rows, entrants.MARGIN_RHO, entrants.MARGIN_DELTA))
    return int((first_at_least(odds, entrants.ONE_METRIC) != NEVER).sum())
