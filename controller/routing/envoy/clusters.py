"""Clusters and endpoints: where the versions of a target answer. Pure.

Before it: the targets, through `snapshot` and `boot`. After it: `xds` serves them, the boot file holds some of them.

A canary is shielded by an aggregate: the canary's cluster first, then `rescue`, which is over stable's endpoints but a
cluster of its own, so that what was rescued never counts as stable's. A version whose endpoints cannot be reached is
ejected, and the aggregate goes to `rescue` at once. Only connects that fail and connections that are cut eject: a
version that answers 500 must go on being asked, or the evidence would stop.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from controller.model.target import Protocol
from controller.routing.envoy.proto import resources_pb2
from controller.routing.envoy.resources import pack

CONNECT_TIMEOUT_S = 1
UPSTREAM_IDLE_S = 3
"""Below the 5 s after which common servers close an idle connection, so that we never write into a closing one."""
CONCURRENT_RETRIES = 256
CONCURRENT_REQUESTS = 10_000
CONCURRENT_RESCUES = CONCURRENT_REQUESTS
"""A request is replayed once, so stable gets at most what it had without the canary: a smaller number would only let
failures through to users."""
EJECT_AFTER = 5
"""Failures of the connection in a row. One cut in a thousand requests, as a healthy service may show, makes five in a
row once in 10^15."""
EJECTED_S = 5
"""The first time; the n-th time n times as long. Then it is tried again, and ejected again after `EJECT_AFTER`."""
EJECTED_AT_MOST_S = 30
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
STATIC, STRICT_DNS, EDS = 0, 1, 3
"""How Envoy finds the endpoints of a cluster."""
LEAST_REQUEST, GIVEN_BY_CLUSTER = 1, 6
"""How it chooses among them."""


def split(address: str) -> tuple[str, int]:
    """Return host and port of a checked `host:port`."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def is_ip(address: str) -> bool:
    """Whether the host of an address is a number and not a name."""
    try:
        ipaddress.ip_address(split(address)[0])
    except ValueError:
        return False
    return True


def assignment(name: str, addresses: Sequence[str]) -> resources_pb2.ClusterLoadAssignment:
    """Build the endpoints of a cluster."""
    places = [
        resources_pb2.LbEndpoint(
            endpoint=resources_pb2.Endpoint(
                address=resources_pb2.Address(
                    socket_address=resources_pb2.SocketAddress(address=host, port_value=port)
                )
            )
        )
        for host, port in map(split, addresses)
    ]
    group = resources_pb2.LocalityLbEndpoints(lb_endpoints=places)
    return resources_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=[group] if places else [])


def shield(name: str, canary: str, rescue: str) -> resources_pb2.Cluster:
    """Build the aggregate over a canary's cluster and the one that rescues what it fails.

    Args:
        name: Of the aggregate.
        canary: Name of the cluster that is asked first.
        rescue: Name of the cluster that a second try goes to, and everything while the canary is ejected.
    """
    kind = "envoy.extensions.clusters.aggregate.v3.ClusterConfig"
    config = resources_pb2.AggregateConfig(clusters=[canary, rescue])
    limits = resources_pb2.CircuitBreakers.Thresholds(max_retries=UInt32Value(value=CONCURRENT_RESCUES))
    return resources_pb2.Cluster(
        name=name,
        connect_timeout=Duration(seconds=CONNECT_TIMEOUT_S),
        lb_policy=GIVEN_BY_CLUSTER,
        circuit_breakers=resources_pb2.CircuitBreakers(thresholds=[limits]),
        cluster_type=resources_pb2.Extension(
            name="envoy.clusters.aggregate", typed_config=pack(f"type.googleapis.com/{kind}", config)
        ),
    )


def served(name: str, protocol: Protocol, addresses: Sequence[str]) -> resources_pb2.Cluster:
    """Build a cluster that the router serves: addresses come by EDS, host names stand inside and go by DNS."""
    if not all(is_ip(address) for address in addresses):
        return fixed(name, protocol, addresses)
    cluster = _common(name, protocol)
    cluster.type = EDS
    cluster.eds_cluster_config.eds_config.ads.SetInParent()
    cluster.eds_cluster_config.eds_config.resource_api_version = 2
    return cluster


def fixed(name: str, protocol: Protocol, addresses: Sequence[str]) -> resources_pb2.Cluster:
    """Build a cluster with its endpoints inside, which needs nobody to serve them."""
    cluster = _common(name, protocol)
    cluster.type = STATIC if all(is_ip(address) for address in addresses) else STRICT_DNS
    cluster.dns_lookup_family = 3
    cluster.load_assignment.CopyFrom(assignment(name, addresses))
    return cluster


def _common(name: str, protocol: Protocol) -> resources_pb2.Cluster:
    explicit = resources_pb2.HttpOptions.Explicit()
    if protocol == "http2":
        explicit.http2_protocol_options.SetInParent()
    else:
        explicit.http_protocol_options.SetInParent()
    options = resources_pb2.HttpOptions(
        common_http_protocol_options=resources_pb2.CommonHttpOptions(
            idle_timeout=Duration(seconds=UPSTREAM_IDLE_S)
        ),
        explicit_http_config=explicit,
    )
    limits = resources_pb2.CircuitBreakers.Thresholds(
        max_connections=UInt32Value(value=CONCURRENT_REQUESTS),
        max_pending_requests=UInt32Value(value=CONCURRENT_REQUESTS),
        max_requests=UInt32Value(value=CONCURRENT_REQUESTS),
        max_retries=UInt32Value(value=CONCURRENT_RETRIES),
    )
    return resources_pb2.Cluster(
        name=name,
        connect_timeout=Duration(seconds=CONNECT_TIMEOUT_S),
        lb_policy=LEAST_REQUEST,
        circuit_breakers=resources_pb2.CircuitBreakers(thresholds=[limits]),
        outlier_detection=_ejection(),
        typed_extension_protocol_options={HTTP_OPTIONS: pack(f"type.googleapis.com/{HTTP_OPTIONS}", options)},
    )


def _ejection() -> resources_pb2.OutlierDetection:
    """Build the rule of ejection. Where every endpoint is ejected and nothing else is there, Envoy asks them all."""
    never = UInt32Value(value=0)
    return resources_pb2.OutlierDetection(
        interval=Duration(seconds=1),
        base_ejection_time=Duration(seconds=EJECTED_S),
        max_ejection_time=Duration(seconds=EJECTED_AT_MOST_S),
        max_ejection_percent=UInt32Value(value=100),
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=UInt32Value(value=EJECT_AFTER),
        enforcing_consecutive_5xx=never,
        enforcing_success_rate=never,
        enforcing_local_origin_success_rate=never,
    )
