"""Everything that the proxies should have, but the shares: clusters, endpoints and virtual hosts by name. Pure.

Before it: the set of targets and the unexpired shares, from the keeper through `plane`. After it: `xds` sends what
differs. Nothing here has a clock or a memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.model.target import Target, TargetKey
from controller.routing.envoy import clusters as build
from controller.routing.envoy.resources import CLUSTERS, ENDPOINTS, HOSTS, Wire, cluster_name, host_name, wire
from controller.routing.envoy.routes import virtual_host
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
    for target in targets:
        for version, addresses in target.versions.items():
            name = cluster_name(target.key, version)
            made = build.served(name, target.protocol, addresses)
            clusters[name] = wire(name, CLUSTERS, made)
            if made.type == build.EDS:
                # A cluster that is made anew waits for its endpoints to be sent again, so its hash is part of theirs.
                assigned = build.assignment(name, addresses)
                endpoints[name] = wire(name, ENDPOINTS, assigned, clusters[name].version)
        host = virtual_host(target, shares.get(target.key))
        hosts[host.name] = wire(host_name(target.key), HOSTS, host)
    return Snapshot(clusters, endpoints, hosts)
