"""The state of the evidence judge: running odds against "the canary is tolerable", small enough for a heartbeat.

`controller.analysis.wealth` bets with it and says what the numbers mean; here are only the values that travel.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.errors import InvalidInput

GRID_POINTS = 7
START_MASS = 0.6
"""Wealth bet from the first look on: with less, 20 to 100 % errors need a third look."""


@dataclass(frozen=True, slots=True)
class Margin:
    """A border in the plane of both rates: p_canary = rho * p_stable + delta.

    Args:
        rho: Tolerated ratio, 1 to 10.
        delta: Tolerated difference, a rate from 0 to 0.5.
    """

    rho: float = 1.1
    delta: float = 0.0005

    def __post_init__(self) -> None:
        if not 1.0 <= self.rho <= 10.0:
            raise InvalidInput("expected a ratio from 1 to 10", field="margin.rho")
        if not 0.0 <= self.delta <= 0.5:
            raise InvalidInput("expected a difference of rates from 0 to 0.5", field="margin.delta")


@dataclass(frozen=True, slots=True)
class Predictor:
    """What the stable rate is expected to be: requests and failures seen, exponentially forgotten."""

    seen: float = 0.0
    failed: float = 0.0


@dataclass(frozen=True, slots=True)
class Wealth:
    """One e-process against a margin.

    Args:
        parts: Wealth on each effect size of the grid.
        reserve: Wealth that is not bet yet.
        elapsed_s: Judged time, seconds.
    """

    parts: tuple[float, ...] = (START_MASS / GRID_POINTS,) * GRID_POINTS
    reserve: float = 1.0 - START_MASS
    elapsed_s: float = 0.0

    @property
    def total(self) -> float:
        """The odds against the null; at 1/alpha it is rejected."""
        return sum(self.parts) + self.reserve


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests and failures, cumulative or counted, as the place says."""

    total: int = 0
    failed: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Add counts to counts."""
        return Tally(self.total + other.total, self.failed + other.failed)


@dataclass(frozen=True, slots=True)
class Odds:
    """What the evidence judge carries for one metric.

    Args:
        wealth: Odds against "the canary is tolerable", over the whole release.
        proof: Odds against "the canary is worse than acceptable", in this step.
        predictor: Of stable's failing rate.
        stable: Counted and not bet yet, because one arm had no request.
        canary: Likewise.
        step_stable: Stable requests bet on in this step.
        step_canary: Likewise of the canary.
        lowest: The least odds so far.
        since_s: Judged time at which they were last (nearly) so low: what came since is what the odds stand on; seconds.
        since_stable: Counted since then.
        since_canary: Likewise.
    """

    wealth: Wealth = Wealth()
    proof: float = 1.0
    predictor: Predictor = Predictor()
    stable: Tally = Tally()
    canary: Tally = Tally()
    step_stable: Tally = Tally()
    step_canary: Tally = Tally()
    lowest: float = 1.0
    since_s: float = 0.0
    since_stable: Tally = Tally()
    since_canary: Tally = Tally()

    @property
    def step_requests(self) -> int:
        """Canary requests bet on in this step."""
        return self.step_canary.total
