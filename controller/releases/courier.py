"""The courier: brings ledger, orchestrator and router back together after crashes, again and again.

Run by the controller's process at its start and every few seconds. It delivers aborts that the orchestrator could not
take, starts releases that the ledger has and nobody runs, wakes the delivery of alerts, and declares targets that the
router does not know. Every action is safe to repeat; nothing here decides about a release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from controller.errors import CommandRefused, NotFound, SerinusError, Unavailable
from controller.model.release import Command, CommandKind, Release
from controller.model.target import Target
from controller.observability import bound, logger
from controller.releases.commanding import refuse
from controller.routing.port import LeaseKeeper
from controller.runner.port import ReleaseRunner
from controller.store.port import Store

log = logger(__name__)

EVERY_S = 5.0
GRACE_S = 10.0
"""A release younger than this may still be on its way from the API to the runner, which takes at most 5 s."""
STALE_S = 60.0
"""A pause, resume or promote that nobody confirmed is not delivered after this: its caller has long seen an error."""
PAGE = 200


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did.

    Args:
        delivered: Commands that were settled.
        restarted: Releases that were handed to the runner again.
        woken: Channels whose delivery was woken.
        declared: Targets that were declared to the router again, or whose stable version was corrected.
        failures: Codes of what did not work and is tried again next time.
    """

    delivered: int
    restarted: int
    woken: int
    declared: int
    failures: tuple[str, ...] = ()


class Courier:
    """Reconciles, round by round.

    Args:
        store: The ledger.
        keeper: The router.
        runner: Runs the releases.
        clock: Seconds since 1970 (UTC).
    """

    def __init__(
        self, *, store: Store, keeper: LeaseKeeper, runner: ReleaseRunner, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._runner = runner
        self._clock = clock

    async def run(self, stop: asyncio.Event, *, every_s: float = EVERY_S) -> None:
        """Do a round at once and then every `every_s` seconds, until `stop` is set."""
        said: tuple[str, ...] = ()
        while not stop.is_set():
            said = await self._round(said)
            try:
                await asyncio.wait_for(stop.wait(), every_s)
            except TimeoutError:
                continue

    async def _round(self, said: tuple[str, ...]) -> tuple[str, ...]:
        try:
            done = await self.run_once()
        except Exception:
            # The edge of a background task: if it ended here, nobody would deliver an abort any more.
            log.exception("courier_failed")
            return said
        if done.failures != said:
            log.warning("courier_hindered", codes=done.failures)
        return done.failures

    async def run_once(self) -> Round:
        """Do one round. Never raises a `SerinusError`: what does not work now is tried in the next round."""
        failures: list[str] = []
        return Round(
            delivered=await self._commands(failures),
            restarted=await self._releases(failures),
            woken=await self._channels(failures),
            declared=await self._targets(failures),
            failures=tuple(dict.fromkeys(failures)),
        )

    async def _commands(self, failures: list[str]) -> int:
        delivered = 0
        try:
            for command in await self._store.pending_commands():
                delivered += await self._command(command, failures)
        except SerinusError as error:
            failures.append(error.code)
        return delivered

    async def _command(self, command: Command, failures: list[str]) -> bool:
        with bound(release=command.release, correlation_id=command.correlation_id):
            try:
                return await self._deliver(command)
            except Unavailable as error:
                failures.append(error.code)
                return False

    async def _deliver(self, command: Command) -> bool:
        release = await self._store.get_release(command.release)
        if not release.is_active:
            await self._store.settle_command(command.id, is_accepted=False, note="the release was over")
            return True
        is_stale = command.kind is not CommandKind.ABORT and self._clock() - command.at > STALE_S
        if is_stale:
            await refuse(
                self._store, command, "the command was never confirmed and is too old", at=self._clock()
            )
            return True
        try:
            await self._runner.tell(release.order.target.key, command)
        except NotFound:
            return False
        except CommandRefused as error:
            await refuse(self._store, command, error.message, at=self._clock())
            return True
        await self._store.settle_command(command.id, is_accepted=True)
        log.info("command_delivered_later", command=command.kind.value, actor=command.actor)
        return True

    async def _releases(self, failures: list[str]) -> int:
        restarted = 0
        try:
            active = await self._active()
        except SerinusError as error:
            failures.append(error.code)
            return 0
        for release in active:
            try:
                restarted += await self._release(release)
            except Unavailable as error:
                failures.append(error.code)
                break
            except SerinusError as error:
                failures.append(error.code)
        return restarted

    async def _active(self) -> list[Release]:
        found: list[Release] = []
        before: str | None = None
        while page := await self._store.list_releases(active=True, before=before, limit=PAGE):
            found.extend(page)
            if len(page) < PAGE:
                break
            before = page[-1].order.id
        return found

    async def _release(self, release: Release) -> bool:
        order = release.order
        if self._clock() - order.created_at < GRACE_S or await self._runner.runs(order.target.key, order.id):
            return False
        # It may have ended between the list and the question; a release that is done must not run again.
        if not (await self._store.get_release(order.id)).is_active:
            return False
        with bound(release=order.id, correlation_id=order.correlation_id):
            await self._runner.start(order)
            log.warning("release_started_again", target=order.target.key)
        return True

    async def _channels(self, failures: list[str]) -> int:
        woken = 0
        try:
            for channel in await self._store.pending_channels():
                await self._runner.wake(channel)
                woken += 1
        except SerinusError as error:
            failures.append(error.code)
        return woken

    async def _targets(self, failures: list[str]) -> int:
        try:
            known = {target.key: target for target in await self._keeper.targets()}
            declared = await self._store.list_targets()
        except SerinusError as error:
            failures.append(error.code)
            return 0
        mended = 0
        for target in declared:
            try:
                mended += await self._mend(target, known.get(target.key))
            except SerinusError as error:
                failures.append(error.code)
        return mended

    async def _mend(self, target: Target, known: Target | None) -> bool:
        if known is None:
            await self._keeper.declare(target)
            log.warning("target_declared_again", target=target.key)
            return True
        if known.stable == target.stable or known.stable not in target.versions:
            return False
        active = await self._store.list_releases(target=target.name, active=True, limit=PAGE)
        if any(one.order.target.key == target.key for one in active):
            return False
        await self._store.put_target(target.with_stable(known.stable))
        log.warning("stable_corrected", target=target.key, version=known.stable)
        return True
