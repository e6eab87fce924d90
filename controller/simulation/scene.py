"""What happens to a simulated release: traffic, stable's errors, the canary's fault, and bursts that hit both.

Before it: the options of `serinus simulate`. After it: `controller.simulation.world` plays it. Time is in seconds from
the moment the canary first gets traffic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.errors import InvalidInput


def _between(value: float, low: float, high: float, name: str) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidInput(f"expected a number from {low:g} to {high:g}", field=name)


@dataclass(frozen=True, slots=True)
class Fault:
    """How the canary fails.

    Args:
        rate: Its failing part once the fault is fully there, 0 to 1; the same as stable's for a good canary.
        after_s: Until then it fails like stable, seconds.
        ramp_s: The fault grows evenly for so long, seconds; 0 is at once.
    """

    rate: float
    after_s: float = 0.0
    ramp_s: float = 0.0

    def __post_init__(self) -> None:
        _between(self.rate, 0, 1, "canary_errors")
        _between(self.after_s, 0, 30 * 86_400, "after")
        _between(self.ramp_s, 0, 30 * 86_400, "ramp")


@dataclass(frozen=True, slots=True)
class Burst:
    """An incident of everybody's: a part of all requests fails for a while, whichever version they meet.

    Args:
        at_s: Begin, seconds.
        for_s: Length, seconds.
        rate: The part that fails because of it, 0 to 1.
    """

    at_s: float
    for_s: float
    rate: float

    def __post_init__(self) -> None:
        _between(self.at_s, 0, 30 * 86_400, "burst")
        _between(self.for_s, 0, 30 * 86_400, "burst")
        _between(self.rate, 0, 1, "burst")


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything outside Serinus.

    Args:
        per_s: Requests a second on both arms together, 0 to 1 000 000; they arrive independently (Poisson).
        stable_rate: Stable's failing part, 0 to 1.
        canary: How the canary fails.
        bursts: What hits both.
        history_s: How long stable has served before, seconds; 0 for a cold start.
        look_every_s: Time between two looks, seconds.
    """

    per_s: float
    stable_rate: float
    canary: Fault
    bursts: tuple[Burst, ...] = ()
    history_s: float = 3600.0
    look_every_s: float = 1.0

    def __post_init__(self) -> None:
        _between(self.per_s, 0, 1_000_000, "rate")
        _between(self.stable_rate, 0, 1, "stable_errors")
        _between(self.history_s, 0, 7 * 86_400, "history")
        _between(self.look_every_s, 0.1, 60, "look_every")

    def rates(self, at_s: float) -> tuple[float, float]:
        """Return the failing parts of stable and canary at a moment."""
        fault = self.canary
        since = at_s - fault.after_s
        there = 0.0 if since < 0 else min(since / fault.ramp_s, 1.0) if fault.ramp_s > 0 else 1.0
        canary = self.stable_rate + there * (fault.rate - self.stable_rate)
        well = math.prod(1.0 - one.rate for one in self.bursts if one.at_s <= at_s < one.at_s + one.for_s)
        return 1.0 - well * (1.0 - self.stable_rate), 1.0 - well * (1.0 - canary)
