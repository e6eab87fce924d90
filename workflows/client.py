"""Temporal as the runner of releases: start, tell, ask, wake.

Before it: the use cases in `controller.releases`. After it: `workflows.release` and `workflows.deliver` on a worker. It
connects when it is first needed, and again whenever Temporal comes back; a dead or hung Temporal is an answer within
seconds in every call. The workflow id names the target and so is the lock; the release stands in the memo.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.runtime import Runtime
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from controller.errors import CommandRefused, NotFound, OrchestratorUnavailable, TargetBusy
from controller.model.release import Command, CommandKind, ReleaseOrder
from controller.model.target import TargetKey
from controller.runner.port import ReleaseRunner
from controller.settings import Temporal
from workflows import attributes
from workflows.messages import (
    ABORT_SIGNAL,
    CONTROL_QUEUE,
    DELIVER_WORKFLOW,
    MEMO_RELEASE,
    RELEASE_WORKFLOW,
    TELL_UPDATE,
    WAKE_SIGNAL,
    Round,
    Taken,
)
from workflows.runtime import make_runtime, settle

TASK_TIMEOUT = timedelta(seconds=2)
"""How long a worker that stopped in the middle of a workflow task holds it up; Temporal's default of 10 s is felt."""
TRIES = 3
"""How often a start is tried when the workflow that was in the way ends at that very moment."""
INSISTENCE = RetryConfig(
    initial_interval_millis=100, max_interval_millis=400, max_elapsed_time_millis=1_000, max_retries=4
)
"""A server that refuses the connection is asked again for about a second, which covers its restart."""
LONGEST_CALL_S = 4.5
"""The port promises an answer within 5 s."""

Handle = WorkflowHandle[object, object]


def release_workflow_id(target: TargetKey) -> str:
    """Return the id under which a target's release runs; one at a time."""
    return f"canary.{target}"


def deliver_workflow_id(channel: str) -> str:
    """Return the id under which a channel's outbox is drained."""
    return f"deliver.{channel}"


