"""Shifts under load, seen from outside: when the first request met the new share, and when the last met the old one.

Before it: `run`. After it: numbers. A shift is a call of the keeper in the router process, as a judge makes it: a grant
of the whole traffic, or the close of the release; both wait for the disk and for Envoy. Four probes ask all the time,
each over its own connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from controller.errors import RouterUnavailable
from controller.model.lease import ClosureKind
from controller.model.target import Target
from controller.routing.remote import RemoteKeeper
from tests.bench.routing.backends import Load, versions
from tests.controller.routing.edge import Edge, RouterProcess, applied
from tests.controller.routing.keeping import KEY, asking

PROBES = 4
PAUSE_S = 0.001
TERM_S = 60.0


@dataclass(slots=True)
class Outcome:
    """What one series of shifts showed; seconds.

    Args:
        first: From the call to the start of the first request on the new side, by shift.
        last: From the call to the start of the last request on the old side; 0 where none started after the call.
        call: How long each call took.
        requests: Of the probes and of the load.
        failed: Of those, the ones that failed.
        unseen: Shifts in which no probe met the new side before the next one.
    """

    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    call: list[float] = field(default_factory=list)
    requests: int = 0
    failed: int = 0
    unseen: int = 0


@dataclass(slots=True)
class Probes:
    """Callers that write down when they asked and who answered."""

    edge: Edge
    seen: list[tuple[float, str]] = field(default_factory=list)
    failed: int = 0
    is_over: bool = False

    async def run(self) -> None:
        """Ask until it is over."""
        await asyncio.gather(*(self._ask() for _ in range(PROBES)))

    async def _ask(self) -> None:
        while not self.is_over:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.edge.port)
                with suppress(OSError, asyncio.IncompleteReadError):
                    await self._over(reader, writer)
                writer.close()

    async def _over(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self.is_over:
            began_s = time.monotonic()
            writer.write(b"GET / HTTP/1.1\r\nhost: catalog.localhost\r\n\r\n")
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(2)
            except (OSError, asyncio.IncompleteReadError):
                self.failed += 1
                raise
            is_well = head.startswith(b"HTTP/1.1 200")
            self.failed += not is_well
            if is_well:
                self.seen.append((began_s, body.decode()))
            await asyncio.sleep(PAUSE_S)


async def measure(folder: Path, *, shifts: int, gap_s: float, rate: float) -> Outcome:
    """Run a series.

    Args:
        folder: Short, because unix sockets are in it.
        shifts: How many; every second one is a grant, the others are closes.
        gap_s: Between the end of a call and the next one.
        rate: Requests a second beside the probes; 0 for none.
    """
    edge = Edge(folder)
    router, keeper = RouterProcess(edge), RemoteKeeper(folder / "router.sock")
    load = Load(edge.port, rate, folder)
    with versions(folder) as places:
        try:
            router.start()
            edge.start()
            await _declare(keeper, Target("catalog", "v1", {name: (one,) for name, one in places.items()}))
            await edge.answers(200)
            if rate:
                load.start()
                await asyncio.sleep(2)
            outcome = await _shift(edge, keeper, shifts, gap_s)
            if rate:
                requests, failed = load.finish()
                outcome.requests += requests
                outcome.failed += failed
        finally:
            if load.process is not None:
                load.process.kill()
            router.kill()
            edge.kill()
            await keeper.aclose()
    return outcome


async def _declare(keeper: RemoteKeeper, target: Target) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(RouterUnavailable):
                await keeper.declare(target)
                await applied(keeper, KEY)
                return
            await asyncio.sleep(0.05)


async def _shift(edge: Edge, keeper: RemoteKeeper, shifts: int, gap_s: float) -> Outcome:
    probes, outcome = Probes(edge), Outcome()
    asking_all = asyncio.create_task(probes.run())
    await asyncio.sleep(0.3)
    calls: list[tuple[float, str]] = []
    for number in range(shifts):
        release = f"rel-{number // 2}"
        called_s = time.monotonic()
        if number % 2 == 0:
            await keeper.grant(asking(release, share=10_000, after=number // 2, term_s=TERM_S))
        else:
            await keeper.close(KEY, release, ClosureKind.FAILED, "bench")
        outcome.call.append(time.monotonic() - called_s)
        calls.append((called_s, "v2" if number % 2 == 0 else "v1"))
        await asyncio.sleep(gap_s)
    probes.is_over = True
    await asking_all
    outcome.requests, outcome.failed = len(probes.seen) + probes.failed, probes.failed
    _sum_up(outcome, calls, sorted(probes.seen))
    return outcome


def _sum_up(outcome: Outcome, calls: Sequence[tuple[float, str]], seen: Sequence[tuple[float, str]]) -> None:
    ends = [called_s for called_s, _ in calls[1:]] + [float("inf")]
    for (called_s, new), end_s in zip(calls, ends, strict=True):
        during = [(began_s - called_s, who) for began_s, who in seen if called_s <= began_s < end_s]
        met = [after_s for after_s, who in during if who == new]
        if met:
            outcome.first.append(met[0])
        else:
            outcome.unseen += 1
        outcome.last.append(max((after_s for after_s, who in during if who != new), default=0.0))
