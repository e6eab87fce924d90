"""The lease keeper: the only writer of shares.

Before it: judges and use cases, through `server`. After it: the book on disk and the data plane. The rule of a lease is
`controller.model.lease`, the memory is `holdings`, what the disk may learn later is `arrears`; this file says in which
order memory, data plane and disk learn of a decision:

* a grant: disk, then memory, then the proxies (a crash in between gives an epoch that nobody uses);
* a close: memory, the proxies, disk, then the answer (a full disk cannot keep a canary alive);
* a promotion: disk, then memory, then the proxies.

Whenever the data plane builds bytes it asks `shares()`, which compares the boot clock, so a process that was frozen
past a deadline cannot push what has lapsed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from controller.errors import (
    DataPlaneRefused,
    InvalidInput,
    LeaseHeld,
    NotFound,
    ReleaseClosed,
    RouterUnavailable,
)
from controller.model import lease as rule
from controller.model.lease import (
    Closure,
    ClosureKind,
    GrantRequest,
    Lease,
    Node,
    Observation,
    Renewal,
    RenewalAnswer,
    Standing,
)
from controller.model.look import History, Reading
from controller.model.target import Target, TargetKey
from controller.model.traffic import audience_id
from controller.model.verdict import Verdict
from controller.observability import logger
from controller.routing.arrears import Arrears
from controller.routing.background import Background
from controller.routing.book import Book
from controller.routing.holdings import Holdings
from controller.routing.port import DataPlane, LeaseKeeper, Shares

TICK_S = 0.25
"""A lapsed lease leaves the proxies at most this much later."""
LONGEST_REASON = 2_000
"""Characters of a closing reason that are kept."""

STANDINGS = tuple(standing.value for standing in Standing)
EVENTS = (*STANDINGS, "declared", "refused", "granted", "ended", "barred", "promoted", "pushed")
"""What `Keeper.counts` counts: answers to renewals by their standing; targets declared and refused by a proxy; leases
granted, and ended without a close; releases barred; versions promoted; changes pushed to the proxies."""

log = logger(__name__)


class Keeper(LeaseKeeper):
    """Applies the rule of the lease to the book and tells the data plane.

    Args:
        plane: Turns shares into traffic.
        book: Durable state.
        boot_clock: Seconds; does not stop in a suspend or a SIGSTOP (CLOCK_BOOTTIME).
        wall_clock: Seconds since 1970 (UTC).
    """

    def __init__(
        self,
        *,
        plane: DataPlane,
        book: Book,
        boot_clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._plane = plane
        self._book = book
        self._boot_clock = boot_clock
        self._wall_clock = wall_clock
        self._held = Holdings(book.contents)
        self._one_change = asyncio.Lock()
        """Held while a decision goes to disk, never while proxies are waited for. A close takes effect before it."""
        self._one_declaration = asyncio.Lock()
        """Held while the set of targets changes, the wait for the proxies included; taken before `_one_change`."""
        self._background = Background()
        self._arrears = Arrears(
            book=book, holdings=self._held, one_change=self._one_change, background=self._background
        )
        self.counts: Counter[str] = Counter()
        """What happened since the start, by `EVENTS`."""

    async def start(self) -> None:
        """Serve what the book holds. Call once, before anything else."""
        self._drop_lapsed()
        # Targets first: a proxy that connects in between must find them, not an empty set.
        await self._plane.declare(tuple(self._held.targets.values()))
        await self._plane.start(self.shares)

    async def run(self, every_s: float = TICK_S) -> None:
        """Tick for ever; ends only by being cancelled."""
        while True:
            await self.tick()
            await asyncio.sleep(every_s)

    async def tick(self) -> None:
        """End lapsed leases, renew at the proxies, write what is behind. Waits neither for a proxy nor for the disk."""
        if self._drop_lapsed():
            self._background.spawn(self._push())
        await self._plane.renew()
        self._arrears.begin()

    async def finish(self) -> None:
        """Wait for what ticks have begun."""
        await self._background.finish()

    def shares(self) -> Mapping[TargetKey, Shares]:
        """Return the shares of the leases that are unexpired at this moment; the data plane's only source."""
        return self._held.shares(self._boot_clock())

    @property
    def leases(self) -> int:
        """How many leases are unexpired."""
        return len(self.shares())

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every connected proxy."""
        return self._plane.nodes()

    @property
    def proxy_events(self) -> Mapping[str, int]:
        """What happened at the proxies since the start, by `PROXY_EVENTS`."""
        return self._plane.events()

    @property
    def answering(self) -> Mapping[str, bool]:
        """Whether each proxy whose counts are read told them the last time."""
        return self._plane.answering()

    async def declare(self, target: Target) -> None:
        """Make a target known: proxies first, then disk; the stable version of a known one is kept.

        Raises:
            InvalidInput: A host belongs to another target, or the present stable version is not among the versions.
            DataPlaneRefused: A proxy rejected it.
        """
        async with self._one_declaration:
            before = dict(self._held.targets)
            known = before.get(target.key)
            if known is not None and known.stable not in target.versions:
                raise InvalidInput("the version that is stable now must stay declared", field="versions")
            kept = target if known is None else target.with_stable(known.stable)
            self._held.require_free_hosts(kept)
            try:
                await self._plane.declare(tuple({**before, kept.key: kept}.values()))
            except DataPlaneRefused:
                self.counts["refused"] += 1
                raise
            if kept == known:
                return
            async with self._one_change:
                try:
                    await self._book.write_target(kept)
                except RouterUnavailable:
                    self._background.spawn(self._plane.declare(tuple(before.values())))
                    raise
                self._held.targets[kept.key] = kept
        self.counts["declared"] += 1
        log.info("target_declared", target=kept.key, versions=sorted(kept.versions), stable=kept.stable)

    async def remove(self, target: TargetKey) -> None:
        """Forget a target and its route; its closures and epoch stay."""
        async with self._one_declaration:
            if target not in self._held.targets:
                return
            async with self._one_change:
                if target in self.shares():
                    raise LeaseHeld(f"a release holds the lease of {target}; close it first")
                await self._book.forget_target(target)
                del self._held.targets[target]
                self._held.leases.pop(target, None)
            await self._plane.declare(tuple(self._held.targets.values()))
        log.info("target_removed", target=target)

    async def targets(self) -> tuple[Target, ...]:
        """Return every declared target with its present stable version."""
        return tuple(self._held.targets.values())

    async def grant(self, request: GrantRequest) -> Lease:
        """Give a lease: epoch and lease are on disk before the proxies hear of it."""
        if request.matches and not self._plane.capabilities().narrows:
            raise InvalidInput(
                "the data plane cannot tell requests apart: expected a step without matches", field="matches"
            )
        key = (request.target, request.release)
        async with self._one_change:
            self._held.require_canary(request.target, request.version)
            lease = rule.grant(
                request,
                current=self._held.leases.get(request.target),
                epoch=self._held.epochs.get(request.target, 0),
                closure=self._held.closures.get(key),
                now_s=self._boot_clock(),
            )
            await self._book.write_grant(lease)
            if closure := self._held.closures.get(key):  # closed while the disk was busy
                raise ReleaseClosed(f"release {request.release} was closed meanwhile", closure=closure)
            self._held.epochs[request.target] = lease.epoch
            self._held.leases[request.target] = lease
        self.counts["granted"] += 1
        log.info(
            "lease_granted",
            target=lease.target,
            release=lease.release,
            version=lease.version,
            epoch=lease.epoch,
            share=lease.share,
            audience=audience_id(lease.matches),
        )
        await self._push()
        return lease

    async def renew(self, renewals: Sequence[Renewal]) -> tuple[RenewalAnswer, ...]:
        """Renew a batch in memory; the new deadlines reach the disk with the next tick."""
        return tuple(self._renew_one(one, self._boot_clock()) for one in renewals)

    def _renew_one(self, renewal: Renewal, now_s: float) -> RenewalAnswer:
        answer, kept = rule.renew(
            renewal,
            current=self._held.leases.get(renewal.target),
            epoch=self._held.epochs.get(renewal.target, 0),
            closure=self._held.closures.get((renewal.target, renewal.release)),
            now_s=now_s,
        )
        self.counts[answer.standing.value] += 1
        if answer.standing is Standing.RENEWED and kept is not None:
            self._held.leases[renewal.target] = kept
            self._arrears.renewed(renewal.target)
        return answer

    async def close(
        self,
        target: TargetKey,
        release: str,
        kind: ClosureKind,
        reason: str,
        verdict: Verdict | None = None,
    ) -> Closure:
        """Bar a release: memory, proxies, disk, answer. The first closure stands.

        Raises:
            RouterUnavailable: The share is taken back and the bar stands in memory, but it is not on disk; repeat.
        """
        key = (target, release)
        if key not in self._held.closures:
            self._held.closures[key] = Closure(
                target, release, kind, reason[:LONGEST_REASON], self._wall_clock(), verdict
            )
            self._arrears.closed(target, release)
            self.counts["barred"] += 1
            log.info("release_closed", target=target, release=release, kind=kind.value, reason=reason[:200])
        taken = self._held.end_lease(target, release)
        withdrawal = self._background.spawn(self._push()) if taken else None
        await self._arrears.write_closure(target, release)
        if withdrawal is not None:
            await asyncio.shield(withdrawal)
        return self._held.closures[key]

    async def promote(self, target: TargetKey, release: str, version: str) -> Closure:
        """Make a version stable and bar the release, in one step on disk."""
        async with self._one_declaration:
            closure = self._held.closures.get((target, release))
            if closure is None:
                closure = await self._promote(self._held.require(target), release, version)
            elif closure.kind is not ClosureKind.PROMOTED:
                raise ReleaseClosed(f"release {release} was closed: {closure.reason}", closure=closure)
            await self._plane.declare(tuple(self._held.targets.values()))
        return closure

    async def _promote(self, declared: Target, release: str, version: str) -> Closure:
        key = (declared.key, release)
        if not declared.require(version):
            raise NotFound(f"{declared.key} {version} has no address: start it first", field="version")
        made = Closure(
            declared.key, release, ClosureKind.PROMOTED, f"{version} became stable", self._wall_clock()
        )
        promoted = declared.with_stable(version)
        async with self._one_change:
            await self._book.write_closure(made, promoted=promoted)
            if earlier := self._held.closures.get(key):  # closed while the disk was busy: the close was first
                await self._book.write_closure(earlier, promoted=declared)
                raise ReleaseClosed(f"release {release} was closed: {earlier.reason}", closure=earlier)
            self._held.closures[key] = made
            self._held.targets[declared.key] = promoted
            self._held.end_lease(declared.key, release)
        self.counts["promoted"] += 1
        log.info("version_promoted", target=declared.key, release=release, version=version)
        return made

    async def observe(self, target: TargetKey) -> Observation:
        """Return epoch, unexpired lease and the proxies' state."""
        declared = self._held.require(target)
        lease = self._held.leases.get(target)
        return Observation(
            target=target,
            epoch=self._held.epochs.get(target, 0),
            stable=declared.stable,
            lease=lease if lease is not None and lease.is_live(self._boot_clock()) else None,
            nodes=self._plane.nodes(),
        )

    async def counters(self, target: TargetKey) -> Reading:
        """Return the newest counters of a target's versions."""
        return await self._plane.fresh(self._held.require(target))

    async def history(self, target: TargetKey, version: str, window_s: float) -> History:
        """Return what a version served lately."""
        declared = self._held.require(target)
        declared.require(version)
        return self._plane.history(declared, version, window_s)

    async def aclose(self) -> None:
        """Write what is behind, stop the data plane and close the book. Idempotent."""
        await self.finish()
        await self._arrears.finish()
        await self._plane.aclose()
        await self._book.aclose()

    async def _push(self) -> None:
        self.counts["pushed"] += 1
        await self._plane.push()

    def _drop_lapsed(self) -> bool:
        lapsed = self._held.drop_lapsed(self._boot_clock())
        for lease in lapsed:
            self.counts["ended"] += 1
            log.warning("lease_lapsed", target=lease.target, release=lease.release, epoch=lease.epoch)
        return bool(lapsed)
