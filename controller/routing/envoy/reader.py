"""Reads the counters of every Envoy on this host through its admin socket, once a second, for everybody.

Before it: Envoys on the same host, through `admin`. After it: `counting` adds up, `plane` answers from what was read
last. Who is read in which second is said by `turns`; a target that nobody looked at is read as soon as somebody does.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from controller.model.look import History, Reading, SourceState
from controller.model.target import Target, TargetKey
from controller.observability import logger
from controller.routing.envoy import admin, latency
from controller.routing.envoy.admin import AdminError
from controller.routing.envoy.counting import Ledger, RawReading
from controller.routing.envoy.resources import cluster_name
from controller.routing.envoy.right_of_way import RightOfWay
from controller.routing.envoy.turns import Turns
from controller.routing.past import Past
from controller.routing.shelf import Shelf

READ_EVERY_S = 1.0
LEAST_PAUSE_S = 0.05
"""Between two readings, however long they take."""
KEEP_EVERY_S = 30.0
"""How much of its past a router that is killed may lose, seconds."""
RETRIED_WITHIN_S = 0.04
"""Between the pages: the longest back-off of a retry (`retries`: 30 ms for the second) and some more."""
YIELDS_FOR_S = 0.3
"""How long a reading waits for pushes in all, seconds; counts stay far younger than `STALE_AFTER_S`."""
FRESH_WITHIN_S = 0.7
"""How long somebody waits for the first reading of a target that nobody looked at, seconds; callers from outside wait 1 s
for an answer."""
STALE_AFTER_S = 3.0
DOWN_AFTER_S = 10.0

log = logger(__name__)


@dataclass(slots=True)
class _Source:
    """One admin socket: when each target was last read there, and whether it answered the last time."""

    socket: Path
    read_at_s: dict[TargetKey, float] = field(default_factory=dict)
    is_answering: bool = True


class CounterReader:
    """Keeps the newest counters of all Envoys, added up.

    Args:
        sockets: The admin sockets, one an Envoy.
        clock: Seconds, monotonic: how old a reading is.
        shelf: Keeps what was served over restarts; None keeps nothing.
        wall_clock: Seconds since 1970: when something was served.
        shared: Returns the targets that have a share; they are read every second.
        way: Says whether a push is on its way; questions wait for it, `YIELDS_FOR_S` a round at most.
    """

    def __init__(
        self,
        *,
        sockets: Sequence[Path],
        clock: Callable[[], float],
        shelf: Shelf | None = None,
        wall_clock: Callable[[], float] = time.time,
        shared: Callable[[], Collection[TargetKey]] = tuple,
        way: RightOfWay | None = None,
    ) -> None:
        self._sources = tuple(_Source(socket) for socket in sockets)
        self._clock = clock
        self._wall_clock = wall_clock
        self._shared = shared
        self._way = way or RightOfWay()
        self._generation = secrets.token_hex(8)
        self._shelf = shelf
        self._past = Past() if shelf is None else shelf.open(wall_clock())
        self._kept_at_s = clock()
        self._keeping: asyncio.Task[None] | None = None
        self._ledger = Ledger(self._past)
        self._turns = Turns()
        self._stable: dict[TargetKey, str] = {}
        self._waited_for: dict[TargetKey, asyncio.Event] = {}
        self._is_waited_for = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read in the background."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop reading and keep what was served. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._shelf is not None:
            if self._keeping is not None:
                await self._keeping
            await self._shelf.save(self._past, self._wall_clock())
            await self._shelf.aclose()
            self._shelf = None

    def _keep(self) -> None:
        """Begin to write what changed, when it is time and the disk is not busy with the last time."""
        is_time = self._clock() - self._kept_at_s >= KEEP_EVERY_S
        if self._shelf is not None and is_time and (self._keeping is None or self._keeping.done()):
            self._kept_at_s = self._clock()
            self._keeping = asyncio.create_task(self._shelf.save(self._past, self._wall_clock()))

    async def read(self) -> None:
        """Read every Envoy once, all at the same time: who is looked at, and those whose turn it is."""
        looked_at = self._turns.looked_at(self._clock(), self._shared())
        await self._read((*looked_at, *self._turns.others(looked_at)))

    async def _read(self, targets: Sequence[TargetKey]) -> None:
        """Read these; an Envoy that does not answer is said and stands still. Never two at the same time."""
        # Without a target too: whether an Envoy answers is said of all of them.
        until_s = self._clock() + YIELDS_FOR_S
        for asked in tuple(admin.questions(targets)) or ((),):
            answers = await asyncio.gather(
                *(self._ask(source.socket, asked, until_s) for source in self._sources)
            )
            now_s, told = self._clock(), dict[str, Sequence[RawReading]]()
            for source, answer in zip(self._sources, answers, strict=True):
                self._say(source, answer if isinstance(answer, AdminError) else None)
                if not isinstance(answer, AdminError):
                    source.read_at_s.update(dict.fromkeys(asked, now_s))
                    told[str(source.socket)] = answer
            for readings in _side_by_side(told):
                self._ledger.add(readings, now_s, self._wall_clock())
                await asyncio.sleep(0)  # a push goes out between two pages
        for target in targets:
            if (waiting := self._waited_for.pop(target, None)) is not None:
                waiting.set()

    async def _ask(
        self, socket: Path, targets: Sequence[TargetKey], until_s: float
    ) -> list[RawReading] | AdminError:
        """Ask one Envoy for some targets: first for all hosts, then for what was retried and how long it took."""
        try:
            hosts = [
                (page, await self._get(socket, admin.hosts_of(page), until_s))
                for page in admin.pages(targets)
            ]
            await asyncio.sleep(RETRIED_WITHIN_S)
            paths = admin.statistics_of(targets)
            return admin.parse(hosts, [await self._get(socket, path, until_s) for path in paths])
        except AdminError as error:
            return error

    async def _get(self, socket: Path, path: str, until_s: float) -> admin.Page:
        await self._way.free(until_s - self._clock())
        return await admin.get(socket, path)

    async def _run(self) -> None:
        while True:
            started_s = self._clock()
            try:
                await self.read()
                self._keep()
                await self._pause(started_s + READ_EVERY_S - LEAST_PAUSE_S)
            except Exception:  # the edge of this task: a reader that ended would be silent for ever
                log.exception("counter_reader_broke")
            await asyncio.sleep(max(LEAST_PAUSE_S, started_s + READ_EVERY_S - self._clock()))

    async def _pause(self, until_s: float) -> None:
        """Wait until then, and read at once whom somebody waits for."""
        while (left_s := until_s - self._clock()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._is_waited_for.wait()
                self._is_waited_for.clear()
                await self._read(tuple(self._waited_for))

    async def look(self, target: Target) -> None:
        """Have a target read every second from now on; one that nobody looked at is read first, within a second.

        Nobody waits for an Envoy that is silent: what is known of it is as old as it says.
        """
        self._turns.look(target.key, self._clock())
        if self._task is None or not self._is_behind(target.key):
            return
        waiting = self._waited_for.setdefault(target.key, asyncio.Event())
        self._is_waited_for.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(FRESH_WITHIN_S):
                await waiting.wait()

    def _is_behind(self, target: TargetKey) -> bool:
        limit_s = self._clock() - 2 * READ_EVERY_S
        return any(
            one.is_answering and one.read_at_s.get(target, -math.inf) < limit_s for one in self._sources
        )

    def _say(self, source: _Source, error: AdminError | None) -> None:
        """Log the first failure and the first success after it, not each one."""
        if source.is_answering != (error is None):
            source.is_answering = error is None
            if error is None:
                log.info("counters_answered", proxy=str(source.socket))
            else:
                log.warning("counters_failed", proxy=str(source.socket), error=str(error))

    def answering(self) -> dict[str, bool]:
        """Say by admin socket whether its Envoy answered the last time; one that was never asked does."""
        return {str(source.socket): source.is_answering for source in self._sources}

    def reading(self, target: Target) -> Reading:
        """Return the newest counters of a target's versions."""
        self._turns.look(target.key, self._clock())
        ages_s = [self._clock() - source.read_at_s.get(target.key, -math.inf) for source in self._sources]
        arms = {version: self._ledger.arm(cluster_name(target.key, version)) for version in target.versions}
        return Reading(
            generation=self._generation,
            source=_state(ages_s),
            age_s=min(max(ages_s), 1e9),
            arms={version: arm for version, arm in arms.items() if arm is not None},
            bounds_s=latency.BOUNDS_S,
        )

    def declared(self, targets: Sequence[Target]) -> None:
        """Take in which targets there are: a version that is not stable any more is remembered as an earlier one."""
        for target in targets:
            before = self._stable.get(target.key, target.stable)
            if before != target.stable:
                self._past.retire(target.key, before, cluster_name(target.key, before))
        self._stable = {target.key: target.stable for target in targets}
        self._turns.declare(targets, self._clock())
        for source in self._sources:
            source.read_at_s = {key: at_s for key, at_s in source.read_at_s.items() if key in self._stable}
        self._past.keep_targets(self._stable)

    def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what a version served in the newest `window_s` seconds, or in the shorter time that is known."""
        known = self._past.versions.get(cluster_name(target.key, version))
        if known is None:
            return History(
                window_s=0.0, total=0, failed=0, earlier=self._past.earlier_than(target.key, version)
            )
        found = known.history(window_s, self._wall_clock(), latency.BOUNDS_S)
        return replace(found, earlier=self._past.earlier_than(target.key, version))


def _state(ages_s: Sequence[float]) -> SourceState:
    """One silent Envoy makes all counts doubtful; they are gone when none answers any more."""
    if min(ages_s) > DOWN_AFTER_S:
        return SourceState.DOWN
    return SourceState.STALE if max(ages_s) > STALE_AFTER_S else SourceState.OK


def _side_by_side(told: Mapping[str, Sequence[RawReading]]) -> Iterator[dict[str, RawReading]]:
    """Yield what all proxies said about the same targets; every proxy was asked in the same pages."""
    for readings in zip(*told.values(), strict=True):
        yield dict(zip(told, readings, strict=True))
