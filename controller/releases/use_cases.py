"""All use cases in one value, as the API takes them. Wired from ports here so that bootstrap and tests do it alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controller.releases.aborting import Aborting
from controller.releases.commanding import Commanding
from controller.releases.courier import Courier
from controller.releases.declaring import Declaring
from controller.releases.ordering import Ordering
from controller.releases.questions import Questions
from controller.releases.standing import Standing, probes
from controller.releases.why import Explaining
from controller.routing.port import LeaseKeeper
from controller.runner.port import ReleaseRunner
from controller.store.port import Store
from controller.traces.port import TraceStore
from controller.workloads.port import Workloads


@dataclass(frozen=True, slots=True)
class UseCases:
    """What people can do."""

    ordering: Ordering
    commanding: Commanding
    aborting: Aborting
    questions: Questions
    explaining: Explaining
    declaring: Declaring
    standing: Standing
    courier: Courier
    """To be run by the controller's process: `courier.run(stop)`."""


def assemble(
    *,
    store: Store,
    keeper: LeaseKeeper,
    runner: ReleaseRunner,
    traces: TraceStore,
    workloads: Mapping[str, Workloads],
    clock: Callable[[], float],
    new_id: Callable[[], str],
) -> UseCases:
    """Build every use case over the same ports.

    Args:
        store: The ledger.
        keeper: The router.
        runner: Runs releases.
        traces: Asked how it is, and why a release was taken back.
        workloads: Adapters by the name that targets use: `external`, `embedded`.
        clock: Seconds since 1970 (UTC).
        new_id: Returns fresh random text, letters and digits, at least 60 bits.
    """
    return UseCases(
        ordering=Ordering(store=store, keeper=keeper, runner=runner, clock=clock, new_id=new_id),
        commanding=Commanding(store=store, runner=runner, clock=clock, new_id=new_id),
        aborting=Aborting(store=store, keeper=keeper, runner=runner, clock=clock, new_id=new_id),
        questions=Questions(store=store),
        explaining=Explaining(store=store, traces=traces, clock=clock),
        declaring=Declaring(store=store, keeper=keeper, workloads=workloads, new_id=new_id),
        standing=Standing(probes=probes(store=store, keeper=keeper, runner=runner, traces=traces)),
        courier=Courier(store=store, keeper=keeper, runner=runner, clock=clock),
    )
