"""The composition root: settings in, wired parts out. The only place where an adapter meets another.

Each process opens exactly what it needs, through `registry` and so by name, and closes it in the reverse order.
`serinus controller` uses `open_controller`, `serinus worker` `open_worker`, `serinus telemetry` `open_traces`; the
router composes itself in `controller.routing.process`, because it must start without any of this.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, cast

from controller.errors import SerinusError
from controller.judging.alarms import Alarms
from controller.judging.clock import SystemClock
from controller.judging.looking import Eye
from controller.judging.loop import Judge, Rhythm, Tools
from controller.judging.recording import LookFiles
from controller.judging.renewals import Renewals
from controller.observability import logger
from controller.registry import load
from controller.traces.port import Retention

if TYPE_CHECKING:
    from controller.metrics.port import MetricSource
    from controller.notify.port import Notifier
    from controller.routing.port import LeaseKeeper
    from controller.runner.port import ReleaseRunner
    from controller.settings import Settings, Telemetry
    from controller.store.port import Store
    from controller.traces.port import TraceStore
    from controller.workloads.port import Workloads

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Controller:
    """What the API process works with."""

    settings: Settings
    keeper: LeaseKeeper
    store: Store
    runner: ReleaseRunner
    traces: TraceStore
    workloads: Mapping[str, Workloads]


@dataclass(frozen=True, slots=True)
class Worker:
    """What the Temporal worker's activities work with."""

    settings: Settings
    keeper: LeaseKeeper
    source: MetricSource
    store: Store
    judge: Judge
    workloads: Mapping[str, Workloads]
    notifiers: Mapping[str, Notifier]
    traces: TraceStore


async def _keeper(settings: Settings, stack: AsyncExitStack) -> LeaseKeeper:
    keeper = cast("LeaseKeeper", load("keeper", "remote")(settings.router_socket))
    stack.push_async_callback(keeper.aclose)
    return keeper


async def _store(settings: Settings, stack: AsyncExitStack) -> Store:
    store = cast("Store", await load("store", "sql").open(settings.store_url))
    stack.push_async_callback(store.aclose)
    return store


async def _workloads(settings: Settings, stack: AsyncExitStack) -> Mapping[str, Workloads]:
    found: dict[str, Workloads] = {
        "embedded": load("workloads", "embedded")(settings.supervisor_socket),
        "external": load("workloads", "external")(),
    }
    for each in found.values():
        stack.push_async_callback(each.aclose)
    return found


async def _notifiers(settings: Settings, stack: AsyncExitStack) -> Mapping[str, Notifier]:
    found: dict[str, Notifier] = {}
    for name, channel in settings.notify.channels.items():
        found[name] = load("notify", channel.kind)(channel)
        stack.push_async_callback(found[name].aclose)
    return found


async def _traces(settings: Settings, stack: AsyncExitStack) -> TraceStore:
    traces = cast("TraceStore", load("traces", "remote")(settings.telemetry.url))
    stack.push_async_callback(traces.aclose)
    return traces


async def _source(settings: Settings, keeper: LeaseKeeper, stack: AsyncExitStack) -> MetricSource:
    """Open the source with those of our reading functions that it takes by name."""
    adapter = load("metrics", settings.judging.source)
    wanted = signature(adapter).parameters
    offered: dict[str, object] = {"counters": keeper.counters, "history": keeper.history}
    if "rates" in wanted:
        traces = cast("TraceStore", load("traces", "remote")(settings.telemetry.url))
        stack.push_async_callback(traces.aclose)
        offered["rates"] = traces.rates
    source = cast("MetricSource", adapter(**{name: offered[name] for name in wanted if name in offered}))
    stack.push_async_callback(source.aclose)
    return source


@asynccontextmanager
async def open_controller(settings: Settings) -> AsyncIterator[Controller]:
    """Open the parts of the API process; everything connects lazily but the ledger, which must be there."""
    async with AsyncExitStack() as stack:
        runner = cast("ReleaseRunner", load("runner", "temporal")(settings.temporal))
        stack.push_async_callback(runner.aclose)
        yield Controller(
            settings=settings,
            keeper=await _keeper(settings, stack),
            store=await _store(settings, stack),
            runner=runner,
            traces=await _traces(settings, stack),
            workloads=await _workloads(settings, stack),
        )


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[Worker]:
    """Open the parts of the worker process and renew its leases while it is open."""
    async with AsyncExitStack() as stack:
        keeper = await _keeper(settings, stack)
        store = await _store(settings, stack)
        source = await _source(settings, keeper, stack)
        workloads = await _workloads(settings, stack)
        clock = SystemClock()
        renewals = Renewals(keeper=keeper, clock=clock, patience_s=settings.judging.lease_term_s / 2)
        notifiers = await _notifiers(settings, stack)
        looks = LookFiles(settings.looks_dir)
        stack.push_async_callback(asyncio.to_thread, looks.close)
        judge = Judge(
            Tools(
                keeper=keeper,
                eye=Eye(source=source, workloads=workloads, clock=clock),
                renewals=renewals,
                clock=clock,
                report=store.report,
                rhythm=Rhythm(settings.judging.look_every_s, settings.judging.lease_term_s),
                record=looks.record,
                alarm=Alarms(store=store, channels=tuple(notifiers), clock=clock).tell,
            )
        )
        stack.push_async_callback(_stop, asyncio.create_task(_renew_for_ever(renewals), name="renewals"))
        traces = await _traces(settings, stack)
        yield Worker(settings, keeper, source, store, judge, workloads, notifiers, traces)


@asynccontextmanager
async def open_traces(settings: Settings) -> AsyncIterator[TraceStore]:
    """Open the trace store of the telemetry process and prune it while it is open. It may still be opening itself."""
    store = _trace_store(settings)
    pruning = asyncio.create_task(_prune_for_ever(store, settings.telemetry), name="pruning")
    try:
        yield store
    finally:
        await _stop(pruning)
        await store.aclose()


def _trace_store(settings: Settings) -> TraceStore:
    """Make the store that the settings name; one of another package gets the settings of telemetry."""
    chosen, adapter = settings.telemetry, load("traces", settings.telemetry.store)
    match chosen.store:
        case "memory":
            made = adapter(chosen.keep_bytes)
        case "clickhouse":
            url = chosen.clickhouse_url.get_secret_value() if chosen.clickhouse_url else ""
            made = adapter(settings.traces_dir, url=url, memory_bytes=chosen.memory_bytes)
        case _:
            made = adapter(chosen)
    return cast("TraceStore", made)


async def _prune_for_ever(store: TraceStore, chosen: Telemetry) -> None:
    """Prune each ten minutes or so; a store that does not answer is asked again the next time."""
    retention = Retention(chosen.keep_s, chosen.keep_disk_bytes, chosen.keep_telling_s)
    while True:
        await asyncio.sleep(chosen.prune_every_s)
        try:
            if dropped := await store.prune(retention, time.time_ns()):
                log.info("spans_pruned", spans=dropped)
        except SerinusError as error:
            log.warning("spans_not_pruned", reason=error.message)
        except Exception:  # the edge of this task: a store that is never pruned fills the disk
            log.exception("pruning_broke")


async def _renew_for_ever(renewals: Renewals) -> None:
    """Run the renewals; whatever goes wrong there is logged and tried again, while leases run out by themselves."""
    while True:
        try:
            await renewals.run()
        except Exception:
            log.exception("renewals_failed")
            await asyncio.sleep(1.0)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
