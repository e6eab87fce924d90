"""Use case: declare, show and delete targets.

Before it: `/v1/targets`. After it: the router (its routes) and the ledger. The router comes first in a declaration: what
the ledger holds has been accepted by the proxies.

Who decides which version is stable:
- a new target begins at the version that the declaration names;
- a known target keeps its present stable version, whatever the declaration says, because a file that was written
  before the last promotion must not undo it. `Declared.note` says so when they differ;
- `move_stable=True` moves it to the named version at once and unjudged, and only while no release of it is active.
The router's word counts, since promotions happen there; the courier brings the ledger in line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from controller.errors import Conflict, InvalidInput, NotFound, SerinusError, TargetBusy
from controller.model.release import Release
from controller.model.target import Target
from controller.observability import logger
from controller.routing.port import LeaseKeeper
from controller.store.port import Store
from controller.workloads.port import Workloads

log = logger(__name__)

MOST_ACTIVE = 200


@dataclass(frozen=True, slots=True)
class Declared:
    """Answer to a declaration.

    Args:
        target: As it stands now.
        is_new: It was not known before.
        note: One sentence when something of the declaration was not followed; "" otherwise.
    """

    target: Target
    is_new: bool
    note: str = ""


class Declaring:
    """Keeps targets.

    Args:
        store: The ledger.
        keeper: The router.
        workloads: Adapters by the name that a target gives in `workloads`.
        new_id: Returns fresh random text.
    """

    def __init__(
        self,
        *,
        store: Store,
        keeper: LeaseKeeper,
        workloads: Mapping[str, Workloads],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._workloads = workloads
        self._new_id = new_id

    async def put(self, wanted: Target, *, move_stable: bool = False) -> Declared:
        """Declare a target, or replace its declaration. Safe to repeat.

        While a release is active its two versions must stay declared; their addresses may change.

        Raises:
            InvalidInput: A version of an external target has no address, or the present stable one is missing.
            Conflict: A version in use is missing.
            TargetBusy: `move_stable`, and a release is active.
            NotFound: The stable version cannot be started here.
            RouterUnavailable, WorkloadsUnavailable, DataPlaneRefused: Nothing was written to the ledger.
        """
        self._check_addresses(wanted)
        present = await self._present(wanted)
        if present is None:
            target = await self._declare(await self._started(wanted, wanted.stable))
            return Declared(target, await self._store.put_target(target))
        active = await self._active(wanted)
        self._check_in_use(wanted, present, active)
        if move_stable and wanted.stable != present.stable and active is not None:
            raise _busy(active)
        kept = wanted.with_stable(present.stable)
        started = await self._started(kept, present.stable, *_judged(active))
        target = await self._declare(_with_known_addresses(started, present))
        if move_stable and target.stable != wanted.stable:
            target = await self._move(target, wanted.stable)
        await self._store.put_target(target)
        return Declared(target, is_new=False, note=_note(wanted, target))

    async def get(self, environment: str, name: str) -> Target:
        """Return a target.

        Raises:
            NotFound: It is not declared.
        """
        return await self._store.get_target(environment, name)

    async def list(self) -> tuple[Target, ...]:
        """Return all targets."""
        return await self._store.list_targets()

    async def delete(self, environment: str, name: str) -> None:
        """Delete a target and its route; users of its hosts get nothing from it any more.

        The ledger comes first, since its lock keeps new releases away; if the router cannot follow, the declaration is
        put back. A target that only the router still has (a crash in between) is removed by the repeat.

        Raises:
            NotFound: It is not declared.
            TargetBusy: A release of it is active.
            RouterUnavailable, LeaseHeld: It stays declared.
        """
        try:
            target = await self._store.get_target(environment, name)
            await self._store.delete_target(environment, name)
        except NotFound:
            await self._forget_leftover(environment, name)
            raise
        try:
            await self._keeper.remove(target.key)
        except SerinusError:
            await self._store.put_target(target)
            raise
        log.info("target_deleted", target=target.key)

    async def _forget_leftover(self, environment: str, name: str) -> None:
        for target in await self._keeper.targets():
            if (target.environment, target.name) == (environment, name):
                await self._keeper.remove(target.key)

    async def _present(self, wanted: Target) -> Target | None:
        try:
            return await self._store.get_target(wanted.environment, wanted.name)
        except NotFound:
            return None

    async def _active(self, wanted: Target) -> Release | None:
        found = await self._store.list_releases(target=wanted.name, active=True, limit=MOST_ACTIVE)
        return next((one for one in found if one.order.target.key == wanted.key), None)

    def _check_addresses(self, wanted: Target) -> None:
        if wanted.workloads not in self._workloads:
            known = ", ".join(sorted(self._workloads))
            raise InvalidInput(
                f"no such workloads adapter is configured; configured: {known}", field="workloads"
            )
        bare = [version for version, addresses in wanted.versions.items() if not addresses]
        if wanted.workloads == "external" and bare:
            raise InvalidInput(
                "expected at least one host:port: nobody else can know where an external version answers",
                field=f"versions.{bare[0]}",
            )

    def _check_in_use(self, wanted: Target, present: Target, active: Release | None) -> None:
        if present.stable not in wanted.versions:
            raise InvalidInput(
                f"expected the present stable version {present.stable} among the declared ones",
                field="versions",
            )
        if active is not None and active.order.version not in wanted.versions:
            raise Conflict(
                f"release {active.order.id} is using version {active.order.version}: keep it declared until it ends",
                field="versions",
            )

    async def _started(self, target: Target, *in_use: str) -> Target:
        """Start the versions in use, where somebody starts them, and return the target with their addresses.

        After a restart of the machine these are new ones; a route to an old address would look like a failing canary.
        """
        for version in dict.fromkeys(in_use):
            target = target.at(version, await self._workloads[target.workloads].start(target, version))
        return target

    async def _declare(self, target: Target) -> Target:
        """Declare to the router and return the target with the stable version that counts."""
        await self._keeper.declare(target)
        kept = next(
            (one.stable for one in await self._keeper.targets() if one.key == target.key), target.stable
        )
        return target.with_stable(kept) if kept in target.versions else target

    async def _move(self, target: Target, version: str) -> Target:
        moved = await self._started(target, version)
        await self._keeper.declare(moved)
        await self._keeper.promote(target.key, f"move-{self._new_id()}", version)
        log.warning("stable_moved_by_hand", target=target.key, version=version)
        return moved.with_stable(version)


def _with_known_addresses(wanted: Target, present: Target) -> Target:
    """Keep what is known of versions that the declaration leaves open and that nobody uses now."""
    versions = {
        version: addresses or present.versions.get(version, ())
        for version, addresses in wanted.versions.items()
    }
    return replace(wanted, versions=versions)


def _judged(active: Release | None) -> tuple[str, ...]:
    """Return the canary of a release that has no outcome yet."""
    return (active.order.version,) if active is not None and active.outcome is None else ()


def _note(wanted: Target, target: Target) -> str:
    if wanted.stable == target.stable:
        return ""
    return f"stable stays {target.stable}, not {wanted.stable}: only a promotion moves it, or this call with move_stable=true"


def _busy(active: Release) -> TargetBusy:
    return TargetBusy(
        f"release {active.order.id} is active: stable cannot be moved by hand until it ends",
        release=active.order.id,
    )
