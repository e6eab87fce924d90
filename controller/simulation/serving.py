"""One version in the made-up world: its instances, what it has served, and how slow it was.

Before it: `scene` says what versions are like. After it: `traffic` sends requests to both and reads their counters, as a
metric source does. Instances get equal parts of the traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from controller.model.look import Arm, Exceedance, Instance
from controller.model.wealth import Tally
from controller.simulation.draws import binomial, multinomial, nested, poisson
from controller.simulation.latency import Latency, Slowness, parts_above


class Version:
    """Serves requests and counts them.

    Args:
        name: Of the version.
        size: Its instances; None when the source does not tell them apart.
        unlike: As in `Fleet`; each instance's factor is drawn here.
        group: As in `Scene`.
        random: Where chance comes from.
    """

    def __init__(self, name: str, *, size: int | None, unlike: float, group: int, random: Random) -> None:
        self._name = name
        self._is_told_apart = size is not None
        self._group = group
        self._random = random
        places = range(size or 1)
        self._factors = [math.exp(random.gauss(0.0, unlike)) if unlike > 0.0 else 1.0 for _ in places]
        self._owed = [0 for _ in places]
        self._served = [Tally() for _ in places]
        self._measured = 0
        self._above: list[int] = []

    @property
    def processes(self) -> int:
        """How many instances it has, as far as anybody knows."""
        return len(self._factors)

    @property
    def factors(self) -> Sequence[float]:
        """How many times as often as the version each instance fails."""
        return self._factors

    def served(self, total: int, rates: Sequence[float]) -> list[Tally]:
        """Draw what each instance makes of new requests, without counting them.

        Args:
            total: Requests of the whole version.
            rates: The failing part of each instance, 0 to 1.
        """
        each = [total] if len(rates) == 1 else multinomial(self._random, total, [1.0] * len(rates))
        return [Tally(n, self._failed(place, n, rates[place])) for place, n in enumerate(each)]

    def take(self, total: int, rates: Sequence[float]) -> Tally:
        """Serve new requests and count them; returns what is new. Arguments as of `served`."""
        new = self.served(total, rates)
        self._served = [old + more for old, more in zip(self._served, new, strict=True)]
        return sum(new, Tally())

    def measure(self, total: int, above: Sequence[int]) -> None:
        """Count how many of `total` new requests were above each bound."""
        self._measured += total
        self._above = [old + more for old, more in zip(self._above or [0] * len(above), above, strict=True)]

    def arm(self, *, is_measured: bool, in_flight: int) -> Arm:
        """Return the cumulative counters."""
        total = sum(self._served, Tally())
        return Arm(
            total=total.total,
            failed=total.failed,
            over=Exceedance(self._measured, tuple(self._above)) if is_measured else None,
            in_flight=in_flight,
            instances=self._instances() if self._is_told_apart else (),
        )

    def _instances(self) -> tuple[Instance, ...]:
        return tuple(
            Instance(f"{self._name}-{place}", one.total, one.failed)
            for place, one in enumerate(self._served, start=1)
        )

    def _failed(self, place: int, total: int, rate: float) -> int:
        """Draw failures in groups; what does not fit into these requests fails among the next."""
        if self._group == 1:
            return binomial(self._random, total, rate)
        groups = binomial(self._random, total, rate / self._group)
        failed = self._group * groups + self._owed[place]
        self._owed[place] = max(failed - total, 0)
        return min(failed, total)


def paused(random: Random, latency: Latency, total: int, *, processes: int, span_s: float) -> int:
    """Draw how many requests of a version fall into a pause of one of its processes.

    Args:
        random: Where chance comes from.
        latency: With or without pauses.
        total: Requests of the whole version in the span.
        processes: That carry it and pause on their own.
        span_s: Seconds.
    """
    pauses = latency.pauses
    if pauses is None or total == 0:
        return 0
    hit = 0
    for _ in range(poisson(random, processes * span_s / pauses.every_s)):
        hit += binomial(random, total - hit, min(pauses.for_s / span_s, 1.0) / processes)
    return hit


def above(
    random: Random,
    latency: Latency,
    bounds_s: Sequence[float],
    *,
    total: int,
    hit: int,
    slowness: Slowness,
    there: float,
) -> list[int]:
    """Draw how many requests are above each bound.

    Args:
        random: Where chance comes from.
        latency: The usual one.
        bounds_s: Growing, seconds.
        total: Requests.
        hit: Those of them that fell into a pause.
        slowness: As of `parts_above`.
        there: Likewise.
    """
    usual = nested(random, total - hit, parts_above(latency, bounds_s, slowness, there=there))
    if hit == 0 or latency.pauses is None:
        return usual
    later_s = latency.pauses.for_s
    late = nested(random, hit, parts_above(latency, bounds_s, slowness, there=there, later_s=later_s))
    return [one + more for one, more in zip(usual, late, strict=True)]
