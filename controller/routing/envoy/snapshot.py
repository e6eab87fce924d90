"""Everything that the proxies should have, but the shares: clusters, endpoints and virtual hosts by name. Pure.

Before it: the set of targets and the unexpired shares, from the keeper through `plane`. After it: `xds` sends what
differs. Nothing here has a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from controller.model.target import Target, TargetKey
from controller.routing.envoy import clusters as build
from controller.routing.envoy.proto import resources_pb2
from controller.routing.envoy.resources import (
    CLUSTERS,
    ENDPOINTS,
    HOSTS,
    Wire,
    cluster_name,
    rescue_name,
    shadow_name,
    shield_name,
    wire,
)
from controller.routing.envoy.routes import named_clusters, virtual_host
from controller.routing.port import Shares

STEP = 20
"""Targets that are built without a stop; 10 ms."""
Shown = tuple[str, str, str] | None
"""What a virtual host shows of a share: version, release and audience; None without one."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Resources by name. The shares come as a runtime layer of their own (`layer`)."""

    clusters: dict[str, Wire]
    endpoints: dict[str, Wire]
    hosts: dict[str, Wire]


class Builder:
    """Builds snapshots, and keeps what is built for targets that did not change: a share of one costs nothing of all."""

    def __init__(self) -> None:
        self._places: dict[TargetKey, tuple[Target, Snapshot]] = {}
        self._hosts: dict[TargetKey, tuple[Target, Shown, Wire, frozenset[str]]] = {}
        self._last: tuple[Sequence[Target], Mapping[TargetKey, Shown], Snapshot] | None = None

    def steps(self, targets: Sequence[Target], shares: Mapping[TargetKey, Shares]) -> Iterator[None]:
        """Build what `build` will need, and stop now and then, so that others can go on meanwhile."""
        for number, target in enumerate(targets, start=1):
            self._places_of(target)
            self._host_of(target, shares.get(target.key))
            if number % STEP == 0:
                yield

    def missing(self, made: Snapshot) -> set[str]:
        """Return the clusters that a route names and nobody has, of the last snapshot that was built for all targets.

        Envoy accepts such a route, and answers 503 for it.
        """
        return {name for *_, named in self._hosts.values() for name in named} - made.clusters.keys()

    def build(self, targets: Sequence[Target], shares: Mapping[TargetKey, Shares]) -> Snapshot:
        """Build clusters, endpoints and virtual hosts.

        A share whose version is not declared, or has no address, is left out of the route: its traffic stays on stable.

        Args:
            targets: All of them. A target that is the same object as last time is taken to be unchanged.
            shares: Of the leases that are unexpired; how large one is makes no difference here.
        """
        shown: dict[TargetKey, Shown] = {key: _shown(one) for key, one in shares.items()}
        if self._last is not None and self._last[0] is targets:
            if self._last[1] != shown:
                self._last = (targets, shown, self._with_shares(self._last, targets, shares, shown))
            return self._last[2]
        made = Snapshot({}, {}, {})
        for target in targets:
            places = self._places_of(target)
            made.clusters.update(places.clusters)
            made.endpoints.update(places.endpoints)
            host = self._host_of(target, shares.get(target.key))
            made.hosts[host.name] = host
        self._forget({target.key for target in targets})
        self._last = (targets, shown, made)
        return made

    def _with_shares(
        self,
        before: tuple[Sequence[Target], Mapping[TargetKey, Shown], Snapshot],
        targets: Sequence[Target],
        shares: Mapping[TargetKey, Shares],
        shown: Mapping[TargetKey, Shown],
    ) -> Snapshot:
        """Build the hosts anew whose share came, went or changed hands. Clusters and endpoints stay the same objects."""
        other = {key for key, _ in shown.items() ^ before[1].items()}
        changed = (target for target in targets if target.key in other)
        hosts = {host.name: host for host in (self._host_of(one, shares.get(one.key)) for one in changed)}
        return Snapshot(before[2].clusters, before[2].endpoints, before[2].hosts | hosts)

    def _places_of(self, target: Target) -> Snapshot:
        known = self._places.get(target.key)
        if known is None or known[0] is not target:
            known = self._places[target.key] = (target, _places(target))
        return known[1]

    def _host_of(self, target: Target, share: Shares | None) -> Wire:
        shown = None if share is None else _shown(share)
        known = self._hosts.get(target.key)
        if known is None or known[0] is not target or known[1] != shown:
            host = virtual_host(target, share)
            named = frozenset(named_clusters(host))
            known = self._hosts[target.key] = (target, shown, wire(host.name, HOSTS, host), named)
        return known[2]

    def _forget(self, kept: Set[TargetKey]) -> None:
        for cache in (self._places, self._hosts):
            for key in cache.keys() - kept:
                del cache[key]


def _shown(share: Shares) -> tuple[str, str, str]:
    return share.version, share.release, share.audience


def snapshot(targets: Sequence[Target], shares: Mapping[TargetKey, Shares]) -> Snapshot:
    """Build a snapshot once."""
    return Builder().build(targets, shares)


def _places(target: Target) -> Snapshot:
    """Return clusters and endpoints of one target."""
    made = Snapshot({}, {}, {})
    for version, addresses in target.versions.items():
        _add(made, target, cluster_name(target.key, version), addresses)
    if target.shield and len(target.versions) > 1:
        _add(made, target, rescue_name(target.key), target.versions[target.stable])
    for version in _shadowed(target):
        _add(made, target, shadow_name(target.key, version), target.versions[version])
    for shield in _shields(target):
        made.clusters[shield.name] = wire(shield.name, CLUSTERS, shield)
    return made


def _add(made: Snapshot, target: Target, name: str, addresses: Sequence[str]) -> None:
    cluster = build.served(name, target.protocol, addresses)
    made.clusters[name] = wire(name, CLUSTERS, cluster)
    if cluster.type == build.EDS:
        # A cluster that is made anew waits for its endpoints to be sent again, so its hash is part of theirs.
        assigned = build.assignment(name, addresses)
        made.endpoints[name] = wire(name, ENDPOINTS, assigned, made.clusters[name].version)


def _shields(target: Target) -> Iterator[resources_pb2.Cluster]:
    """Return an aggregate for each version that may become a canary; they stand before any share, and stay."""
    for version in target.versions if target.shield else ():
        if version != target.stable:
            name = shield_name(target.key, version)
            yield build.shield(name, cluster_name(target.key, version), rescue_name(target.key))


def _shadowed(target: Target) -> Iterable[str]:
    """Return the versions that get requests which count for nobody."""
    if target.preview:
        return target.versions
    return () if target.mirror is None else (target.mirror.version,)
