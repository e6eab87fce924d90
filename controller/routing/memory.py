"""The data plane `memory`: a proxy made of arithmetic, for tests and the simulator.

It stands where Envoy stands: below the keeper, above nothing. Requests are drawn by `serve`, from the shares of that
moment; it can be slow, lie, refuse and apply half, when it is told to.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.errors import DataPlaneRefused
from controller.model.lease import Node
from controller.model.look import Arm, History, Instance, Reading, SourceState
from controller.model.share import EVERYTHING
from controller.model.target import Target, TargetKey
from controller.model.traffic import Asked, admits
from controller.model.wealth import Tally
from controller.observability import logger
from controller.routing.past import Past
from controller.routing.port import DataPlane, PlaneCapabilities, Shares

BOUNDS_S = (0.01, 0.1, 1.0)
"""Latency buckets, seconds: enough for a test."""
NODE = "memory"
LOST = "the proxy let go of its shares"

log = logger(__name__)

Answers = Callable[[str], bool]
"""Says for a version whether its next request is answered well."""
Times = Callable[[str], float]
"""Says for a version how long its next request takes, seconds."""
ANYBODY = Asked()


@dataclass(slots=True)
class _Served:
    total: int = 0
    failed: int = 0
    instances: dict[str, Tally] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))

    def add(self, instances: Mapping[str, Tally], buckets: Sequence[int]) -> None:
        for name, more in instances.items():
            self.total, self.failed = self.total + more.total, self.failed + more.failed
            self.instances[name] = self.instances.get(name, Tally()) + more
        self.buckets = [one + more for one, more in zip(self.buckets, buckets, strict=True)]


@dataclass(slots=True)
class Mischief:
    """What the plane does wrong; nothing by default. Set its fields at any time.

    Args:
        refusal: Text of a refusal that meets every declaration, "" for none.
        is_deaf: Pushes and declarations are not applied, though they are acknowledged (a lie).
        is_silent: What is applied is never acknowledged.
        applies: The part of a share that is really applied, 0 to 1.
        delay_s: Seconds a push waits before it is applied; spent in `sleep`.
        is_away: No proxy is connected.
        source: What readings say of themselves.
        age_s: How old readings are, seconds.
        has_lost_layer: The proxy let go of its shares because it was not renewed; a renewal or a push mends it.
    """

    refusal: str = ""
    is_deaf: bool = False
    is_silent: bool = False
    applies: float = 1.0
    delay_s: float = 0.0
    is_away: bool = False
    source: SourceState = SourceState.OK
    age_s: float = 0.0
    has_lost_layer: bool = False


class MemoryPlane(DataPlane):
    """A proxy in memory.

    Args:
        mischief: What it does wrong.
        clock: Seconds, for `history`; the default stands still.
        sleep: How delays are spent.
    """

    def __init__(
        self,
        *,
        mischief: Mischief | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        self.mischief = mischief or Mischief()
        self.pushes = 0
        self.renewals = 0
        self.lapses = 0
        self.generation = "memory-1"
        self.instances: dict[str, int] = {}
        """How many instances a version has, where it is not one; its requests go to them in turn."""
        self._clock = clock
        self._sleep = sleep or asyncio.sleep
        self._shares: Callable[[], Mapping[TargetKey, Shares]] = dict
        self._applied: Mapping[TargetKey, Shares] = {}
        self._targets: dict[TargetKey, Target] = {}
        self._served: dict[tuple[TargetKey, str], _Served] = {}
        self._past = Past()
        self._served_at: dict[TargetKey, float] = {}
        self._debts: dict[TargetKey, int] = {}

    async def start(self, shares: Callable[[], Mapping[TargetKey, Shares]]) -> None:
        """Begin to serve; the shares are asked for at each push, as Envoy's are."""
        self._shares = shares
        self._apply()

    async def declare(self, targets: Sequence[Target]) -> None:
        """Replace the whole set of targets."""
        if self.mischief.refusal:
            raise DataPlaneRefused(f"the proxy refused the configuration: {self.mischief.refusal}")
        await self._wait()
        if not self.mischief.is_deaf:
            for target in targets:
                before = self._targets.get(target.key, target).stable
                if before != target.stable:
                    self._past.retire(target.key, before, f"{target.key}/{before}")
            self._targets = {target.key: target for target in targets}
            self._apply()

    async def push(self) -> None:
        """Apply the shares as they are now."""
        self.pushes += 1
        await self._wait()
        if not self.mischief.is_deaf:
            self._apply()

    async def renew(self) -> None:
        """Count a renewal; nothing here expires by itself, but what was lost is counted and applied again."""
        self.renewals += 1
        if self.mischief.has_lost_layer:
            self._apply()

    def events(self) -> Mapping[str, int]:
        """Count what the proxy lost."""
        return {"lapsed": self.lapses}

    def nodes(self) -> tuple[Node, ...]:
        """Return the one proxy, unless it is away."""
        if self.mischief.is_away:
            return ()
        refusal = self.mischief.refusal or (LOST if self.mischief.has_lost_layer else "")
        is_well = not refusal and not self.mischief.is_silent
        return (Node(id=NODE, acknowledged=is_well, refusal=refusal, lapses=self.lapses),)

    def counters(self, target: Target) -> Reading:
        """Return what `serve` counted."""
        arms = {
            version: Arm(
                total=served.total,
                failed=served.failed,
                instances=tuple(
                    Instance(name, one.total, one.failed) for name, one in served.instances.items()
                ),
                buckets=tuple(served.buckets),
            )
            for (key, version), served in self._served.items()
            if key == target.key
        }
        return Reading(self.generation, self.mischief.source, self.mischief.age_s, arms, BOUNDS_S)

    def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what `serve` counted in the newest `window_s` seconds of the clock."""
        known = self._past.of(f"{target.key}/{version}").history(window_s, self._clock(), BOUNDS_S)
        return replace(known, earlier=self._past.earlier_than(target.key, version))

    def capabilities(self) -> PlaneCapabilities:
        """Say what this plane can do."""
        return PlaneCapabilities(acknowledges=True, expires=False, counts=True, finest_share=1, narrows=True)

    def share_of(self, target: TargetKey) -> Shares | None:
        """Return what is applied for a target right now, as traffic would see it."""
        if self.mischief.has_lost_layer:
            return None
        return self._applied.get(target)

    def serve(
        self,
        target: TargetKey,
        requests: int,
        answers: Answers = lambda version: True,
        times_s: Times = lambda version: 0.0,
        asked: Asked = ANYBODY,
    ) -> None:
        """Send requests through the split that is applied now: spread evenly, nothing is random.

        Args:
            target: Whose.
            requests: How many.
            answers: Says for a version whether its next request is answered well.
            times_s: Says for a version how long its next request takes, seconds.
            asked: What all of them say of themselves.
        """
        declared = self._targets[target]
        counts: dict[str, Counter[tuple[str, bool]]] = {version: Counter() for version in declared.versions}
        buckets = {version: [0] * (len(BOUNDS_S) + 1) for version in declared.versions}
        for _ in range(requests):
            version = self._drawn(declared, asked)
            turn = counts[version].total() % self.instances.get(version, 1)
            counts[version][f"{version}-{turn}", answers(version)] += 1
            buckets[version][bisect_right(BOUNDS_S, times_s(version))] += 1
        took_s = self._clock() - self._served_at.get(target, self._clock())
        is_first = target not in self._served_at
        self._served_at[target] = self._clock()
        for version, counted in counts.items():
            instances: dict[str, Tally] = {}
            for (name, is_well), number in counted.items():
                more = Tally(number, 0 if is_well else number)
                instances[name] = instances.get(name, Tally()) + more
            self._served.setdefault((target, version), _Served()).add(instances, buckets[version])
            if not is_first:  # what was served before the clock was first looked at has no length
                total = sum(instances.values(), Tally())
                past = self._past.of(f"{target}/{version}")
                past.add(self._clock(), took_s, total, instances, buckets[version])

    def _drawn(self, target: Target, asked: Asked) -> str:
        """Return the version of the next request: the canary gets exactly its part, one request at most away from it."""
        share = self.share_of(target.key)
        if share is None or not (admits(target.matches, asked) and admits(share.matches, asked)):
            return target.stable
        # Error diffusion.
        debt = self._debts.get(target.key, 0) + round(share.share * self.mischief.applies)
        is_canary = debt >= EVERYTHING
        self._debts[target.key] = debt - EVERYTHING if is_canary else debt
        return share.version if is_canary else target.stable

    def restart(self) -> None:
        """Begin to count from zero under another generation, as a restarted reader does."""
        self._served.clear()
        self.generation = f"memory-{int(self.generation.rpartition('-')[2]) + 1}"

    async def _wait(self) -> None:
        if self.mischief.delay_s > 0:
            await self._sleep(self.mischief.delay_s)

    def _apply(self) -> None:
        if self.mischief.has_lost_layer and self._shares():
            self.lapses += 1
            log.warning("layer_lost_at_proxy", node=NODE, why=LOST)
        self.mischief.has_lost_layer = False
        # A share whose version has no address goes nowhere, as with Envoy.
        self._applied = {
            key: share
            for key, share in self._shares().items()
            if key in self._targets and self._targets[key].versions.get(share.version)
        }
