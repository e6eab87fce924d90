"""What is known when a release begins, frozen for its whole life: no outcome of the release may change it.

Before it: `History`, from the metric source. After it: `controller.analysis` bets with it at every look, and the
recording of a release keeps it, so that a replay begins with the same knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Luck:
    """How unlike the instances of a service are by themselves.

    Args:
        tau: Standard deviation of the logarithm of their failing rates, beyond what chance explains.
        degrees: Degrees of freedom of that estimate: remembered instances less one; 0 when nothing is known.
    """

    tau: float = 0.0
    degrees: int = 0


@dataclass(frozen=True, slots=True)
class Rung:
    """One bound of the latency ladder.

    Args:
        quantile: The part of stable's requests that was meant to be faster, 0 to 1.
        bound_s: The bucket's bound that is nearest to it, seconds.
        prior: The part of stable's requests that took longer than the bound, above 0 and below 1.
        temper: How many requests are slow together as one, at least 1.
    """

    quantile: float
    bound_s: float
    prior: float
    temper: float = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """Everything that is frozen.

    Args:
        plan_s: Planned judged time of the release, seconds.
        steps: How many steps the plan has; the luck of instances is drawn anew at each.
        prior: Stable's failing rate before the release, above 0.
        luck: How unlike its instances are.
        temper: How many requests may fail together as one, at least 1; each bet is taken to the power 1/temper.
        rungs: The latency ladder; empty when latencies are not judged.
    """

    plan_s: float = 2400.0
    steps: int = 1
    prior: float = 0.001
    luck: Luck = Luck()
    temper: float = 1.0
    rungs: tuple[Rung, ...] = ()
