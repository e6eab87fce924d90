"""Use case: abort. The share goes first, then the ledger, then the orchestrator; no step waits for a later one.

Before it: `POST /v1/releases/{id}/abort`. After it: the router has barred the release, so that no judge can raise it
again; the workflow concludes. With the orchestrator down the command stays pending and `controller.releases.courier`
delivers it; with the router down it is the workflow that closes.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.errors import CommandRefused, NotFound, OrchestratorUnavailable, RouterUnavailable
from controller.model.lease import Closure, ClosureKind
from controller.model.release import Change, Command, CommandKind, JournalEvent, Outcome, Release
from controller.model.share import NOTHING
from controller.observability import bound, logger
from controller.releases.commanding import make_command, refuse
from controller.releases.questions import require
from controller.releases.request import Caller
from controller.routing.port import LeaseKeeper
from controller.runner.port import ReleaseRunner
from controller.store.port import Store

log = logger(__name__)

BY_A_PERSON = "aborted by a person"


class Aborting:
    """Takes a release back, in every state, with the orchestrator up or down.

    Args:
        store: The ledger.
        keeper: Bars the release and takes its share.
        runner: Runs the releases.
        clock: Seconds since 1970 (UTC).
        new_id: Returns fresh random text.
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

    async def abort(self, release_id: str, reason: str, caller: Caller) -> Release:
        """Abort a release. An aborted one stays aborted: a repeat changes nothing and gives the same answer.

        The share is taken before the ledger is asked about the key, so a reused key can be answered with an error
        after the release was barred: that is the safe side.

        Raises:
            NotFound: No such release.
            CommandRefused: It was promoted, rolled back or failed before.
            KeyReused: The key was used for another request.
        """
        release = await require(self._store, release_id)
        if release.outcome is Outcome.ABORTED:
            return release
        if release.outcome is not None or not release.is_active:
            ended = (release.outcome or Outcome.FAILED).value.replace("_", " ")
            raise CommandRefused(f"the release is over ({ended}): abort does not apply")
        command = make_command(
            release_id,
            CommandKind.ABORT,
            reason,
            caller,
            at=self._clock(),
            fresh=caller.key or self._new_id(),
        )
        with bound(release=release_id):
            closure = await self._close(release, reason or BY_A_PERSON)
            await self._store.add_command(command)
            await self._judge_closure(closure, command)
            taken = Change(share=NOTHING) if closure is not None else None
            await self._store.record(self._noted(command, closure), taken)
            await self._deliver(release, command, closure)
        return await self._store.get_release(release_id)

    async def _close(self, release: Release, reason: str) -> Closure | None:
        order = release.order
        try:
            return await self._keeper.close(order.target.key, order.id, ClosureKind.ABORTED, reason)
        except RouterUnavailable:
            log.warning("abort_without_router", target=order.target.key)
            return None

    async def _judge_closure(self, closure: Closure | None, command: Command) -> None:
        if closure is not None and closure.kind is ClosureKind.PROMOTED:
            why = "the version was promoted before the abort came; release the earlier version to go back"
            await refuse(self._store, command, why, at=self._clock())
            raise CommandRefused(why)

    def _noted(self, command: Command, closure: Closure | None) -> JournalEvent:
        text = "abort asked for; the canary has no share any more"
        if closure is None:
            text = "abort asked for; the router did not answer, so the share ends with its lease or by the workflow"
        elif closure.kind is ClosureKind.FAILED:
            text = "abort asked for; the judge had already taken the share back"
        return JournalEvent(
            id=f"{command.release}:abort_requested:{command.id}",
            release=command.release,
            kind="abort_requested",
            text=f"{text} ({command.reason})" if command.reason else text,
            at=command.at,
            actor=command.actor,
            correlation_id=command.correlation_id,
            details={"is_closed": closure is not None},
        )

    async def _deliver(self, release: Release, command: Command, closure: Closure | None) -> None:
        try:
            await self._runner.tell(release.order.target.key, command)
        except OrchestratorUnavailable:
            log.warning("abort_waits_for_orchestrator", actor=command.actor)
            return
        except NotFound:
            if (await self._store.get_release(command.release)).is_active:
                # It will run again (the courier sees to it) and must find its abort then.
                return
        except CommandRefused as error:
            if closure is None or closure.kind is not ClosureKind.ABORTED:
                await refuse(self._store, command, error.message, at=self._clock())
                raise
            # The judge met our bar first, and the release is already concluding as aborted.
        await self._store.settle_command(command.id, is_accepted=True)
        log.info("release_aborted", actor=command.actor)
