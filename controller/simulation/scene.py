"""What happens to a simulated release: traffic, what both versions are like, the canary's fault, and what hits both.

Before it: the options of `serinus simulate`. After it: `controller.simulation.world` plays it. Time is in seconds from
the moment the canary first gets traffic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.simulation.latency import Latency, Slowness
from controller.simulation.ranges import between

LONGEST_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of the canary.

    Args:
        rate: Its failing part once the fault is fully there, 0 to 1; the same as stable's for a good canary.
        after_s: Until then it fails and takes as long as stable, seconds.
        ramp_s: The fault grows evenly for so long, seconds; 0 is at once.
        slowness: How it is slower once the fault is there; only in a scene with latencies.
        dark_after_s: From then on no request reaches it, and stable serves them all, seconds; None for never.
        hangs_after_s: From then on it answers nothing, seconds; None for never.
    """

    rate: float
    after_s: float = 0.0
    ramp_s: float = 0.0
    slowness: Slowness = Slowness()
    dark_after_s: float | None = None
    hangs_after_s: float | None = None

    def __post_init__(self) -> None:
        between(self.rate, 0, 1, "canary_errors")
        between(self.after_s, 0, LONGEST_S, "after")
        between(self.ramp_s, 0, LONGEST_S, "ramp")
        between(self.dark_after_s or 0, 0, LONGEST_S, "dark_after")
        between(self.hangs_after_s or 0, 0, LONGEST_S, "hang_after")

    def there(self, at_s: float) -> float:
        """Return how much of errors and slowness is there at a moment, 0 to 1."""
        since = at_s - self.after_s
        return 0.0 if since < 0 else min(since / self.ramp_s, 1.0) if self.ramp_s > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The instances that carry each version, told apart by the source.

    Args:
        stable: How many carry stable, 1 to 100.
        canary: How many carry the canary, likewise.
        unlike: Standard deviation of the logarithm of their failing parts, drawn once for each instance, 0 to 2.
        bad_rate: The failing part of the canary's first instance once the fault is there, 0 to 1; None for one like
            the others.
        generations: So many earlier versions are remembered, each with as many instances as stable, 0 to 20.
    """

    stable: int
    canary: int
    unlike: float = 0.0
    bad_rate: float | None = None
    generations: int = 0

    def __post_init__(self) -> None:
        between(self.stable, 1, 100, "instances")
        between(self.canary, 1, 100, "instances")
        between(self.unlike, 0, 2, "unlike")
        between(self.bad_rate or 0, 0, 1, "bad_instance")
        between(self.generations, 0, 20, "generations")


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
        between(self.at_s, 0, LONGEST_S, "burst")
        between(self.for_s, 0, LONGEST_S, "burst")
        between(self.rate, 0, 1, "burst")


@dataclass(frozen=True, slots=True)
class Outage:
    """The source of evidence does not answer for a while; requests go on.

    Args:
        at_s: Begin, seconds.
        for_s: Length, seconds.
    """

    at_s: float
    for_s: float

    def __post_init__(self) -> None:
        between(self.at_s, 0, LONGEST_S, "source_down")
        between(self.for_s, 0, LONGEST_S, "source_down")


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything outside Serinus.

    Args:
        per_s: Requests a second on both arms together, 0 to 1 000 000; they arrive independently (Poisson).
        stable_rate: Stable's failing part, 0 to 1.
        canary: What becomes of the canary.
        bursts: What hits both.
        history_s: How long stable has served before, seconds; 0 for a cold start.
        look_every_s: Time between two looks, seconds.
        latency: How long requests take; None when the source does not measure it.
        fleet: The instances; None when the source does not tell them apart.
        group: So many requests fail together, on one instance, as retries and reloads do, 1 to 100.
        outages: When the source is down.
        audience: The part of the requests that fits the matches of a step with some, above 0 and at most 1.
    """

    per_s: float
    stable_rate: float
    canary: Fault
    bursts: tuple[Burst, ...] = ()
    history_s: float = 3600.0
    look_every_s: float = 1.0
    latency: Latency | None = None
    fleet: Fleet | None = None
    group: int = 1
    outages: tuple[Outage, ...] = ()
    audience: float = 0.1

    def __post_init__(self) -> None:
        between(self.audience, 1e-6, 1, "audience")
        between(self.per_s, 0, 1_000_000, "rate")
        between(self.stable_rate, 0, 1, "stable_errors")
        between(self.history_s, 0, 7 * 86_400, "history")
        between(self.look_every_s, 0.1, 60, "look_every")
        between(self.group, 1, 100, "group")

    @property
    def fault_at_s(self) -> float:
        """When the first thing goes wrong with the canary, seconds; `after_s` when nothing ever does."""
        canary = self.canary
        is_odd = canary.rate != self.stable_rate or canary.slowness != Slowness()
        is_odd = is_odd or (self.fleet is not None and self.fleet.bad_rate is not None)
        begins = (canary.after_s if is_odd else None, canary.dark_after_s, canary.hangs_after_s)
        return min((one for one in begins if one is not None), default=canary.after_s)

    def canary_rate(self, at_s: float) -> float:
        """Return the canary's own failing part at a moment, without bursts."""
        return self.stable_rate + self.canary.there(at_s) * (self.canary.rate - self.stable_rate)

    def hit(self, rate: float, at_s: float) -> float:
        """Return what a failing part becomes at a moment by the bursts of that moment."""
        well = math.prod(1.0 - one.rate for one in self.bursts if one.at_s <= at_s < one.at_s + one.for_s)
        return 1.0 - well * (1.0 - min(rate, 1.0))

    def rates(self, at_s: float) -> tuple[float, float]:
        """Return the failing parts of stable and canary at a moment."""
        return self.hit(self.stable_rate, at_s), self.hit(self.canary_rate(at_s), at_s)

    def is_down(self, at_s: float) -> bool:
        """Whether the source is down at a moment."""
        return any(one.at_s <= at_s < one.at_s + one.for_s for one in self.outages)
