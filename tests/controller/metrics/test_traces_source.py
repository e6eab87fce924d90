"""The metric source `traces`: what counts once, what is stale, and that nothing unseen promotes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count

import pytest

from controller.analysis.beginning import begin_release
from controller.analysis.engine import judge
from controller.errors import NotFound, SourceUnavailable, TracesUnavailable
from controller.metrics import traces
from controller.metrics.traces import TracesSource
from controller.model.insight import RateRow
from controller.model.look import Arm, History, Look, Reading, SourceState
from controller.model.plan import Plan, Policy, Step
from controller.model.searching import Range
from controller.model.share import BasisPoints
from controller.model.target import TargetKey
from controller.model.trace import Resource, Span
from controller.model.verdict import Decision
from controller.traces import adding
from tests.controller.routing.keeping import KEY, SHOP

HOUR_S = 1_699_999_200
NUMBERS = count(1)


class Bench:
    """Spans in a list, the edge's counts, and a clock set by hand."""

    def __init__(self, *, has_edge: bool = False) -> None:
        self.now_s = HOUR_S + 600.0
        self.spans: list[Span] = []
        self.edge = Reading("edge", SourceState.OK, 0.0, {})
        self.error: Exception | None = None
        self.delay_s = 0.0
        self.source = self.another(has_edge=has_edge)

    def another(self, *, has_edge: bool = False) -> TracesSource:
        """Return a source as another worker has it."""
        counters = self._counters if has_edge else None
        return TracesSource(rates=self._rates, counters=counters, now_ns=lambda: round(self.now_s * 1e9))

    def serve(
        self,
        version: str,
        total: int,
        failed: int = 0,
        *,
        ago_s: float = 1.0,
        kind: str = "server",
        seen: bool = True,
    ) -> None:
        """Let a version serve; the edge counts it, and its spans arrive now unless they are lost."""
        began_ns = round((self.now_s - ago_s) * 1e9)
        resource = Resource({"service.name": SHOP.name, "service.version": version})
        for status in ["error"] * failed + ["unset"] * (total - failed):
            if seen:
                span_id = f"{next(NUMBERS):016x}"
                self.spans.append(
                    Span("a" * 32, span_id, "", "GET /", kind, began_ns, 1_000_000, status, resource=resource)
                )
        arm = self.edge.arms.get(version, Arm())
        arms = {**self.edge.arms, version: replace(arm, total=arm.total + total, failed=arm.failed + failed)}
        self.edge = replace(self.edge, arms=arms)

    async def read(self) -> Reading:
        """Read."""
        return await self.source.read(SHOP)

    async def _rates(self, service: str, within: Range, every_s: int) -> tuple[RateRow, ...]:
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        return adding.rates(self.spans, service, within, every_s)

    async def _counters(self, target: TargetKey) -> Reading:
        assert target == KEY
        if self.edge.generation == "":
            raise NotFound("no such target")
        return self.edge


def totals(reading: Reading) -> dict[str, tuple[int, int]]:
    """Return total and failed by version."""
    return {version: (arm.total, arm.failed) for version, arm in reading.arms.items()}


async def test_arms_are_told_apart_by_version() -> None:
    """Whatever else a span carries; only requests that were served count."""
    bench = Bench()
    bench.serve("v1", 100, 3)
    bench.serve("v2", 10, 2)
    bench.serve("v1", 50, kind="client")
    bench.serve("v1", 50, kind="consumer")

    reading = await bench.read()

    assert totals(reading) == {"v1": (100, 3), "v2": (10, 2)}
    assert sum(reading.arms["v1"].buckets) == 100


async def test_a_late_span_counts_once() -> None:
    """It counts when it arrives, up to two minutes after its start, however often it is read."""
    bench = Bench()
    bench.serve("v1", 10)
    await bench.read()

    bench.now_s += 90
    bench.serve("v1", 5, 5, ago_s=85)
    second = await bench.read()
    bench.now_s += 300
    bench.serve("v1", 1)
    bench.serve("v1", 7, ago_s=290)
    third = await bench.read()
    bench.now_s += 300
    await bench.read()
    bench.serve("v1", 9, ago_s=290)
    last = await bench.read()

    assert [totals(one)["v1"] for one in (second, third, last)] == [(15, 5), (23, 5), (23, 5)]


async def test_every_worker_reads_the_same() -> None:
    """A worker that starts anew misses nothing of the running hour, in the same generation."""
    bench = Bench()
    for _ in range(20):
        bench.now_s += 30
        bench.serve("v1", 10, 1)
        first = await bench.read()

    second = await bench.another().read(SHOP)

    assert totals(first) == totals(second) == {"v1": (200, 20)}
    assert first.generation == second.generation


async def test_an_hour_is_a_generation() -> None:
    """Nothing of the hour before is in the next one, so that nothing counts twice."""
    bench = Bench()
    bench.now_s = HOUR_S + 3_599.5
    bench.serve("v1", 10)
    before = await bench.read()

    bench.now_s += 1
    bench.serve("v1", 3, ago_s=0)
    after = await bench.read()

    assert totals(after) == {"v1": (3, 0)}
    assert after.generation != before.generation


async def test_a_store_that_forgets_takes_nothing_back() -> None:
    """Counters never fall within a generation."""
    bench = Bench()
    bench.serve("v1", 10)
    await bench.read()

    bench.spans.clear()
    bench.serve("v1", 4)
    forgotten = await bench.read()
    bench.serve("v1", 2)
    later = await bench.read()

    assert [totals(one)["v1"][0] for one in (forgotten, later)] == [10, 12]


