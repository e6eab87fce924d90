"""Forwarding to another collector: in order, joined, tried again, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client.exposition import generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controller.egress import Egress
from controller.ingest.counts import Metrics
from controller.ingest.forwarding import MOST_JOINED, TOO_LATE_S, Forwarder
from controller.ingest.intake import Intake
from controller.model.telemetry import Signal
from controller.traces.memory import MemoryTraces
from tests.controller.ingest import otlp
from tests.controller.ingest.served import on_loopback


class Collector:
    """Answers POSTs with statuses from a list, the last one for ever, and keeps what it took."""

    def __init__(self, *statuses: int, retry_after: str = "") -> None:
        self.statuses = list(statuses) or [200]
        self.retry_after = retry_after
        self.seen: list[tuple[str, str, bytes]] = []
        self.taken: list[tuple[str, bytes]] = []

    async def post(self, request: Request) -> Response:
        body = await request.body()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.seen.append((request.url.path, request.headers["content-type"], body))
        if status == 200:
            self.taken.append((request.url.path, body))
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        return Response(status_code=status, headers=headers)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.post, methods=["POST"])])


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


@asynccontextmanager
async def forwarding(
    collector: Collector, *, queue_bytes: int = 1 << 20, allowed: bool = True
) -> AsyncIterator[tuple[Forwarder, Metrics, Time]]:
    metrics, time = Metrics(MemoryTraces()), Time()
    async with on_loopback(collector.app) as port:
        forwarder = Forwarder(
            f"http://127.0.0.1:{port}/",
            egress=Egress((f"127.0.0.1:{port}",) if allowed else ()),
            queue_bytes=queue_bytes,
            metrics=metrics,
            sleep=time.sleep,
            clock=lambda: time.now_s,
        )
        running = asyncio.create_task(forwarder.run())
        try:
            yield forwarder, metrics, time
        finally:
            running.cancel()
            await asyncio.wait([running])


def counted(metrics: Metrics, outcome: str) -> float:
    return metrics.forwarded.labels(outcome)._value.get()  # type: ignore[no-any-return]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.005)


async def test_bodies_arrive_on_the_paths_of_otlp() -> None:
    """Each signal on its own path, as protobuf, in order; what waits together is joined."""
    collector = Collector()
    async with forwarding(collector) as (forwarder, metrics, _):
        for signal, body in (
            (Signal.TRACES, otlp.many(1)),
            (Signal.TRACES, otlp.many(2)),
            (Signal.LOGS, otlp.a_log()),
            (Signal.METRICS, otlp.a_point()),
        ):
            forwarder.offer(signal, body)
        await until(lambda: len(collector.taken) == 3)
        await until(lambda: counted(metrics, "sent") > 0)

    assert collector.seen == [
        ("/v1/traces", "application/x-protobuf", otlp.many(1) + otlp.many(2)),
        ("/v1/logs", "application/x-protobuf", otlp.a_log()),
        ("/v1/metrics", "application/x-protobuf", otlp.a_point()),
    ]


async def test_joined_bodies_are_bounded() -> None:
    """No request is longer than collectors take, unless one body is."""
    collector = Collector()
    half = bytes(MOST_JOINED // 2)
    async with forwarding(collector, queue_bytes=4 * MOST_JOINED) as (forwarder, _, _):
        for body in (half, half, half, bytes(MOST_JOINED + 1)):
            forwarder.offer(Signal.TRACES, body)
        await until(lambda: len(collector.taken) == 3)

    assert [len(body) for _, body in collector.taken] == [MOST_JOINED, MOST_JOINED // 2, MOST_JOINED + 1]


async def test_what_may_come_again_is_tried_again_with_growing_pauses() -> None:
    """429, 502, 503 and 504 are asked again, and nothing overtakes."""
    collector = Collector(429, 502, 503, 504, 200)
    async with forwarding(collector) as (forwarder, _, time):
        forwarder.offer(Signal.LOGS, b"first")
        forwarder.offer(Signal.METRICS, b"second")
        await until(lambda: len(collector.taken) == 2)

    assert [body for _, body in collector.taken] == [b"first", b"second"]
    assert time.slept == [0.5, 1.0, 2.0, 4.0]


async def test_asked_pause_is_kept() -> None:
    """Retry-After counts when it is longer than ours, and is bounded."""
    collector = Collector(429, 200, retry_after="7")
    async with forwarding(collector) as (forwarder, _, time):
        forwarder.offer(Signal.LOGS, b"x")
        await until(lambda: len(collector.taken) == 1)
        collector.statuses, collector.retry_after = [429, 200], "100000"
        forwarder.offer(Signal.LOGS, b"y")
        await until(lambda: len(collector.taken) == 2)

    assert time.slept == [7.0, 30.0]


async def test_refusal_is_final() -> None:
    """A collector that does not want a body is not asked twice; the next body is offered."""
    collector = Collector(400, 200)
    async with forwarding(collector) as (forwarder, metrics, time):
        forwarder.offer(Signal.LOGS, b"bad")
        forwarder.offer(Signal.METRICS, b"good")
        await until(lambda: len(collector.taken) == 1)

    assert (counted(metrics, "refused"), time.slept) == (3, [])


async def test_collector_that_is_down_costs_the_oldest_after_five_minutes() -> None:
    """The queue is not held up for ever, and what is dropped is counted."""
    collector = Collector(503)
    async with forwarding(collector) as (forwarder, metrics, time):
        forwarder.offer(Signal.LOGS, b"old")
        await until(lambda: counted(metrics, "dropped") == 3)

    assert TOO_LATE_S - 30 <= time.now_s <= TOO_LATE_S


async def test_queue_is_bounded_in_bytes() -> None:
    """What finds no room is dropped and counted; offering never waits."""
    metrics = Metrics(MemoryTraces())
    forwarder = Forwarder("https://collector.example", egress=Egress(), queue_bytes=10, metrics=metrics)

    for _ in range(5):
        forwarder.offer(Signal.TRACES, b"1234")

    assert counted(metrics, "dropped") == 12
    assert b"serinus_otlp_forward_queue_bytes 8.0" in generate_latest(metrics._registry)


async def test_guard_decides_where_it_goes() -> None:
    """Without an entry on the allow list nothing reaches loopback, whatever the setting says."""
    collector = Collector()
    async with forwarding(collector, allowed=False) as (forwarder, metrics, _):
        forwarder.offer(Signal.LOGS, b"x")
        await until(lambda: counted(metrics, "dropped") == 1)

    assert collector.seen == []


async def test_only_what_was_kept_goes_on_and_a_dead_collector_slows_nobody() -> None:
    """The intake offers what the store has, without what was left out of it."""
    metrics = Metrics(MemoryTraces())
    forwarder = Forwarder("https://collector.example", egress=Egress(), queue_bytes=1 << 20, metrics=metrics)
    offered: list[tuple[Signal, bytes]] = []
    forwarder.offer = lambda signal, body: offered.append((signal, body))  # type: ignore[method-assign]  # to look at it

    class Picky(MemoryTraces):
        async def ingest(self, bodies: Sequence[bytes]) -> None:
            await super().ingest(bodies)

    intake = Intake(Picky(), max_body_bytes=100_000, forwarder=forwarder, metrics=metrics)
    message, _ = otlp.a_span()
    good = message.SerializeToString()
    message.resource_spans[0].scope_spans[0].spans.add(name="nobody")
    await intake.take(message.SerializeToString(), "application/x-protobuf", Signal.TRACES)

    assert offered == [(Signal.TRACES, good)]
