"""What must hold when parts die: the right outcome, and stable serves throughout. On the real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from controller.embedded.stack import open_stack
from controller.settings import load
from tests.e2e.drill import GATE, Drill, until

pytestmark = [
    pytest.mark.process,
    # The users' own connections break when Envoy is killed; that is the point.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

LEASE_TERM_S = 5.0
BLIND = {"name": "blind", "judge": "threshold", "max_error_percent": 100, "min_requests": 40}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def drill(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Drill]:
    settings = load({"SERINUS_STATE_DIR": str(tmp_path_factory.mktemp("stack") / "state")})
    async with open_stack(settings, tell=lambda event: None) as stack:
        await stack.ready()
        found = Drill(stack)
        yield found
        await found.keeper.aclose()


def pid_of(drill: Drill, part: str) -> int:
    return next(int(str(each["pid"])) for each in drill.stack.supervisor.status() if each["name"] == part)


async def test_parts_killed_one_after_another_change_no_outcome(drill: Drill) -> None:
    """Kill -9 of five parts in one step: the good version is promoted, the bad one rolled back, stable never failed."""
    await survives(drill, "all", ("controller", "telemetry", "router", "temporal", "worker"))


@pytest.mark.long
@pytest.mark.parametrize("part", ["controller", "telemetry", "router", "temporal", "worker"])
@pytest.mark.parametrize("after_s", [0.0, 1.3, 2.7, 4.1])
async def test_a_killed_part_changes_no_outcome(drill: Drill, part: str, after_s: float) -> None:
    """Kill -9 of one part at different moments of a step: the same."""
    await survives(drill, f"{part}-{int(after_s * 10)}", (part,), after_s=after_s)


async def survives(drill: Drill, name: str, parts: tuple[str, ...], *, after_s: float = 0.0) -> None:
    """Kill parts, a second apart, while a good and a bad release are in their step, and check what must hold."""
    async with drill.both(name) as both:
        await asyncio.sleep(after_s)
        for part in parts:
            drill.stack.kill(part)
            await asyncio.sleep(1 if len(parts) > 1 else 0)
        good, bad = await asyncio.gather(drill.outcome(both.good), drill.outcome(both.bad))
        ended = time.time()
        await asyncio.sleep(1)  # users after the end: none of them may meet the bad version

    assert (good["outcome"], bad["outcome"]) == ("promoted", "rolled_back"), (good["reason"], bad["reason"])
    assert both.good_users.failures_of_stable() == []
    assert both.bad_users.failures_of_stable() == []
    assert both.bad_users.canary_failures_after(ended) == 0
    assert (await drill.observe(f"{name}-bad")).lease is None


async def test_a_killed_envoy_is_a_gap_and_no_more(drill: Drill) -> None:
    """Kill -9 of the edge: right outcomes; users fail only until it is back."""
    async with drill.both("kill-envoy") as both:
        killed = time.time()
        drill.stack.kill("envoy")
        good, bad = await asyncio.gather(drill.outcome(both.good), drill.outcome(both.bad))

    assert (good["outcome"], bad["outcome"]) == ("promoted", "rolled_back"), (good["reason"], bad["reason"])
    failures = both.good_users.failures_of_stable() + both.bad_users.failures_of_stable()
    gap_s = max((each.at for each in failures), default=killed) - killed
    print(
        f"envoy killed: {len(failures)} requests of 2 x 60/s failed, the last one {gap_s:.2f} s after the kill"
    )
    assert all(killed - 5 <= each.at <= killed + 10 for each in failures)


@pytest.mark.long
async def test_a_frozen_worker_gives_the_share_back_within_the_lease(drill: Drill) -> None:
    """Nobody judges: the canary's share ends with the term of the lease, and comes back with the next judge."""
    users = await drill.declare("frozen")
    task = asyncio.create_task(users.run())
    release = await drill.start("frozen", "v3", plan=GATE, policy=BLIND)
    await drill.exposed("frozen")
    worker = pid_of(drill, "worker")
    os.kill(worker, signal.SIGSTOP)
    stopped = time.time()
    try:
        await until(lambda: no_lease(drill, "frozen"), within_s=LEASE_TERM_S + 3, what="the lease lapses")
        lapsed_s = time.time() - stopped
        await asyncio.sleep(0.5)
        assert users.canary_failures_after(stopped + LEASE_TERM_S + 1) == 0
    finally:
        os.kill(worker, signal.SIGCONT)
    print(f"worker frozen: the share was back on stable after {lapsed_s:.1f} s")
    await drill.tell(release, "abort")
    assert (await drill.outcome(release))["outcome"] == "aborted"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def no_lease(drill: Drill, target: str) -> bool:
    return (await drill.observe(target)).lease is None


async def test_a_killed_candidate_is_rolled_back(drill: Drill) -> None:
    """Kill -9 of the canary's process: rolled back by itself, as what it is."""
    release = await drill.start("catalog", "v2", plan=GATE)
    await drill.exposed("catalog")
    killed = time.time()

    drill.stack.kill("catalog.v2")
    ended = await drill.outcome(release)

    print(f"candidate killed: rolled back after {time.time() - killed:.1f} s")
    assert ended["outcome"] == "rolled_back"
    assert ended["verdict"]["ground"] in ("candidate_restarted", "candidate_not_ready", "rail_failing")
    await drill.drained(release)  # its version is stopped meanwhile; the next drill starts it again
    assert (await drill.observe("catalog")).stable == "v1"


@pytest.mark.long
async def test_between_close_and_report_it_stays_closed(drill: Drill) -> None:
    """The judge closed, Temporal was away, the judge died: the next one finds the closure and its verdict."""
    users = await drill.declare("between")
    task = asyncio.create_task(users.run())
    release = await drill.start("between", "v3")
    await drill.exposed("between")
    temporal = pid_of(drill, "temporal")
    os.kill(temporal, signal.SIGSTOP)
    try:
        await until(lambda: no_lease(drill, "between"), within_s=30, what="the judge closes by itself")
        closed = time.time()
        drill.stack.kill("worker")
    finally:
        os.kill(temporal, signal.SIGCONT)
    ended = await drill.outcome(release)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert (ended["outcome"], ended["verdict"]["ground"]) == ("rolled_back", "error_rate_above_limit")
    assert users.canary_failures_after(closed + 0.5) == 0
    assert len(ended["alerts"]) <= 1


async def test_an_abort_with_temporal_down_acts_at_once(drill: Drill) -> None:
    """Share 0 at once, and it stays 0 after Temporal is back; the release ends aborted."""
    users = await drill.declare("dark")
    task = asyncio.create_task(users.run())
    release = await drill.start("dark", "v3", plan=GATE, policy=BLIND)
    await drill.exposed("dark")
    temporal = pid_of(drill, "temporal")
    os.kill(temporal, signal.SIGSTOP)
    try:
        began = time.time()
        await drill.tell(release, "abort")
        answered_s = time.time() - began
        assert (await drill.observe("dark")).lease is None
    finally:
        os.kill(temporal, signal.SIGCONT)
    ended = await drill.outcome(release)
    await asyncio.sleep(0.5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    print(f"abort with Temporal down: answered after {answered_s:.2f} s")
    assert ended["outcome"] == "aborted"
    assert users.canary_failures_after(began + 1.5) == 0
