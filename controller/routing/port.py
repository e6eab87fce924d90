"""Two ports: `LeaseKeeper` (who may have a share) and `DataPlane` (how a share becomes traffic).

The keeper lives in the router process over one data plane; everybody else speaks to it through
`controller.routing.remote`. The rule of the lease is `controller.model.lease`. All calls are safe to repeat.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from controller.errors import InvalidInput
from controller.model.lease import (
    Closure,
    ClosureKind,
    GrantRequest,
    Lease,
    Node,
    Observation,
    Renewal,
    RenewalAnswer,
)
from controller.model.look import History, Reading
from controller.model.share import basis_points
from controller.model.target import Target, TargetKey
from controller.model.traffic import Match, audience_id
from controller.model.verdict import Verdict

PROXY_EVENTS = ("lapsed", "doubled", "unproved")
"""What `DataPlane.events` counts: proxies that had no shares though a lease was live; streams refused because another
proxy gives itself the same name; connections from other hosts that showed no certificate."""


class LeaseKeeper(ABC):
    """Keeps targets, leases, epochs and closed releases; the only writer of shares.

    Every method can raise `RouterUnavailable` when the keeper does not answer within its deadline (remote only).
    """

    @abstractmethod
    async def declare(self, target: Target) -> None:
        """Make a target known, or replace what is known of it; its versions are in the route at share 0 afterwards.

        Returns when it is on disk and the proxies that are connected have accepted it (or 2 s have passed: `observe`
        tells). Idempotent. The stable version of a target that exists is kept: only `promote` moves it.

        Raises:
            DataPlaneRefused: A proxy rejected the configuration; the last good one stays.
        """

    @abstractmethod
    async def remove(self, target: TargetKey) -> None:
        """Forget a target and its route. Idempotent.

        Raises:
            LeaseHeld: A live lease exists; close its release first.
        """

    @abstractmethod
    async def targets(self) -> tuple[Target, ...]:
        """Return every declared target with its present stable version."""

    @abstractmethod
    async def grant(self, request: GrantRequest) -> Lease:
        """Give a lease with the next epoch and apply its share.

        Returns when all connected proxies acknowledged, or after 2 s: `observe(...).is_applied` tells. The lease
        counts from the call, not from the acknowledgement.

        Raises:
            NotFound: The target or the version is not declared.
            InvalidInput: It is for an audience, and the data plane cannot tell requests apart.
            ReleaseClosed, LeaseHeld, EpochConflict: As `controller.model.lease.grant`.
        """

    @abstractmethod
    async def renew(self, renewals: Sequence[Renewal]) -> tuple[RenewalAnswer, ...]:
        """Renew a batch; one answer a line, in order. Never raises for a single line."""

    @abstractmethod
    async def close(
        self, target: TargetKey, release: str, kind: ClosureKind, reason: str, verdict: Verdict | None = None
    ) -> Closure:
        """Bar a release for ever and take its share back.

        The share is taken from the proxies first, the bar is on disk before this returns. Idempotent: the first
        closure stands and is returned, whatever later calls say. A release without a lease, or not known at all, is
        barred just the same. Needs no epoch: an abort works in every state.
        """

    @abstractmethod
    async def promote(self, target: TargetKey, release: str, version: str) -> Closure:
        """Make a version stable and bar the release as PROMOTED, in one step on disk.

        Idempotent for the same release. Returns when the connected proxies acknowledged, or after 2 s.

        Raises:
            NotFound: The target or the version is not declared, or the version has no address.
            ReleaseClosed: The release was closed before (failed or aborted).
        """

    @abstractmethod
    async def observe(self, target: TargetKey) -> Observation:
        """Return epoch, lease and the proxies' state for a target.

        Raises:
            NotFound: The target is not declared.
        """

    @abstractmethod
    async def counters(self, target: TargetKey) -> Reading:
        """Return the newest counters of a target's versions; one read a second is shared by all callers.

        The first caller in a while may wait for a reading, 0.7 s at most; `age_s` says how old the numbers are.

        Raises:
            NotFound: The target is not declared.
        """

    @abstractmethod
    async def history(self, target: TargetKey, version: str, window_s: float) -> History:
        """Return what a version served lately; a shorter window than asked for when less is known.

        A window of a minute or more comes by minute and instance, with latencies and the instances of versions that
        were stable before. An hour is known at most; it outlives the router, the time while none ran is left out.

        Raises:
            NotFound: The target is not declared.
        """

    async def aclose(self) -> None:
        """Release connections. Idempotent."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What the data plane is told: the canary share of one target, computed from an unexpired lease.

    Args:
        version: The canary.
        release: Whose; also the seed of the draw, so that each release gets a fresh set of requests.
        share: Basis points, above 0.
        matches: The lease's audience: requests that fit none of them stay on stable. Empty lets all that the target does.

    Raises:
        InvalidInput: The share is not a whole number from 1 to 10 000.
    """

    version: str
    release: str
    share: int
    matches: tuple[Match, ...] = ()

    @property
    def audience(self) -> str:
        """A short name of the audience, "" for everybody: what was built for one must not serve another."""
        return audience_id(self.matches)

    def __post_init__(self) -> None:
        # The last gate before bytes: a proxy takes every number, and a wrong one can mean all traffic.
        if basis_points(self.share) == 0:
            raise InvalidInput("a share of 0 is said by leaving it out", field="share")


@dataclass(frozen=True, slots=True)
class PlaneCapabilities:
    """What a data plane can do; the defaults are the least.

    Args:
        acknowledges: It reports when a change was accepted.
        expires: It returns to stable by itself when nobody renews.
        counts: It counts requests by version.
        finest_share: The smallest share it can express, basis points.
        narrows: It can keep a share to an audience.
    """

    acknowledges: bool = False
    expires: bool = False
    counts: bool = False
    finest_share: int = 100
    narrows: bool = False


class DataPlane(ABC):
    """Applies, observes and withdraws; decides nothing. Used by the keeper only, in one process and one event loop."""

    @abstractmethod
    async def start(self, shares: Callable[[], Mapping[TargetKey, Shares]]) -> None:
        """Begin to serve.

        Args:
            shares: Called whenever bytes are built (a push, a reconnect, a renewal): returns the shares of the leases
                that are unexpired at that moment. The plane never remembers a share by itself.
        """

    @abstractmethod
    async def declare(self, targets: Sequence[Target]) -> None:
        """Replace the whole set of targets: clusters first, then routes. Returns on acknowledgement or after 2 s.

        May be called before `start`, so that the first proxy that connects finds the targets.

        Raises:
            DataPlaneRefused: A proxy rejected it; the last good configuration stays and is served again.
        """

    @abstractmethod
    async def push(self) -> None:
        """Send the shares as they are now, at once. Returns on acknowledgement by all connected proxies or after 2 s."""

    @abstractmethod
    async def renew(self) -> None:
        """Extend the life of what was pushed, where the plane expires by itself. Never grants anything.

        A proxy that let go of its shares while a lease is live is named in the log, counted (`Node.lapses`, `events`),
        shown as not acknowledged, and sent them again from `shares`, all within 2 s. No lease ends by it: what is sent
        is bounded by the deadlines, and one proxy must not end everybody's.
        """

    @abstractmethod
    def nodes(self) -> tuple[Node, ...]:
        """Return every connected proxy. Never blocks."""

    def events(self) -> Mapping[str, int]:
        """Count what happened at the proxies since the start, by `PROXY_EVENTS`. Never blocks."""
        return {}

    def answering(self) -> Mapping[str, bool]:
        """Say of each proxy whose counts are read, by its name, whether it told them the last time. Never blocks."""
        return {}

    @abstractmethod
    def counters(self, target: Target) -> Reading:
        """Return the newest counters by version that were read in the background. Never blocks."""

    async def fresh(self, target: Target) -> Reading:
        """Return counters that are as new as the plane can have them, after a second at most.

        For planes that read only those targets every second that somebody asks for.
        """
        return self.counters(target)

    @abstractmethod
    def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what a version served lately, and the instances of versions that were stable before. Never blocks."""

    @abstractmethod
    def capabilities(self) -> PlaneCapabilities:
        """Say what the plane can do. Never blocks."""

    async def aclose(self) -> None:
        """Stop serving. Idempotent. Proxies keep the last configuration; shares lapse."""
