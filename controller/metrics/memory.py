"""The metric source `memory`: says what it is told, for tests and the simulator.

It stands where the edge's counters stand: below the judge. It can be stale, down, and begin again from zero.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise, zip_longest
from math import ceil

from controller.errors import SourceUnavailable
from controller.metrics.port import MetricCapabilities, MetricSource
from controller.model.look import Arm, History, Instance, Reading, SourceState
from controller.model.target import Target, TargetKey
from controller.model.wealth import Tally

SAMPLES = 3_600
MINUTE_S = 60.0
BOUNDS_S = (0.01, 0.1, 1.0)
"""Latency buckets, seconds: enough for a test."""


@dataclass(slots=True)
class _Counted:
    arm: Arm = field(default_factory=lambda: Arm(buckets=(0,) * (len(BOUNDS_S) + 1)))
    samples: deque[tuple[float, Arm]] = field(default_factory=lambda: deque(maxlen=SAMPLES))


class MemorySource(MetricSource):
    """A scriptable source. Its fields can be set at any time.

    Args:
        clock: Seconds, for `history`; the default stands still.
    """

    def __init__(self, *, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.is_down = False
        self.state = SourceState.OK
        self.age_s = 0.0
        self.generation = 1
        self.script: deque[Reading] = deque()
        """Readings that are given out first, one a call, whatever was counted."""
        self.earlier: dict[TargetKey, tuple[Tally, ...]] = {}
        """Instances of earlier versions, as histories tell them."""
        self._clock = clock
        self._counted: dict[tuple[TargetKey, str], _Counted] = {}

    def count(
        self,
        target: TargetKey,
        version: str,
        *,
        total: int,
        failed: int = 0,
        instance: str = "0",
        took_s: float = 0.0,
    ) -> None:
        """Add requests to a version's counters.

        Args:
            target: Whose.
            version: Which.
            total: Requests, the failed ones included.
            failed: How many of them failed.
            instance: Which instance had them.
            took_s: How long each of them took, seconds.
        """
        counted = self._counted.get((target, version))
        if counted is None:
            counted = self._counted[target, version] = _Counted()
            counted.samples.append((self._clock(), counted.arm))
        arm, place = counted.arm, bisect_right(BOUNDS_S, took_s)
        instances = {one.id: one for one in arm.instances}
        if total:
            old = instances.get(instance, Instance(instance))
            instances[instance] = replace(old, total=old.total + total, failed=old.failed + failed)
        made = replace(
            arm,
            total=arm.total + total,
            failed=arm.failed + failed,
            instances=tuple(instances.values()),
            buckets=tuple(number + total * (at == place) for at, number in enumerate(arm.buckets)),
        )
        self.put(target, version, made)

    def put(self, target: TargetKey, version: str, arm: Arm) -> None:
        """Replace a version's counters."""
        counted = self._counted.setdefault((target, version), _Counted())
        counted.arm = arm
        counted.samples.append((self._clock(), arm))

    def restart(self) -> None:
        """Begin again from zero under another generation."""
        self.generation += 1
        self._counted.clear()

    async def read(self, target: Target) -> Reading:
        """Return the next scripted reading, else what was counted."""
        self._check()
        if self.script:
            return self.script.popleft()
        arms = {version: one.arm for (key, version), one in self._counted.items() if key == target.key}
        return Reading(f"memory-{self.generation}", self.state, self.age_s, arms, BOUNDS_S)

    async def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what was counted in the newest `window_s` seconds of the clock."""
        self._check()
        earlier = self.earlier.get(target.key, ())
        counted = self._counted.get((target.key, version))
        since_s = self._clock() - window_s
        samples = [one for one in counted.samples if one[0] >= since_s] if counted is not None else []
        if not samples or window_s <= 0:
            return History(window_s=0.0, total=0, failed=0, earlier=earlier)
        (from_s, first), (to_s, last) = samples[0], samples[-1]
        return History(
            window_s=to_s - from_s,
            total=last.total - first.total,
            failed=last.failed - first.failed,
            minutes=_minutes(samples),
            earlier=earlier,
            bounds_s=BOUNDS_S,
            bucket_minutes=(_more(last.buckets, first.buckets),),
        )

    def capabilities(self) -> MetricCapabilities:
        """Exact counts and latencies, at once; nothing is repeated."""
        return MetricCapabilities(
            is_exact=True, has_instances=True, has_latency=True, largest_group=1, delay_s=0.0
        )

    def _check(self) -> None:
        if self.is_down:
            raise SourceUnavailable("the memory source was told to be down")


def _more(last: tuple[int, ...], first: tuple[int, ...]) -> tuple[int, ...]:
    """Return what came after the first; whoever replaces an arm may leave its buckets out."""
    return tuple(new - old for new, old in zip_longest(last, first, fillvalue=0)) if last else ()


def _minutes(samples: list[tuple[float, Arm]]) -> tuple[tuple[Tally, ...], ...]:
    """Return what each instance served in each minute since the first sample."""
    names = [one.id for one in samples[-1][1].instances]
    rows: dict[int, dict[str, Tally]] = {}
    for (_, before), (at_s, after) in pairwise(samples):
        old = {one.id: one for one in before.instances}
        row = rows.setdefault(max(0, ceil((at_s - samples[0][0]) / MINUTE_S) - 1), {})
        for one in after.instances:
            was = old.get(one.id, Instance(one.id))
            more = Tally(one.total - was.total, one.failed - was.failed)
            row[one.id] = row.get(one.id, Tally()) + more
    return tuple(tuple(row.get(name, Tally()) for name in names) for row in rows.values()) if names else ()
