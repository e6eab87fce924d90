"""Pure builders: targets and shares in, the bytes of Envoy's resources out.

Before it: the set of targets and the unexpired shares, from the keeper through `plane`. After it: `xds` sends what
differs. Nothing here has a clock or a memory; the version of a resource is a hash of its content, so that a restarted
router and a reconnecting Envoy agree without talking.

The split of a target is one matcher in its virtual host: `hash(seed, draw) mod 10 000 < runtime key`. The draw is a
header that Envoy overwrites with a fresh unique id on every hop (`bootstrap`), so no caller can choose a side; the seed
comes from the release, so each release draws anew; the key carries the release too, so that the share of one release
can never open the matcher of another. Without the key the matcher draws 0: all stable.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import UInt32Value

from controller.errors import InvalidInput
from controller.model.share import basis_points
from controller.model.target import Protocol, Target, TargetKey
from controller.routing.envoy.proto import discovery_pb2, resources_pb2
from controller.routing.port import Shares

CLUSTERS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"

ROUTE_TABLE = "edge"
"""Name of the one RouteConfiguration."""
LAYER = "lease"
"""Name of the runtime layer and first part of each of its keys."""
DRAW_HEADER = "x-serinus-draw"
"""Made by Envoy on each hop, dropped before the request leaves; a caller's own is overwritten."""
METADATA = "serinus"
"""Namespace of the route metadata that the access log reads."""

CONNECT_TIMEOUT_S = 1
REQUEST_TIMEOUT_S = 30
UPSTREAM_IDLE_S = 3
"""Below the 5 s after which common servers close an idle connection, so that we never write into a closing one."""
RETRY_ON = "connect-failure,refused-stream,reset-before-request"
"""Only what never reached the service: safe for every method."""
RETRIES = 2
HOST_DRAWS = 16
"""How often a retry draws for a host that was not tried yet before it takes any."""
CONCURRENT_RETRIES = 256
CONCURRENT_REQUESTS = 10_000


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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything but the shares: resources by name. The shares come as a runtime layer of their own (`layer`)."""

    clusters: Mapping[str, Wire]
    endpoints: Mapping[str, Wire]
    routes: Mapping[str, Wire]


def cluster_name(target: TargetKey, version: str) -> str:
    """Return the name of a version's cluster; also how the counters find it again."""
    return f"{target}/{version}"


def runtime_key(target: TargetKey, release: str) -> str:
    """Return the runtime key that holds the share of one release."""
    return f"{LAYER}.{target}.{release}"


def seed(release: str) -> int:
    """Return the seed of a release's draw: a stable hash, so that every Envoy draws alike."""
    return int.from_bytes(hashlib.blake2b(release.encode(), digest_size=8).digest(), "big")


def runtime_value(share: int) -> Struct:
    """Turn basis points into the only form of a share that Envoy reads as meant.

    A bare number would mean per cent, and 500 of them all traffic; Envoy accepts it without a word.

    Raises:
        InvalidInput: Not a whole number from 1 to 10 000. Nothing is said by leaving the key out.
    """
    if basis_points(share) == 0:
        raise InvalidInput("a share of 0 is said by leaving the key out", field="share")
    value = Struct()
    value.update({"numerator": share, "denominator": "TEN_THOUSAND"})
    return value


def layer(shares: Mapping[TargetKey, Shares]) -> Wire:
    """Build the runtime layer: one key for each share there is, none for anybody else."""
    content = Struct()
    for target, share in shares.items():
        content.fields[runtime_key(target, share.release)].struct_value.CopyFrom(runtime_value(share.share))
    return _wire(LAYER, RUNTIME, discovery_pb2.Runtime(name=LAYER, layer=content))


def snapshot(targets: Sequence[Target], shares: Mapping[TargetKey, Shares]) -> Snapshot:
    """Build clusters, endpoints and the route table.

    A share whose version is not declared, or has no address, is left out of the route: its traffic stays on stable.
    """
    clusters: dict[str, Wire] = {}
    endpoints: dict[str, Wire] = {}
    for target in targets:
        for version, addresses in target.versions.items():
            name = cluster_name(target.key, version)
            assigned = _assignment(name, addresses)
            by_name = any(not _is_ip(address) for address in addresses)
            made = _cluster(name, target.protocol, assigned if by_name else None)
            clusters[name] = _wire(name, CLUSTERS, made)
            if not by_name:
                # A cluster that is made anew waits for its endpoints to be sent again, so its hash is part of theirs.
                endpoints[name] = _wire(name, ENDPOINTS, assigned, clusters[name].version)
    hosts = [_virtual_host(target, shares.get(target.key)) for target in targets]
    table = resources_pb2.RouteConfiguration(name=ROUTE_TABLE, virtual_hosts=hosts)
    return Snapshot(clusters, endpoints, {ROUTE_TABLE: _wire(ROUTE_TABLE, ROUTES, table)})


def _pack(type_url: str, message: Message) -> Any:
    return Any(type_url=type_url, value=message.SerializeToString(deterministic=True))


def _wire(name: str, type_url: str, message: Message, salt: str = "") -> Wire:
    body = _pack(type_url, message)
    version = hashlib.blake2b(body.value, digest_size=12, key=salt.encode()).hexdigest()
    return Wire(name, version, body)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(_split(address)[0])
    except ValueError:
        return False
    return True


