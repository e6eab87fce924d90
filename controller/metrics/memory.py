"""The metric source `memory`: says what it is told, for tests and the simulator.

It stands where the edge's counters stand: below the judge. It can be stale, down, and begin again from zero.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from controller.errors import SourceUnavailable
from controller.metrics.port import MetricCapabilities, MetricSource
from controller.model.look import Arm, History, Reading, SourceState
from controller.model.target import Target, TargetKey

SAMPLES = 3_600


@dataclass(slots=True)
class _Counted:
    arm: Arm = field(default_factory=Arm)
    samples: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))


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
        self._clock = clock
        self._counted: dict[tuple[TargetKey, str], _Counted] = {}

    def count(self, target: TargetKey, version: str, *, total: int, failed: int = 0) -> None:
        """Add requests to a version's counters.

        Args:
            target: Whose.
            version: Which.
            total: Requests, the failed ones included.
            failed: How many of them failed.
        """
        counted = self._counted.setdefault(
            (target, version), _Counted(samples=deque([(self._clock(), 0, 0)], SAMPLES))
        )
        arm = counted.arm
        self.put(target, version, Arm(total=arm.total + total, failed=arm.failed + failed))

    def put(self, target: TargetKey, version: str, arm: Arm) -> None:
        """Replace a version's counters."""
        counted = self._counted.setdefault((target, version), _Counted())
        counted.arm = arm
        counted.samples.append((self._clock(), arm.total, arm.failed))

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
        return Reading(f"memory-{self.generation}", self.state, self.age_s, arms)

    async def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what was counted in the newest `window_s` seconds of the clock."""
        self._check()
        counted = self._counted.get((target.key, version))
        if counted is None or not counted.samples or window_s <= 0:
            return History(window_s=0.0, total=0, failed=0)
        newest, since_s = counted.samples[-1], self._clock() - window_s
        oldest = next((one for one in counted.samples if one[0] >= since_s), newest)
        return History(newest[0] - oldest[0], newest[1] - oldest[1], newest[2] - oldest[2])

    def capabilities(self) -> MetricCapabilities:
        """Exact counts, at once."""
        return MetricCapabilities(is_exact=True, has_instances=False, has_latency=False, delay_s=0.0)

    def _check(self) -> None:
        if self.is_down:
            raise SourceUnavailable("the memory source was told to be down")
