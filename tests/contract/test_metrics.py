"""What every metric source does: counters, never verdicts, and never zeros for a source that is down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from controller.errors import SourceUnavailable, TracesUnavailable
from controller.metrics.envoy import EnvoySource
from controller.metrics.memory import MemorySource
from controller.metrics.port import MetricSource
from controller.metrics.traces import TracesSource
from controller.model.insight import RateRow
from controller.model.look import SourceState
from controller.model.searching import Range
from controller.model.target import Target
from controller.model.trace import Resource, Span
from controller.model.wealth import Tally
from controller.traces import adding
from tests.controller.routing.keeping import KEY, SHOP, HandClock, open_desk

HOUR_S = 1_699_999_200.0
"""Begin of an hour, seconds since 1970."""


@dataclass(slots=True)
class Bench:
    """A source and the ways to move the world behind it."""

    source: MetricSource
    clock: HandClock
    count: Callable[[int, int], None]
    """Let stable serve so many requests, so many of them failing."""
    serve: Callable[[dict[str, int], float], None]
    """Let instances of stable serve so many good requests, each so many seconds long."""
    set_state: Callable[[SourceState, float], Awaitable[None]]
    """Let the numbers be so and so many seconds old."""
    restart: Callable[[], None]


@pytest.fixture(params=["memory", "envoy", "traces"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each source."""
    if request.param == "traces":
        yield traced_bench()
        return
    if request.param == "memory":
        clock = HandClock()
        source = MemorySource(clock=clock.boot_s)
        source.count(KEY, "v1", total=0)

        async def set_memory(state: SourceState, age_s: float) -> None:
            source.is_down, source.state, source.age_s = state is SourceState.DOWN, state, age_s

        def serve_memory(instances: dict[str, int], took_s: float) -> None:
            for name, total in instances.items():
                source.count(KEY, "v1", total=total, instance=name, took_s=took_s)

        yield Bench(
            source,
            clock,
            lambda total, failed: source.count(KEY, "v1", total=total, failed=failed),
            serve_memory,
            set_memory,
            source.restart,
        )
        return
    desk = await open_desk()
    await desk.keeper.declare(SHOP)
    desk.plane.serve(KEY, 0)

    def count(total: int, failed: int) -> None:
        left = iter([False] * failed + [True] * (total - failed))
        desk.plane.serve(KEY, total, lambda version: next(left))

    def serve(instances: dict[str, int], took_s: float) -> None:
        desk.plane.instances["v1"] = len(instances)
        desk.plane.serve(KEY, sum(instances.values()), times_s=lambda version: took_s)

    async def set_state(state: SourceState, age_s: float) -> None:
        desk.plane.mischief.source, desk.plane.mischief.age_s = state, age_s

    yield Bench(
        EnvoySource(counters=desk.keeper.counters, history=desk.keeper.history),
        desk.clock,
        count,
        serve,
        set_state,
        desk.plane.restart,
    )
    await desk.keeper.aclose()


def traced_bench() -> Bench:
    """The source `traces` over spans in a list, which the store's own rule adds up."""
    clock = HandClock()
    spans: list[Span] = []
    is_down = False

    def now_ns() -> int:
        return round((HOUR_S + 500 + clock.boot_s()) * 1e9)

    async def rates(service: str, within: Range, every_s: int) -> tuple[RateRow, ...]:
        if is_down:
            raise TracesUnavailable("the store is down")
        return adding.rates(spans, service, within, every_s)

    def take(total: int, failed: int = 0, took_s: float = 0.0) -> None:
        version = Resource({"service.name": SHOP.name, "service.version": "v1"})
        began_ns = now_ns() - 5 * 10**9
        spans.extend(
            Span(
                "a" * 32,
                "b" * 16,
                "",
                "GET /",
                "server",
                began_ns,
                round(took_s * 1e9),
                status,
                resource=version,
            )
            for status in ["error"] * failed + ["unset"] * (total - failed)
        )

    source = TracesSource(rates=rates, now_ns=now_ns, stale_after_s=3.0)

    async def set_state(state: SourceState, age_s: float) -> None:
        nonlocal is_down
        await source.read(SHOP)
        clock.now_s += age_s
        is_down = state is SourceState.DOWN

    def restart() -> None:
        clock.now_s += 3_600.0

    def serve(instances: dict[str, int], took_s: float) -> None:
        take(sum(instances.values()), took_s=took_s)

    return Bench(source, clock, take, serve, set_state, restart)


async def test_counters_only_grow(bench: Bench) -> None:
    """Readings are cumulative: the second holds the first."""
    bench.count(100, 3)
    first = await bench.source.read(SHOP)
    bench.count(50, 2)

    second = await bench.source.read(SHOP)

    assert (first.arms["v1"].total, first.arms["v1"].failed) == (100, 3)
    assert (second.arms["v1"].total, second.arms["v1"].failed) == (150, 5)
    assert (second.source, second.generation) == (SourceState.OK, first.generation)


async def test_a_restart_is_another_generation(bench: Bench) -> None:
    """Counters that begin again say so."""
    bench.count(100, 0)
    before = await bench.source.read(SHOP)

    bench.restart()
    bench.count(7, 0)

    after = await bench.source.read(SHOP)
    assert after.generation != before.generation
    assert after.arms["v1"].total == 7


