"""The worker process: three task queues on one connection, alive through restarts of Temporal, gone within 5 s.

Before it: `serinus worker`, which reaches `serve` by name. After it: `workflows.activities` over the parts that
`controller.bootstrap` opened. The judge's queue is cancelled at once when the process is asked to end, so that another
worker takes over with the newest evidence while the lease still runs; the others may end what they are doing.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Protocol

from temporalio.client import Client
from temporalio.worker import Worker

from controller.bootstrap import open_worker
from controller.judging.clock import Clock, SystemClock
from controller.metrics.port import MetricSource
from controller.notify.port import Notifier
from controller.observability import logger
from controller.releases.examples import Examples
from controller.routing.port import LeaseKeeper
from controller.settings import Settings
from controller.store.port import Store
from controller.traces.port import TraceStore
from controller.workloads.port import Workloads
from workflows.activities import Activities, Judging
from workflows.client import TemporalRunner
from workflows.deliver import DeliverWorkflow
from workflows.deliveries import Deliveries
from workflows.ground import Ground
from workflows.journal import Scribe
from workflows.messages import CONTROL_QUEUE, IO_QUEUE, JUDGE_QUEUE
from workflows.meters import Meters
from workflows.release import ReleaseWorkflow
from workflows.runtime import make_runtime, settle

log = logger(__name__)

STICKY_TIMEOUT = timedelta(seconds=1)
"""After a worker died, its workflows wait this long for it; Temporal's default of 10 s would delay an abort."""
HEARTBEAT_EVERY = timedelta(seconds=1)
"""A killed judge loses at most this much evidence, and a command reaches it within it."""
GRACE = timedelta(seconds=3)
"""How long short activities may go on when the process is asked to end."""
END_S = 4.5
"""After this the process ends whatever still runs; everything in it is safe to repeat."""
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
CONTROL_SLOTS = 500
"""Short activities at once; some of them wait for a version to start or to drain."""
IO_SLOTS = 20


class Parts(Protocol):
    """What the activities work with; `controller.bootstrap.open_worker` yields it."""

    @property
    def keeper(self) -> LeaseKeeper:
        """Who keeps the leases."""

    @property
    def judge(self) -> Judging:
        """Who holds a step."""

    @property
    def store(self) -> Store:
        """The ledger."""

    @property
    def workloads(self) -> Mapping[str, Workloads]:
        """Who starts and stops versions, by name."""

    @property
    def source(self) -> MetricSource:
        """Where counters come from."""

    @property
    def notifiers(self) -> Mapping[str, Notifier]:
        """The configured channels, by name."""

    @property
    def traces(self) -> TraceStore:
        """Where the failing traces beside an alert come from."""


async def serve(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    meters = Meters()
    async with AsyncExitStack() as stack:
        if settings.worker.metrics_port is not None:
            stack.callback(meters.serve(settings.worker.metrics_port))
        parts = await stack.enter_async_context(open_worker(settings))
        await work(settings, parts, stop=stop, clock=SystemClock(), meters=meters)


async def work(
    settings: Settings, parts: Parts, *, stop: asyncio.Event, clock: Clock, meters: Meters
) -> None:
    """Work until `stop` is set; whatever Temporal does meanwhile, it is tried again with a back-off."""
    runtime = make_runtime()
    runner = TemporalRunner(settings.temporal, runtime=runtime)
    pause_s = SHORTEST_PAUSE_S
    while not stop.is_set():
        try:
            client = await Client.connect(
                settings.temporal.address, namespace=settings.temporal.namespace, runtime=runtime
            )
            workers = make_workers(settings, parts, client=client, runner=runner, clock=clock, meters=meters)
            pause_s = SHORTEST_PAUSE_S
            await _run(workers, stop)
        except Exception as error:
            log.warning(
                "temporal_unreachable", address=settings.temporal.address, reason=str(error), again_s=pause_s
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stop.wait()
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
    await settle()
    log.info("worker_stopped")


def make_workers(
    settings: Settings, parts: Parts, *, client: Client, runner: TemporalRunner, clock: Clock, meters: Meters
) -> tuple[Worker, Worker, Worker]:
    """Return the workers of the three queues."""
    scribe = Scribe(store=parts.store, channels=tuple(parts.notifiers))
    ground = Ground(
        keeper=parts.keeper,
        store=parts.store,
        workloads=parts.workloads,
        source=parts.source,
        clock=clock,
    )
    activities = Activities(ground=ground, judge=parts.judge, scribe=scribe, wake=runner.wake, meters=meters)
    deliveries = Deliveries(
        store=parts.store,
        notifiers=parts.notifiers,
        clock=clock,
        meters=meters,
        beside=Examples(traces=parts.traces, monotonic=clock.boot_s).beside,
    )
    control = Worker(
        client,
        task_queue=CONTROL_QUEUE,
        workflows=[ReleaseWorkflow, DeliverWorkflow],
        activities=[
            activities.preflight,
            activities.start_version,
            activities.promote,
            activities.close,
            activities.conclude,
            activities.retire,
            activities.finish,
        ],
        max_concurrent_activities=CONTROL_SLOTS,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=HEARTBEAT_EVERY,
        default_heartbeat_throttle_interval=HEARTBEAT_EVERY,
        graceful_shutdown_timeout=GRACE,
    )
    judges = Worker(
        client,
        task_queue=JUDGE_QUEUE,
        activities=[activities.hold_step],
        max_concurrent_activities=settings.judging.slots,
        max_heartbeat_throttle_interval=HEARTBEAT_EVERY,
        default_heartbeat_throttle_interval=HEARTBEAT_EVERY,
    )
    io = Worker(
        client,
        task_queue=IO_QUEUE,
        activities=[deliveries.deliver_next],
        max_concurrent_activities=IO_SLOTS,
        graceful_shutdown_timeout=GRACE,
    )
    return control, judges, io


async def _run(workers: tuple[Worker, ...], stop: asyncio.Event) -> None:
    """Run workers until `stop` is set or one of them ends by an error, which is raised."""
    tasks = {asyncio.create_task(worker.run(), name=worker.task_queue) for worker in workers}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    log.info("worker_started", queues=[worker.task_queue for worker in workers])
    try:
        done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await _end(workers, tasks)
    for task in done - {stopping}:
        task.result()


async def _end(workers: tuple[Worker, ...], tasks: set[asyncio.Task[None]]) -> None:
    """Shut all workers down at once, within bounds."""
    endings = {asyncio.create_task(worker.shutdown()) for worker in workers if worker.is_running}
    _, late = await asyncio.wait({*tasks, *endings}, timeout=END_S)
    for task in late:
        task.cancel()
    if late:
        log.warning("worker_cut_short", tasks=len(late))
