"""A world in which judges work without a second passing: the real keeper over the memory plane, and a virtual clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from controller.errors import SourceUnavailable, StoreUnavailable
from controller.judging.alarms import Alarms
from controller.judging.clock import Clock
from controller.judging.looking import Eye
from controller.judging.loop import Judge, Rhythm, Tools
from controller.judging.renewals import Renewals
from controller.metrics.envoy import EnvoySource
from controller.model.evidence import Evidence, StepOrder
from controller.model.look import History, Look, Reading
from controller.model.plan import JudgeKind, Plan, Policy, Step
from controller.model.release import Progress, ReleaseOrder
from controller.model.share import BasisPoints
from controller.model.target import Target, TargetKey
from controller.model.traffic import Asked
from controller.model.verdict import Verdict
from controller.routing.book import Book
from controller.routing.keeper import Keeper
from controller.routing.memory import ANYBODY, Answers, MemoryPlane
from controller.workloads.memory import MemoryWorkloads

TARGET = Target(
    name="catalog", stable="v1", versions={"v1": ("127.0.0.1:1",), "v2": ("127.0.0.1:2",)}, workloads="memory"
)
PLAN = Plan(
    "p", (Step(BasisPoints(1000), hold_s=3, deadline_s=30), Step(BasisPoints(5000), hold_s=3, deadline_s=30))
)
POLICY = Policy("p", judge=JudgeKind.THRESHOLD, max_error_rate=0.05, min_requests=50, warmup_s=0)


class VirtualClock(Clock):
    """Time that goes on only when nobody has anything else to do."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def boot_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1_700_000_000.0 + self.now_s

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + seconds, next(self._order), future))
        await future

    async def drive(self, *, until_s: float, then: Callable[[], bool] = lambda: False) -> None:
        """Let time go on until `until_s` seconds have passed or `then` is true."""
        end_s = self.now_s + until_s
        while not then():
            for _ in range(40):  # whoever was woken acts before time goes on; writes go through a real thread
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            if then():
                return
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if not self._sleepers or self._sleepers[0][0] > end_s:
                self.now_s = end_s
                return
            self.now_s, _, future = heapq.heappop(self._sleepers)
            future.set_result(None)


@dataclass
class World:
    """Everything a judge touches."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    rate: int = 300
    answers: Answers = lambda version: True
    asked: Asked = ANYBODY
    told: list[Progress] = field(default_factory=list)
    checkpoints: list[Evidence] = field(default_factory=list)
    is_ledger_down: bool = False
    is_source_down: bool = False

    async def open(self) -> World:
        self.plane = MemoryPlane()
        self.keeper = Keeper(
            plane=self.plane,
            book=Book.open(":memory:", boot="b"),
            boot_clock=self.clock.boot_s,
            wall_clock=self.clock.wall_s,
        )
        await self.keeper.start()
        await self.keeper.declare(TARGET)
        self.workloads = MemoryWorkloads()
        await self.workloads.start(TARGET, "v1")
        await self.workloads.start(TARGET, "v2")
        self.source = EnvoySource(counters=self._counters, history=self._history)
        self.renewals = Renewals(keeper=self.keeper, clock=self.clock)
        self._tasks = [
            asyncio.create_task(each) for each in (self._traffic(), self.renewals.run(), self._ticks())
        ]
        return self

    async def freeze_renewals(self, for_s: float) -> None:
        """Let time go by in which no renewal reaches the keeper."""
        task = self._tasks.pop(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.clock.drive(until_s=for_s)
        self._tasks.insert(1, asyncio.create_task(self.renewals.run()))

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keeper.aclose()

    def judge(
        self,
        *,
        record: Callable[[StepOrder, Look], None] = lambda order, look: None,
        alarms: Alarms | None = None,
    ) -> Judge:
        return Judge(
            Tools(
                keeper=self.keeper,
                eye=Eye(source=self.source, workloads={"memory": self.workloads}, clock=self.clock),
                renewals=self.renewals,
                clock=self.clock,
                report=self._report,
                rhythm=Rhythm(),
                record=record,
                alarm=_told_nobody if alarms is None else alarms.tell,
            )
        )

    async def _report(self, progress: Progress) -> None:
        if self.is_ledger_down:
            raise StoreUnavailable("the ledger was told to be down")
        self.told.append(progress)

    async def _counters(self, target: TargetKey) -> Reading:
        if self.is_source_down:
            raise SourceUnavailable("the source was told to be down")
        return await self.keeper.counters(target)

    async def _history(self, target: TargetKey, version: str, window_s: float) -> History:
        return await self.keeper.history(target, version, window_s)

    async def _traffic(self) -> None:
        while True:
            await self.clock.sleep(0.1)
            self.plane.serve(TARGET.key, self.rate // 10, self.answers, asked=self.asked)

    async def _ticks(self) -> None:
        while True:
            await self.clock.sleep(0.25)
            await self.keeper.tick()

    def share(self) -> int:
        """The canary's share as traffic sees it."""
        applied = self.plane.share_of(TARGET.key)
        return applied.share if applied else 0


async def _told_nobody(order: StepOrder, trouble: str, verdict: Verdict, reason: str) -> None:
    """Tell nobody."""


def order(
    step: int = 0,
    *,
    release: str = "rel-1",
    is_open: bool = False,
    evidence: Evidence | None = None,
    is_continued: bool = False,
    policy: Policy = POLICY,
) -> StepOrder:
    ordered = ReleaseOrder(
        release, TARGET, "v2", PLAN, policy, actor="me", correlation_id="c-1", created_at=0.0
    )
    return StepOrder(ordered, step, is_open=is_open, evidence=evidence, is_continued=is_continued)


def fails_every(n: int, version: str = "v2") -> Answers:
    """Answer every n-th request of a version badly."""
    seen = itertools.count(1)
    return lambda asked: asked != version or next(seen) % n != 0