async def test_no_span_for_long_is_stale() -> None:
    """A quiet service and a broken exporter look the same: neither is well."""
    bench = Bench()
    bench.serve("v1", 10)
    states = [(await bench.read()).source]
    for quiet_s in (9, 2, 60):
        bench.now_s += quiet_s
        states.append((await bench.read()).source)
    bench.serve("v2", 1)
    again = await bench.read()

    assert states == [SourceState.OK, SourceState.OK, SourceState.STALE, SourceState.STALE]
    assert (again.source, again.age_s) == (SourceState.OK, 0.0)


@pytest.mark.parametrize("error", [TracesUnavailable("the store is down"), None])
async def test_a_store_that_does_not_answer_is_a_source_that_is_down(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error at once, a slow one within the port's second; never zeros."""
    # The bounds are 0.9 and 5 s: too long to wait here.
    monkeypatch.setattr(traces, "DEADLINE_S", 0.02)
    monkeypatch.setattr(traces, "HISTORY_DEADLINE_S", 0.02)
    bench = Bench()
    bench.error, bench.delay_s = error, 0.0 if error else 60.0

    with pytest.raises(SourceUnavailable):
        await bench.read()
    with pytest.raises(SourceUnavailable):
        await bench.source.history(SHOP, "v1", 60.0)


async def test_the_edge_tells_what_spans_cannot() -> None:
    """Requests in flight and readiness; without it nobody could say that a version is drained."""
    bench = Bench(has_edge=True)
    bench.serve("v1", 10)
    arms = {"v1": Arm(total=10, in_flight=4), "v2": Arm(ready=False)}
    bench.edge = replace(bench.edge, arms=arms)

    reading = await bench.read()
    bench.edge = replace(bench.edge, source=SourceState.DOWN)
    with pytest.raises(SourceUnavailable):
        await bench.read()
    bench.edge = Reading("")
    with pytest.raises(SourceUnavailable):
        await bench.read()

    assert (reading.arms["v1"].total, reading.arms["v1"].in_flight) == (10, 4)
    assert (reading.arms["v2"].total, reading.arms["v2"].ready) == (0, False)
    assert len(reading.arms["v2"].buckets) == len(reading.bounds_s) + 1


async def test_a_history_is_told_by_minute() -> None:
    """Of one version, at most an hour, and no longer than it was there."""
    bench = Bench()
    for minute in range(90):
        bench.now_s += 60
        bench.serve("v1", 10, 1)
        if minute >= 80:
            bench.serve("v2", 5)

    old = await bench.source.history(SHOP, "v1", 3_600.0)
    new = await bench.source.history(SHOP, "v2", 3_600.0)
    short = await bench.source.history(SHOP, "v1", 120.0)

    assert (old.window_s, old.total, old.failed, len(old.bucket_minutes)) == (3_600.0, 600, 60, 60)
    assert (new.window_s, new.total, new.failed) == (600.0, 50, 0)
    assert (short.window_s, short.total) == (120.0, 20)


PLAN = Plan("p", (Step(BasisPoints(5000), hold_s=60),))
POLICY = Policy("p", warmup_s=0)


async def verdicts(bench: Bench, *, seconds: int, lost: str) -> tuple[list[Decision], Reading]:
    """Judge a canary of which every fifth request fails, while certain spans are lost.

    Args:
        bench: The world.
        seconds: How long.
        lost: failed, canary or all.
    """
    evidence = begin_release(PLAN, POLICY, History(600, 60_000, 60))
    evidence = replace(evidence, share=BasisPoints(5000))
    found = []
    for number in range(seconds):
        bench.now_s += 1
        bench.serve("v1", 20, seen=lost != "all")
        bench.serve("v2", 16, seen=lost not in ("all", "canary"))
        bench.serve("v2", 4, 4, seen=not lost)
        reading = await bench.read()
        look = Look(
            number + 1,
            float(number),
            reading.source,
            reading.generation,
            reading.arms.get("v1", Arm()),
            reading.arms.get("v2", Arm()),
        )
        evidence, verdict = judge(POLICY, evidence, look)
        found.append(verdict.decision)
    return found, reading


async def test_a_failing_canary_is_failed() -> None:
    """With all its spans it is taken back within seconds."""
    found, _ = await verdicts(Bench(has_edge=True), seconds=15, lost="")

    assert found[-1] is Decision.FAIL


async def test_a_version_that_just_began_is_not_well_yet() -> None:
    """Ten seconds without a failure prove nothing, as spans may be on their way; a failure that was seen counts at once."""
    clean, failing = Bench(has_edge=True), Bench(has_edge=True)
    states: list[list[SourceState]] = [[], []]
    for _ in range(14):
        for bench, failed, told in zip((clean, failing), (0, 1), states, strict=True):
            bench.now_s += 1
            bench.serve("v1", 20)
            bench.serve("v2", 20 if len(told) >= 1 else 0, failed if len(told) >= 1 else 0)
            told.append((await bench.read()).source)

    assert states[0] == [SourceState.OK] + [SourceState.STALE] * 10 + [SourceState.OK] * 3
    assert set(states[1][1:]) == {SourceState.OK}


@pytest.mark.parametrize("lost", ["failed", "canary", "all"])
async def test_missing_spans_never_promote(lost: str) -> None:
    """Whether those of failed requests, of the canary or of everybody get lost: no step is passed."""
    found, reading = await verdicts(Bench(has_edge=True), seconds=150, lost=lost)

    assert Decision.PASS not in found
    assert reading.source is SourceState.STALE
