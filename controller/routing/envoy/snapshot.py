"""Everything that the proxies should have, but the shares: clusters, endpoints and virtual hosts by name. Pure.

Before it: the set of targets and the unexpired shares, from the keeper through `plane`. After it: `xds` sends what
differs. Nothing here has a clock or a memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Resources by name. The shares come as a runtime layer of their own (`layer`)."""

    clusters: Mapping[str, Wire]
    endpoints: Mapping[str, Wire]
    hosts: Mapping[str, Wire]


def snapshot(targets: Sequence[Target], shares: Mapping[TargetKey, Shares]) -> Snapshot:
    """Build clusters, endpoints and virtual hosts.

    A share whose version is not declared, or has no address, is left out of the route: its traffic stays on stable.
    """
    clusters: dict[str, Wire] = {}
    endpoints: dict[str, Wire] = {}
    hosts: dict[str, Wire] = {}

    def add(target: Target, name: str, addresses: Sequence[str]) -> None:
        made = build.served(name, target.protocol, addresses)
        clusters[name] = wire(name, CLUSTERS, made)
        if made.type == build.EDS:
            # A cluster that is made anew waits for its endpoints to be sent again, so its hash is part of theirs.
            assigned = build.assignment(name, addresses)
            endpoints[name] = wire(name, ENDPOINTS, assigned, clusters[name].version)

    for target in targets:
        for version, addresses in target.versions.items():
            add(target, cluster_name(target.key, version), addresses)
        if target.shield and len(target.versions) > 1:
            add(target, rescue_name(target.key), target.versions[target.stable])
        for version in _shadowed(target):
            add(target, shadow_name(target.key, version), target.versions[version])
        for made in _shields(target):
            clusters[made.name] = wire(made.name, CLUSTERS, made)
        host = virtual_host(target, shares.get(target.key))
        hosts[host.name] = wire(host.name, HOSTS, host)
    return Snapshot(clusters, endpoints, hosts)


def missing_clusters(made: Snapshot) -> set[str]:
    """Return the clusters that a route names and nobody has: Envoy accepts such a route, and answers 503 for it."""
    hosts = (resources_pb2.VirtualHost.FromString(host.body.value) for host in made.hosts.values())
    return {name for host in hosts for name in named_clusters(host)} - made.clusters.keys()


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
