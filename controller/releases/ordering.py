"""Use case: start a release. Validate, write it to the ledger (the lock), hand it to the runner.

Before it: `POST /v1/releases`. After it: the runner; a crash between ledger and runner is mended by
`controller.releases.courier`. When the orchestrator does not answer, the order is taken back: nothing is half-started.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.errors import CommandRefused, InvalidInput, NotFound, SerinusError
from controller.model.release import Command, CommandKind, Release, ReleaseOrder, State
from controller.model.target import Target
from controller.observability import bound, logger
from controller.plans import ready
from controller.releases.foreseeing import Foresight, event, foresee
from controller.releases.request import Caller, StartRequest, release_id, start_digest
from controller.routing.port import LeaseKeeper
from controller.runner.port import ReleaseRunner
from controller.store.port import Store

log = logger(__name__)


class Ordering:
    """Starts releases.

    Args:
        store: The ledger.
        keeper: Knows the target's traffic.
        runner: Runs them.
        clock: Seconds since 1970 (UTC).
        new_id: Returns fresh random text, letters and digits.
    """

    def __init__(
        self,
        *,
        store: Store,
        keeper: LeaseKeeper,
        runner: ReleaseRunner,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._runner = runner
        self._clock = clock
        self._new_id = new_id

    async def start(self, request: StartRequest, caller: Caller) -> Release:
        """Order a release and start it; a repeat with the same key returns the release of the first time.

        Raises:
            NotFound: The target or the version is not declared.
            InvalidInput: The version is stable already, or the plan could see nothing at the target's traffic.
            TargetBusy: Another release of the target is active; carries its id.
            KeyReused: The key was used for another request.
            OrchestratorUnavailable: Nothing was started, and the ledger holds nothing of it.
        """
        release = release_id(caller, self._new_id())
        known = await self._known(release, caller)
        order = known or await self._make(release, request, caller)
        foresight = await foresee(self._keeper, order) if known is None else None
        command = Command(
            id=caller.key or self._new_id(),
            release=release,
            kind=CommandKind.START,
            actor=caller.actor,
            at=order.created_at,
            correlation_id=caller.correlation_id,
            digest=start_digest(request),
        )
        ordered = await self._store.order(order, command)
        with bound(release=ordered.release.order.id):
            if ordered.is_new:
                await self._launch(ordered.release)
                return await self._foreseen(ordered.release, foresight)
            if ordered.release.state is State.STARTING:
                # The first call may have crashed before the runner had it; starting twice is starting once.
                await self._runner.start(ordered.release.order)
        return ordered.release

    async def _known(self, release: str, caller: Caller) -> ReleaseOrder | None:
        if not caller.key:
            return None
        try:
            return (await self._store.get_release(release)).order
        except NotFound:
            return None

    async def _make(self, release: str, request: StartRequest, caller: Caller) -> ReleaseOrder:
        target = await self._target(request)
        target.require(request.version)
        if request.version == target.stable:
            raise InvalidInput(
                "this version is stable already: expected another declared one", field="version"
            )
        return ReleaseOrder(
            id=release,
            target=target,
            version=request.version,
            plan=request.plan or target.plan or ready.plan(ready.STANDARD),
            policy=request.policy or target.policy or ready.policy(ready.STANDARD),
            actor=caller.actor,
            correlation_id=caller.correlation_id,
            created_at=self._clock(),
        )

    async def _target(self, request: StartRequest) -> Target:
        try:
            return await self._store.get_target(request.environment, request.target)
        except NotFound as error:
            raise NotFound(
                "no such target is declared in this environment; declare it with PUT /v1/targets/{name}",
                field="target",
            ) from error

    async def _launch(self, release: Release) -> None:
        order = release.order
        try:
            await self._runner.start(order)
        except SerinusError as error:
            # A start whose answer was lost may still run: it finds no order in the ledger and ends, and a repeat
            # with the same key has the same id, which the runner knows as one release.
            if await self._has_begun(order.id):
                return
            log.warning("release_not_started", target=order.target.key, code=error.code)
            raise
        log.info("release_started", target=order.target.key, version=order.version, actor=order.actor)

    async def _foreseen(self, release: Release, foresight: Foresight | None) -> Release:
        """Write down what it can see. It runs already: a ledger that fails now only costs the remark."""
        if foresight is None:
            return release
        try:
            await self._store.record(*event(release.order, foresight))
            return await self._store.get_release(release.order.id)
        except SerinusError as error:
            log.warning("foresight_not_kept", code=error.code)
            return release

    async def _has_begun(self, release: str) -> bool:
        """Take an order back; True when that is too late, because the runner has begun it after all."""
        try:
            await self._store.discard(release)
        except CommandRefused:
            log.info("release_begun_without_answer")
            return True
        return False
