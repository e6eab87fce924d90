"""What the keeper holds in memory: targets, epochs, leases and closures, and the questions that need nothing else.

Before it: `keeper` takes over what the book holds. After it: nothing; it waits for nobody, so what it says is true in
the moment in which it says it.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.errors import InvalidInput, NotFound
from controller.model.lease import Closure, Lease
from controller.model.target import Target, TargetKey
from controller.routing.book import Contents
from controller.routing.port import Shares


class Holdings:
    """The state of a keeper.

    Args:
        known: What the book holds; copied.
    """

    def __init__(self, known: Contents) -> None:
        self.targets: dict[TargetKey, Target] = dict(known.targets)
        self.epochs: dict[TargetKey, int] = dict(known.epochs)
        """The highest epoch ever given."""
        self.leases: dict[TargetKey, Lease] = dict(known.leases)
        self.closures: dict[tuple[TargetKey, str], Closure] = dict(known.closures)

    def require(self, target: TargetKey) -> Target:
        """Return a declared target.

        Raises:
            NotFound: It is not declared.
        """
        declared = self.targets.get(target)
        if declared is None:
            raise NotFound("no such target is declared at the router", field="target")
        return declared

    def require_free_hosts(self, target: Target) -> None:
        """Check that nobody else has a host of this target.

        Raises:
            InvalidInput: Another target has it.
        """
        for other in self.targets.values():
            if other.key != target.key and set(other.hosts) & set(target.hosts):
                raise InvalidInput(f"a host belongs to target {other.key}", field="hosts")

    def require_canary(self, target: TargetKey, version: str) -> None:
        """Check that a version can have a share.

        Raises:
            NotFound: The target or the version is not declared, or the version has no address.
            InvalidInput: It is stable.
        """
        declared = self.require(target)
        if not declared.require(version):
            raise NotFound(f"{declared.key} {version} has no address: start it first", field="version")
        if version == declared.stable:
            raise InvalidInput("the version is stable already: there is nothing to share", field="version")

    def shares(self, now_s: float) -> Mapping[TargetKey, Shares]:
        """Return the shares of the leases that are unexpired at `now_s` on the boot clock."""
        return {
            target: Shares(lease.version, lease.release, lease.share, lease.matches)
            for target, lease in self.leases.items()
            if lease.is_live(now_s)
        }

    def end_lease(self, target: TargetKey, release: str) -> bool:
        """Forget the lease of a release; False when it holds none."""
        lease = self.leases.get(target)
        if lease is None or lease.release != release:
            return False
        del self.leases[target]
        return True

    def drop_lapsed(self, now_s: float) -> list[Lease]:
        """Forget the leases that have lapsed at `now_s` on the boot clock; returns them."""
        lapsed = [lease for lease in self.leases.values() if not lease.is_live(now_s)]
        for lease in lapsed:
            del self.leases[lease.target]
        return lapsed
