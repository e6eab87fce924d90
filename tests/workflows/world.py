"""The world around a worker, in memory: keeper, ledger, workloads, counters, channel; with a judge that plays a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from controller.errors import OrchestratorUnavailable
from controller.judging.clock import Clock
from controller.metrics.memory import MemorySource
from controller.model.evidence import Evidence, StepOrder, StepReport
from controller.model.lease import Closure, ClosureKind
from controller.model.machine import Happening
from controller.model.release import Command, CommandKind, ReleaseOrder
from controller.notify.memory import MemoryNotifier
from controller.notify.port import Notifier
from controller.routing.book import Book
from controller.routing.keeper import Keeper
from controller.routing.memory import MemoryPlane
from controller.routing.port import LeaseKeeper
from controller.store.memory import MemoryStore
from controller.workloads.memory import MemoryWorkloads
from controller.workloads.port import Workloads
from tests.controller.traces.recorded import Recorded
from workflows.activities import Activities
from workflows.deliveries import Deliveries
from workflows.ground import Ground
from workflows.journal import Scribe
from workflows.meters import Meters


class SteppingClock(Clock):
    """A clock that only moves when somebody sleeps on it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def boot_s(self) -> float:
        """Return the time slept so far."""
        return self.now_s

    def wall_s(self) -> float:
        """Return the same as a time of day."""
        return 1_700_000_000.0 + self.now_s

    async def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.now_s += seconds
        await asyncio.sleep(0)


class ScriptedJudge:
    """Answers a step with the next judgement; a FAIL closes the release first, as a judge must.

    Attributes:
        judgements: What is answered; a callable is awaited with the order and the evidence that an attempt resumes.
        orders: What it was told, with what it resumed from.
        closures: What it closed.
    """

    def __init__(self, keeper: LeaseKeeper) -> None:
        self.judgements: list[StepReport | Callable[[StepOrder, Evidence | None], Awaitable[StepReport]]] = []
        self.orders: list[tuple[StepOrder, Evidence | None]] = []
        self.closures: list[Closure] = []
        self._keeper = keeper

    async def hold_step(
        self, order: StepOrder, *, resume: Evidence | None, checkpoint: Callable[[Evidence], None]
    ) -> StepReport:
        """Play; without a judgement left, look for ever."""
        self.orders.append((order, resume))
        seen = resume or order.evidence or Evidence()
        if not self.judgements:
            return await self._for_ever(seen, checkpoint)
        judgement = self.judgements.pop(0)
        report = judgement if isinstance(judgement, StepReport) else await judgement(order, resume)
        checkpoint(report.evidence)
        if report.kind is not Happening.STEP_FAILED:
            return report
        release = order.release
        closure = await self._keeper.close(
            release.target.key, release.id, ClosureKind.FAILED, report.reason, report.verdict
        )
        self.closures.append(closure)
        return report

    async def _for_ever(self, seen: Evidence, checkpoint: Callable[[Evidence], None]) -> StepReport:
        looks = seen.looks
        while True:
            looks += 1
            checkpoint(Evidence(looks=looks))
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class World:
    """Everything a worker works with."""

    clock: SteppingClock
    plane: MemoryPlane
    keeper: Keeper
    store: MemoryStore
    source: MemorySource
    running: MemoryWorkloads
    channel: MemoryNotifier
    judge: ScriptedJudge
    traces: Recorded = field(default_factory=Recorded)
    meters: Meters = field(default_factory=Meters)
    woken: list[str] = field(default_factory=list)
    asleep: set[str] = field(default_factory=set)
    """Channels that cannot be woken."""

    @property
    def workloads(self) -> Mapping[str, Workloads]:
        """By name."""
        return {"embedded": self.running}

    @property
    def notifiers(self) -> Mapping[str, Notifier]:
        """By name."""
        return {"pager": self.channel}

    @property
    def activities(self) -> Activities:
        """The real activities over this world."""
        ground = Ground(
            keeper=self.keeper,
            store=self.store,
            workloads=self.workloads,
            source=self.source,
            clock=self.clock,
        )
        scribe = Scribe(store=self.store, channels=("pager",))
        return Activities(ground=ground, judge=self.judge, scribe=scribe, wake=self.wake, meters=self.meters)

    @property
    def deliveries(self) -> Deliveries:
        """The real deliveries over this world."""
        return Deliveries(store=self.store, notifiers=self.notifiers, clock=self.clock, meters=self.meters)

    async def wake(self, channel: str) -> None:
        """Remember it, unless Temporal is away."""
        if channel in self.asleep:
            raise OrchestratorUnavailable("nobody is there")
        self.woken.append(channel)

    async def order(self, order: ReleaseOrder) -> None:
        """Write an order into the ledger, with its target, as the API does before it starts anything."""
        await self.store.put_target(order.target)
        start = Command(
            id=f"key-{order.id}",
            release=order.id,
            kind=CommandKind.START,
            actor=order.actor,
            at=order.created_at,
        )
        await self.store.order(order, start)


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    """Open a world in which stable serves and nothing has happened yet."""
    clock = SteppingClock()
    plane = MemoryPlane(clock=clock.boot_s)
    book = Book.open(":memory:")
    keeper = Keeper(plane=plane, book=book, boot_clock=clock.boot_s, wall_clock=clock.wall_s)
    await keeper.start()
    world = World(
        clock=clock,
        plane=plane,
        keeper=keeper,
        store=MemoryStore(),
        source=MemorySource(clock=clock.boot_s),
        running=MemoryWorkloads(),
        channel=MemoryNotifier(),
        judge=ScriptedJudge(keeper),
    )
    try:
        yield world
    finally:
        await keeper.aclose()
        await book.aclose()
