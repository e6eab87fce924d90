"""The arrays that travel through the bench: counts of many replications at once, and the rule that judges them.

Before them: `worlds` draws counts. After them: `vectorised`, `peers` and `oracle` judge the same counts, so that every
rule meets the same luck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.analysis.wealth import Bet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
USUAL = Bet()
NEVER = -1
"""The look of a decision that was not taken."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The course of a rollout that nothing stops.

    Args:
        shares: The canary's part of the traffic in each step, 0 to 1.
        step_s: Seconds a step.
        look_s: Seconds between looks.
    """

    shares: tuple[float, ...]
    step_s: float
    look_s: float = 1.0

    @property
    def looks(self) -> int:
        """Looks in the whole rollout."""
        return len(self.shares) * self.looks_a_step

    @property
    def looks_a_step(self) -> int:
        """Looks in one step."""
        return round(self.step_s / self.look_s)

    @property
    def total_s(self) -> float:
        """Seconds of the whole rollout."""
        return self.looks * self.look_s

    def step_of(self) -> Ints:
        """Return the step of each look."""
        return np.repeat(np.arange(len(self.shares)), self.looks_a_step)

    def share_of(self) -> Floats:
        """Return the share at each look."""
        return np.asarray(self.shares)[self.step_of()]


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests and failures between two looks; each array is (replications, looks)."""

    nb: Ints
    xb: Ints
    nc: Ints
    xc: Ints


@dataclass(frozen=True, slots=True)
class Past:
    """What is known before the release, for each replication.

    Args:
        prior: Stable's failing rate in the hour before.
        phi: Dispersion of errors between stable's instances in that hour, gated; 1 where errors come alone.
        tau: Spread of the instances' log rates, noise removed; 0 where they are alike.
        instances: How many instances `tau` was learned from.
    """

    prior: Floats
    phi: Floats
    tau: Floats
    instances: int


@dataclass(frozen=True, slots=True)
class Rule:
    """How the e-process bets; defaults as in `controller.analysis.wealth.Bet`.

    Args:
        rho: Tolerated ratio, (replications, steps).
        delta: Tolerated difference.
        prior: Stable's rate before, (replications,).
        temper: Power 1/temper of each bet, (replications,).
        plan_s: Planned time, seconds.
        half_life_s: Memory of the predictor, seconds.
        cap: Most nats a look.
        restored: Odds to which one look may lift a poor part.
        warm_looks: At the first looks stable's rate is learned and nothing is bet.
    """

    rho: Floats
    delta: float
    prior: Floats
    temper: Floats
    plan_s: float
    half_life_s: float = USUAL.half_life_s
    cap: float = USUAL.cap
    restored: float = USUAL.restored
    warm_looks: int = 0
