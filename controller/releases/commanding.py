"""Use case: pause, resume and promote a running release.

Before it: `POST /v1/releases/{id}/...`. After it: the runner, which asks the release's state machine. Abort is different
enough to have a file of its own: `controller.releases.aborting`.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.errors import CommandRefused, NotFound, OrchestratorUnavailable
from controller.model.release import Command, CommandKind, JournalEvent, Release
from controller.observability import bound, logger
from controller.releases.questions import require
from controller.releases.request import Caller, command_digest
from controller.runner.port import ReleaseRunner
from controller.store.port import Store

log = logger(__name__)

PAGE = 200


class Commanding:
    """Passes commands on and keeps what became of them.

    Args:
        store: The ledger.
        runner: Runs the releases.
        clock: Seconds since 1970 (UTC).
        new_id: Returns fresh random text.
    """

    def __init__(
        self, *, store: Store, runner: ReleaseRunner, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock
        self._new_id = new_id

    async def tell(self, release_id: str, kind: CommandKind, reason: str, caller: Caller) -> Release:
        """Pass a command on; the same key and command again gives the same answer and is done once.

        Raises:
            NotFound: No such release.
            CommandRefused: The release does not take it in its state.
            KeyReused: The key was used for another request.
            OrchestratorUnavailable: Not taken, and it will not be delivered later: a promotion that comes true
                minutes after its answer would surprise everybody. Send it again.
        """
        release = await require(self._store, release_id)
        command = make_command(
            release_id, kind, reason, caller, at=self._clock(), fresh=caller.key or self._new_id()
        )
        is_new = await self._store.add_command(command)
        with bound(release=release_id):
            if is_new:
                await self._deliver(release, command)
            else:
                await self._repeat(release, command)
        return await self._store.get_release(release_id)

    async def _deliver(self, release: Release, command: Command) -> None:
        try:
            if not release.is_active:
                raise CommandRefused(f"the release is over: {command.kind.value} does not apply")
            await self._runner.tell(release.order.target.key, command)
        except (CommandRefused, NotFound) as error:
            await refuse(self._store, command, error.message, at=self._clock())
            raise _as_refusal(error, command) from error
        except OrchestratorUnavailable:
            await self._store.settle_command(
                command.id, is_accepted=False, note="the orchestrator did not answer"
            )
            raise
        await self._store.settle_command(command.id, is_accepted=True)
        log.info("command_taken", command=command.kind.value, actor=command.actor)

    async def _repeat(self, release: Release, command: Command) -> None:
        refusal = await self._refusal(command)
        if refusal is not None:
            raise CommandRefused(refusal)
        if release.is_active:
            await self._deliver(release, command)

    async def _refusal(self, command: Command) -> str | None:
        """Return the text of an earlier refusal of the same command, which the journal holds."""
        after = 0
        while page := await self._store.events(command.release, after=after, limit=PAGE):
            for event in page:
                if event.id == refusal_id(command):
                    return event.text
            after = page[-1].seq
        return None


def make_command(
    release: str, kind: CommandKind, reason: str, caller: Caller, *, at: float, fresh: str
) -> Command:
    """Build the command of a caller; `fresh` becomes its id."""
    return Command(
        id=fresh,
        release=release,
        kind=kind,
        actor=caller.actor,
        at=at,
        reason=reason,
        correlation_id=caller.correlation_id,
        digest=command_digest(release, kind, reason),
    )


def refusal_id(command: Command) -> str:
    """Return the id of the journal event that keeps a refusal."""
    return f"{command.release}:{command.kind.value}_refused:{command.id}"


async def refuse(store: Store, command: Command, why: str, *, at: float) -> None:
    """Settle a command as refused and journal it, with its actor."""
    await store.settle_command(command.id, is_accepted=False, note=why)
    await store.record(
        JournalEvent(
            id=refusal_id(command),
            release=command.release,
            kind=f"{command.kind.value}_refused",
            text=why,
            at=at,
            actor=command.actor,
            correlation_id=command.correlation_id,
        )
    )


def _as_refusal(error: CommandRefused | NotFound, command: Command) -> CommandRefused:
    if isinstance(error, CommandRefused):
        return error
    return CommandRefused(
        f"the release does not run at this moment, so it cannot take {command.kind.value}; look at its state and "
        "try again"
    )
