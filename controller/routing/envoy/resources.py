"""What Envoy's resources are called, and how one is packed. Pure.

Before it: `clusters`, `routes` and `layer`, which build the messages. After it: `snapshot` gathers them, `xds` sends
what differs. The version of a resource is a hash of its content, so that a restarted router and a reconnecting Envoy
agree without talking.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from controller.model.target import TargetKey

CLUSTERS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
HOSTS = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"

ROUTE_TABLE = "edge"
"""Name of the one RouteConfiguration. It comes from a file (`boot`); the virtual hosts of targets are served."""
LAYER = "lease"
"""Name of the runtime layer and first part of each of its keys."""
SHIELD = "shield/"
"""Before the name of the cluster that a shield asks first."""
DRAW_HEADER = "x-serinus-draw"
"""Made by Envoy on each hop, dropped before the request leaves; a caller's own is overwritten."""
METADATA = "serinus"
"""Namespace of the route metadata that the access log reads."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One resource as it goes out.

    Args:
        name: As Envoy subscribes to it.
        version: Hash of the content.
        body: Type URL and serialised message.
    """

    name: str
    version: str
    body: Any


def cluster_name(target: TargetKey, version: str) -> str:
    """Return the name of a version's cluster; also how the counters find it again."""
    return f"{target}/{version}"


def target_of(name: str) -> TargetKey:
    """Return the target whose version has a cluster of this name."""
    return TargetKey(name.partition("/")[0])


def rescue_name(target: TargetKey) -> str:
    """Return the name of the cluster over stable's endpoints that takes over what a canary failed."""
    return f"rescue/{target}"


def shield_name(target: TargetKey, version: str) -> str:
    """Return the name of the cluster that asks a canary first and then the one that rescues."""
    return f"{SHIELD}{cluster_name(target, version)}"


def shielded(name: str) -> str:
    """Return the name of the cluster that a shield asks first; any other name is returned as it is."""
    return name.removeprefix(SHIELD)


def shadow_name(target: TargetKey, version: str) -> str:
    """Return the name of the cluster over a version's endpoints for requests that count for nobody."""
    return f"shadow/{target}/{version}"


def host_name(target: TargetKey) -> str:
    """Return the name of a target's virtual host: Envoy takes those below the name of its route table."""
    return f"{ROUTE_TABLE}/{target}"


def pack(type_url: str, message: Message) -> Any:
    """Put a message into an Any under the name that Envoy knows; equal messages give equal bytes."""
    return Any(type_url=type_url, value=message.SerializeToString(deterministic=True))


def wire(name: str, type_url: str, message: Message, salt: str = "") -> Wire:
    """Pack a resource and give it its version.

    Args:
        name: As Envoy subscribes to it.
        type_url: Of the message.
        message: The content.
        salt: Makes equal contents different versions; "" leaves the version to the content.
    """
    body = pack(type_url, message)
    version = hashlib.blake2b(body.value, digest_size=12, key=salt.encode()).hexdigest()
    return Wire(name, version, body)