class TemporalRunner(ReleaseRunner):
    """Runs releases on a Temporal server.

    Args:
        settings: Where it is, and how long one call may take.
        runtime: The engine to share with a worker in the same process; its own when None.
    """

    def __init__(self, settings: Temporal, *, runtime: Runtime | None = None) -> None:
        self._settings = settings
        self._runtime = runtime
        self._limit_s = min(settings.rpc_timeout_s, LONGEST_CALL_S)
        self._rpc_timeout = timedelta(seconds=self._limit_s)
        self._client: Client | None = None

    async def start(self, order: ReleaseOrder) -> None:
        """Start the workflow of an order, unless it runs already."""
        async with self._asking("start a release"):
            for _ in range(TRIES):
                try:
                    await self._start(order, attributes.of(order))
                    return
                except WorkflowAlreadyStartedError:
                    running = await self._running_release(order.target.key)
                if running == order.id:
                    return
                if running is not None:
                    raise TargetBusy(
                        f"release {running} of {order.target.name} is running; wait for its end or abort it",
                        release=running,
                    )
        raise TargetBusy(f"releases of {order.target.name} come and go too fast; try again", release="")

    async def tell(self, target: TargetKey, command: Command) -> None:
        """Signal an abort; send anything else as an update whose id is the command's."""
        async with self._asking(f"pass on {command.kind.value}"):
            handle = await self._handle(target, command.release)
            try:
                await self._pass_on(handle, command)
            except WorkflowUpdateFailedError as error:
                raise _refused(error) from error
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise _not_running(command.release) from error
                raise

    async def runs(self, target: TargetKey, release: str) -> bool:
        """Ask Temporal whether the target's workflow runs and is this release."""
        async with self._asking("ask for a release"):
            return await self._running_release(target) == release

    async def wake(self, channel: str) -> None:
        """Signal the channel's workflow, and start it in the same call when it does not run."""
        async with self._asking("wake a delivery"):
            client = await self._connected()
            await client.start_workflow(
                DELIVER_WORKFLOW,
                Round(channel),
                id=deliver_workflow_id(channel),
                task_queue=CONTROL_QUEUE,
                task_timeout=TASK_TIMEOUT,
                start_signal=WAKE_SIGNAL,
                static_summary=f"alerts of channel {channel}",
                rpc_timeout=self._rpc_timeout,
            )

    async def aclose(self) -> None:
        """Forget the connection."""
        if self._client is not None:
            self._client = None
            await settle()

    async def _pass_on(self, handle: Handle, command: Command) -> None:
        if command.kind is CommandKind.ABORT:
            await handle.signal(ABORT_SIGNAL, command, rpc_timeout=self._rpc_timeout)
        else:
            await handle.execute_update(
                TELL_UPDATE, command, id=command.id, result_type=Taken, rpc_timeout=self._rpc_timeout
            )

    async def _start(self, order: ReleaseOrder, known: TypedSearchAttributes) -> None:
        client = await self._connected()
        await client.start_workflow(
            RELEASE_WORKFLOW,
            order,
            id=release_workflow_id(order.target.key),
            task_queue=CONTROL_QUEUE,
            task_timeout=TASK_TIMEOUT,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            memo={MEMO_RELEASE: order.id},
            search_attributes=known,
            static_summary=f"{order.target.name} {order.target.stable} → {order.version}",
            rpc_timeout=self._rpc_timeout,
        )

    async def _connected(self) -> Client:
        """Return a client that connects with its first call, and by itself again after that."""
        if self._client is None:
            self._runtime = self._runtime or make_runtime()
            self._client = await Client.connect(
                self._settings.address,
                namespace=self._settings.namespace,
                lazy=True,
                retry_config=INSISTENCE,
                runtime=self._runtime,
            )
        return self._client

    async def _described(self, target: TargetKey) -> WorkflowExecutionDescription | None:
        client = await self._connected()
        handle = client.get_workflow_handle(release_workflow_id(target))
        try:
            found = await handle.describe(rpc_timeout=self._rpc_timeout)
        except RPCError as error:
            is_namespace = "namespace" in error.message.lower()
            if error.status is RPCStatusCode.NOT_FOUND and not is_namespace:
                return None
            raise
        return found if found.status is WorkflowExecutionStatus.RUNNING else None

    async def _running_release(self, target: TargetKey) -> str | None:
        """Return the id of the release that runs, "" when its memo does not say, None when none does."""
        found = await self._described(target)
        return None if found is None else await _release_of(found)

    async def _handle(self, target: TargetKey, release: str) -> Handle:
        """Return a handle on the very run of a release: a command must never reach the target's next one."""
        found = await self._described(target)
        if found is None or await _release_of(found) != release:
            raise _not_running(release)
        client = await self._connected()
        return client.get_workflow_handle(found.id, run_id=found.run_id)

    @asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[None]:
        """Bound a call and turn Temporal's errors into ours."""
        try:
            async with asyncio.timeout(self._limit_s):
                yield
        except RPCError as error:
            raise self._unavailable(what, error.status.name.lower()) from error
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise self._unavailable(what, f"no answer within {self._limit_s:g} s") from error
        except RuntimeError as error:
            raise self._unavailable(what, "it cannot be reached") from error

    def _unavailable(self, what: str, why: str) -> OrchestratorUnavailable:
        return OrchestratorUnavailable(
            f"Temporal at {self._settings.address} did not {what}: {why}; see that it runs and try again"
        )


async def _release_of(found: WorkflowExecutionDescription) -> str:
    return str(await found.memo_value(MEMO_RELEASE, default="", type_hint=str))


def _not_running(release: str) -> NotFound:
    return NotFound(f"release {release} does not run (any more)", field="release")


def _refused(error: WorkflowUpdateFailedError) -> CommandRefused:
    cause = error.cause
    message = cause.message if isinstance(cause, ApplicationError) else "the release did not take the command"
    return CommandRefused(message)