def _assignment(name: str, addresses: Sequence[str]) -> resources_pb2.ClusterLoadAssignment:
    places = [
        resources_pb2.LbEndpoint(
            endpoint=resources_pb2.Endpoint(
                address=resources_pb2.Address(
                    socket_address=resources_pb2.SocketAddress(address=host, port_value=port)
                )
            )
        )
        for host, port in map(_split, addresses)
    ]
    group = resources_pb2.LocalityLbEndpoints(lb_endpoints=places)
    return resources_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=[group] if places else [])


def _cluster(
    name: str, protocol: Protocol, inline: resources_pb2.ClusterLoadAssignment | None
) -> resources_pb2.Cluster:
    """Build a cluster: endpoints by EDS for addresses, by DNS (with the endpoints inside) for host names."""
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
    cluster = resources_pb2.Cluster(
        name=name,
        connect_timeout=Duration(seconds=CONNECT_TIMEOUT_S),
        lb_policy=1,
        circuit_breakers=resources_pb2.CircuitBreakers(thresholds=[limits]),
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _pack(
                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", options
            )
        },
    )
    if inline is None:
        cluster.type = 3
        cluster.eds_cluster_config.eds_config.ads.SetInParent()
        cluster.eds_cluster_config.eds_config.resource_api_version = 2
    else:
        cluster.type = 1
        cluster.dns_lookup_family = 3
        cluster.load_assignment.CopyFrom(inline)
    return cluster


def _virtual_host(target: Target, share: Shares | None) -> resources_pb2.VirtualHost:
    domains = [domain for host in target.hosts for domain in (host, f"{host}:*")]
    host = resources_pb2.VirtualHost(name=target.key, domains=domains)
    stable = _route(target, target.stable, None)
    if share is None or not target.versions.get(share.version):
        host.routes.append(stable)
        return host
    drawn = resources_pb2.Matcher.FieldMatcher(
        predicate=_draw(target.key, share.release), on_match=_on_match(_route(target, share.version, share))
    )
    host.matcher.matcher_list.matchers.append(drawn)
    host.matcher.on_no_match.CopyFrom(_on_match(stable))
    return host


def _draw(target: TargetKey, release: str) -> resources_pb2.Matcher.Predicate:
    fraction = resources_pb2.RuntimeFraction(
        seed=seed(release),
        runtime_fraction=resources_pb2.RuntimeFractionalPercent(
            runtime_key=runtime_key(target, release),
            default_value=resources_pb2.FractionalPercent(numerator=0, denominator=1),
        ),
    )
    return resources_pb2.Matcher.Predicate(
        single_predicate=resources_pb2.Matcher.SinglePredicate(
            input=resources_pb2.Extension(
                name="draw",
                typed_config=_pack(
                    "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                    resources_pb2.HeaderInput(header_name=DRAW_HEADER),
                ),
            ),
            custom_match=resources_pb2.Extension(
                name="share",
                typed_config=_pack(
                    "type.googleapis.com/"
                    "envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction",
                    fraction,
                ),
            ),
        )
    )


def _on_match(route: resources_pb2.Route) -> resources_pb2.Matcher.OnMatch:
    body = _pack("type.googleapis.com/envoy.config.route.v3.Route", route)
    return resources_pb2.Matcher.OnMatch(action=resources_pb2.Extension(name="route", typed_config=body))


def _route(target: Target, version: str, share: Shares | None) -> resources_pb2.Route:
    facts = Struct()
    facts.update({"target": target.key, "version": version, "release": share.release if share else ""})
    facts.update({"track": "canary" if share else "stable"})
    route = resources_pb2.Route(
        name="canary" if share else "stable",
        match=resources_pb2.RouteMatch(prefix="/"),
        route=resources_pb2.RouteAction(
            cluster=cluster_name(target.key, version),
            timeout=Duration(seconds=REQUEST_TIMEOUT_S),
            retry_policy=_retry_policy(),
        ),
        metadata=resources_pb2.Metadata(filter_metadata={METADATA: facts}),
        request_headers_to_remove=[DRAW_HEADER],
    )
    if share:
        route.request_headers_to_add.append(_baggage(share.release))
    return route


def _retry_policy() -> resources_pb2.RetryPolicy:
    """Try another host of the same version when the service was never reached."""
    other_host = resources_pb2.RetryPolicy.HostPredicate(
        name="envoy.retry_host_predicates.previous_hosts",
        typed_config=Any(
            type_url="type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
        ),
    )
    return resources_pb2.RetryPolicy(
        retry_on=RETRY_ON,
        num_retries=UInt32Value(value=RETRIES),
        retry_host_predicate=[other_host],
        host_selection_retry_max_attempts=HOST_DRAWS,
        retry_back_off=resources_pb2.RetryPolicy.BackOff(
            base_interval=Duration(nanos=10_000_000), max_interval=Duration(nanos=50_000_000)
        ),
    )


def _baggage(release: str) -> resources_pb2.HeaderValueOption:
    """Overwrite the caller's baggage, so that nobody but the route says what is canary."""
    # Percent signs are Envoy's own escape in header values.
    named = quote(release, safe="").replace("%", "%%")
    value = f"correlation.id=%REQ(X-CORRELATION-ID)%,release.id={named},release.track=canary"
    return resources_pb2.HeaderValueOption(
        header=resources_pb2.HeaderValue(key="baggage", value=value), append_action=2
    )
