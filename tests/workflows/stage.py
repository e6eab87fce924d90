"""A time-skipping Temporal with the real workflows, over activities that play a script."""

from __future__ import annotations

import asyncio
import shutil
import sysconfig
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from controller.model.evidence import Evidence, StepReport
from controller.model.lease import ClosureKind
from controller.model.machine import Happening
from controller.model.release import ReleaseOrder
from workflows import attributes
from workflows.deliver import DeliverWorkflow
from workflows.messages import (
    CONTROL_QUEUE,
    IO_QUEUE,
    JUDGE_QUEUE,
    MEMO_RELEASE,
    RELEASE_WORKFLOW,
    Activity,
    Answer,
    CloseErrand,
    Ending,
    Errand,
    Judged,
    JudgeErrand,
    Note,
    ReleaseEnd,
    Retirement,
)
from workflows.release import ReleaseWorkflow
from workflows.runtime import settle

SOON_S = 20.0
"""A test that waits longer than this for Temporal has failed."""

Judgement = Callable[[JudgeErrand], Awaitable[StepReport]]


def temporal_binary(name: str) -> str:
    """Path of one of Temporal's binaries in the environment that runs the tests."""
    found = Path(sysconfig.get_path("scripts")) / name
    return str(found) if found.exists() else shutil.which(name) or name


@asynccontextmanager
async def skipping() -> AsyncIterator[Client]:
    """Start a server whose clock skips what workflows wait for."""
    env = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=temporal_binary("temporal-test-server")
    )
    async with env:
        kinds = {key.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD for key in attributes.KEYWORDS}
        kinds |= {key.name: IndexedValueType.INDEXED_VALUE_TYPE_INT for key in attributes.NUMBERS}
        await env.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=env.client.namespace, search_attributes=kinds)
        )
        yield env.client
    await settle()


@asynccontextmanager
async def workers(
    client: Client,
    *,
    control: Sequence[Callable[..., Any]],
    judge: Callable[..., Any] | None = None,
    io: Callable[..., Any] | None = None,
) -> AsyncIterator[None]:
    """Run the real workflows with the given activities."""
    async with Worker(
        client,
        task_queue=CONTROL_QUEUE,
        workflows=[ReleaseWorkflow, DeliverWorkflow],
        activities=control,
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
    ):
        if judge is None and io is None:
            yield
            return
        queue, activities = (JUDGE_QUEUE, [judge]) if judge is not None else (IO_QUEUE, [io])
        async with Worker(
            client,
            task_queue=queue,
            activities=[each for each in activities if each is not None],
            max_heartbeat_throttle_interval=timedelta(milliseconds=100),
        ):
            yield


async def start(client: Client, order: ReleaseOrder) -> WorkflowHandle[Any, ReleaseEnd]:
    """Start the workflow of an order as the runner does."""
    return await client.start_workflow(
        RELEASE_WORKFLOW,
        order,
        id=f"canary.{order.target.key}.{uuid.uuid4().hex[:8]}",  # one server serves many tests
        task_queue=CONTROL_QUEUE,
        task_timeout=timedelta(seconds=2),
        memo={MEMO_RELEASE: order.id},
        search_attributes=attributes.of(order),
        result_type=ReleaseEnd,
    )


async def end_of(handle: WorkflowHandle[Any, ReleaseEnd]) -> ReleaseEnd:
    """Return how a release ended, or fail soon."""
    async with asyncio.timeout(SOON_S):
        return await handle.result()


@dataclass
class Script:
    """Activities that do what a test says and remember what they were given.

    Attributes:
        judgements: What the judge answers, one after another; None: it judges until a command comes.
        answers: What another activity answers instead of WELL, by its name; one list item a call, the last one stays.
        gates: Activities that wait until the test sets their event.
        seen: Names of the activities in order, with the step for `hold_step`.
        orders: What the judge was told.
        closes, endings, retired: What those activities were given.
        lines: Kinds of all journal lines that arrived, in order.
    """

    judgements: list[StepReport | None] = field(default_factory=list)
    answers: dict[str, list[Answer | Exception]] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    orders: list[JudgeErrand] = field(default_factory=list)
    closes: list[CloseErrand] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    is_judging: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def lines(self) -> list[str]:
        """Kinds of all journal lines that arrived, in order."""
        return [note.kind for note in self.notes]

    @activity.defn(name=Activity.PREFLIGHT)
    async def preflight(self, errand: Errand) -> Answer:
        """Play."""
        return await self._play("preflight", errand.notes)

    @activity.defn(name=Activity.START_VERSION)
    async def start_version(self, errand: Errand) -> Answer:
        """Play."""
        return await self._play("start_version", errand.notes)

    @activity.defn(name=Activity.HOLD_STEP)
    async def hold_step(self, errand: JudgeErrand) -> Judged:
        """Play."""
        self.orders.append(errand)
        self.notes.extend(errand.notes)
        self.seen.append(f"hold_step:{errand.step.step}{'open' if errand.step.is_open else ''}")
        judgement = self.judgements.pop(0) if self.judgements else None
        if judgement is not None:
            return Judged(judgement)
        self.is_judging.set()
        try:
            while True:
                activity.heartbeat()
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            self.is_judging.clear()
            seen = errand.step.evidence or Evidence()
            return Judged(StepReport(Happening.INTERRUPTED, replace(seen, looks=seen.looks + 1)))

    @activity.defn(name=Activity.PROMOTE)
    async def promote(self, errand: Errand) -> Answer:
        """Play."""
        return await self._play("promote", errand.notes)

    @activity.defn(name=Activity.CLOSE)
    async def close(self, errand: CloseErrand) -> Answer:
        """Play; the closure is what was asked for, unless the script says otherwise."""
        self.closes.append(errand)
        closed = Answer(
            Happening.CLOSED, errand.reason, closure=errand.kind, verdict=errand.verdict, closed_at=6_000.0
        )
        return await self._play("close", errand.notes, closed)

    @activity.defn(name=Activity.CONCLUDE)
    async def conclude(self, ending: Ending) -> Answer:
        """Play."""
        self.endings.append(ending)
        return await self._play("conclude", ending.notes)

    @activity.defn(name=Activity.RETIRE)
    async def retire(self, errand: Retirement) -> Answer:
        """Play."""
        self.retired.append(errand.version)
        return await self._play("retire", errand.notes)

    @activity.defn(name=Activity.FINISH)
    async def finish(self, errand: Errand) -> Answer:
        """Play."""
        return await self._play("finish", errand.notes)

    @property
    def control(self) -> list[Callable[..., Any]]:
        """Everything but the judge."""
        return [
            self.preflight,
            self.start_version,
            self.promote,
            self.close,
            self.conclude,
            self.retire,
            self.finish,
        ]

    async def _play(self, name: str, notes: Sequence[Note], answer: Answer = Answer()) -> Answer:  # noqa: B008 - frozen
        self.seen.append(name)
        self.notes.extend(notes)
        gate = self.gates.get(name)
        if gate is not None:
            try:
                while not gate.is_set():
                    activity.heartbeat()
                    await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                self.seen.append(f"{name} cancelled")
                raise
        script = self.answers.get(name, [])
        played: Answer | Exception = (script.pop(0) if len(script) > 1 else script[0]) if script else answer
        if isinstance(played, Exception):
            raise played
        return played


def promoted_first() -> Answer:
    """The keeper's answer to a close that came after the promotion."""
    return Answer(Happening.CLOSED, "it was promoted", closure=ClosureKind.PROMOTED, closed_at=6_000.0)