async def test_stale_numbers_say_so(bench: Bench) -> None:
    """Old numbers arrive with their age and their state."""
    bench.count(10, 0)
    await bench.set_state(SourceState.STALE, 4.0)

    reading = await bench.source.read(SHOP)

    assert (reading.source, reading.age_s) == (SourceState.STALE, 4.0)


async def test_a_source_that_is_down_raises(bench: Bench) -> None:
    """No answer is an error and never a reading of zeros."""
    bench.count(10, 0)
    await bench.set_state(SourceState.DOWN, 60.0)

    with pytest.raises(SourceUnavailable):
        await bench.source.read(SHOP)


async def test_history_covers_the_window(bench: Bench) -> None:
    """History counts what lies inside the window and says how long it was."""
    bench.clock.now_s += 10
    bench.count(100, 1)
    bench.clock.now_s += 10
    bench.count(40, 4)

    short = await bench.source.history(SHOP, "v1", 10.0)
    long = await bench.source.history(SHOP, "v1", 3_600.0)

    assert (short.window_s, short.total, short.failed) == (10.0, 40, 4)
    assert (long.window_s, long.total, long.failed) == (20.0, 140, 5)


async def test_latencies_are_cumulative_counts(bench: Bench) -> None:
    """Bounds grow, there is one bucket more than bounds, and each bucket only grows."""
    readings = []
    for took_s in (0.0, 0.05, 100.0, 0.05):
        bench.serve({"a": 10}, took_s)
        readings.append(await bench.source.read(SHOP))

    buckets = [reading.arms["v1"].buckets for reading in readings]
    (bounds_s,) = {reading.bounds_s for reading in readings}
    assert list(bounds_s) == sorted(set(bounds_s))
    assert {len(one) for one in buckets} == {len(bounds_s) + 1}
    assert [sum(one) for one in buckets] == [10, 20, 30, 40]
    assert all(new >= old for two in pairwise(buckets) for old, new in zip(*two, strict=True))
    assert buckets[-1][-1] == 10  # 100 s are above every bound


async def test_history_tells_minutes_and_instances_apart(bench: Bench) -> None:
    """One row a minute, one column an instance, empty where one did not serve; everything adds up."""
    bench.serve({}, 0.0)
    for instances in ({"a": 30}, {"a": 20, "b": 20}, {"a": 4, "b": 4}):
        bench.clock.now_s += 60
        bench.serve(instances, 0.05)

    history = await bench.source.history(SHOP, "v1", 3_600.0)

    assert (history.total, history.failed, sum(history.buckets)) == (78, 0, 78)
    assert len(history.buckets) == len(history.bounds_s) + 1
    if not bench.source.capabilities().has_instances:
        assert (history.minutes, history.instances) == ((), ())
        return
    assert [[one.total for one in minute] for minute in history.minutes] == [[30, 0], [20, 20], [4, 4]]
    assert sum(one.total for one in history.instances) == history.total
    assert sum(one.failed for one in history.instances) == history.failed
    assert history.window_s == 180.0


async def test_history_is_at_most_an_hour_of_minutes(bench: Bench) -> None:
    """What is older is forgotten, by minute and in the sums alike."""
    for _ in range(70):
        bench.clock.now_s += 60
        bench.count(10, 1)

    history = await bench.source.history(SHOP, "v1", 3_600.0)

    assert len(history.minutes) <= 60
    assert 590 <= history.total == sum(history.buckets) <= 600
    if bench.source.capabilities().has_instances:
        assert history.total == sum(one.total for one in history.instances)
    assert history.failed * 10 == history.total == history.window_s / 60 * 10


async def test_nothing_served_is_an_empty_history(bench: Bench) -> None:
    """A version without a request has no window, no requests and no failures."""
    history = await bench.source.history(SHOP, "v3", 60.0)

    assert (history.total, history.failed, history.requests_per_s) == (0, 0, 0.0)


async def test_capabilities_are_said(bench: Bench) -> None:
    """The edge counts every request by instance, and repeats none that was served; spans may be lost or repeated."""
    able = bench.source.capabilities()

    said = (able.is_exact, able.has_instances, able.has_latency, able.largest_group)
    is_traced = isinstance(bench.source, TracesSource)
    assert said == ((False, False, True, None) if is_traced else (True, True, True, 1))


async def test_a_target_the_router_forgot_is_a_source_that_is_down() -> None:
    """An undeclared target has no evidence: that is said as such, not as an unknown target."""
    desk = await open_desk()
    source = EnvoySource(counters=desk.keeper.counters, history=desk.keeper.history)
    nobody: Target = replace(SHOP, name="nobody")

    with pytest.raises(SourceUnavailable):
        await source.read(nobody)
    with pytest.raises(SourceUnavailable):
        await source.history(nobody, "v1", 60.0)

    await desk.keeper.aclose()


async def test_history_names_the_instances_of_earlier_versions() -> None:
    """After a promotion the instances of the version before are told with the new one's history."""
    desk = await open_desk()
    await desk.keeper.declare(SHOP)
    source = EnvoySource(counters=desk.keeper.counters, history=desk.keeper.history)
    desk.plane.instances["v1"] = 2
    desk.plane.serve(KEY, 0)
    desk.clock.now_s += 30
    desk.plane.serve(KEY, 10)
    await desk.keeper.promote(KEY, "rel-1", "v2")

    (promoted,) = await desk.keeper.targets()
    history = await source.history(promoted, "v2", 3_600.0)

    assert (history.total, history.earlier) == (0, (Tally(5), Tally(5)))
    await desk.keeper.aclose()
