"""The virtual host of a target: who goes to the canary, who to stable, and what happens to a try that failed. Pure.

Before it: targets and unexpired shares, through `snapshot`. After it: `xds` serves it. Which requests is said by
`matching`, what becomes of a try that failed by `retries`.

Lists of routes are read from the top, the first that matches counts: previews of trusted callers, then the canary (only
for those who are drawn), then stable. Without a share there is no canary in the list at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from controller.model.share import basis_points
from controller.model.target import Target
from controller.routing.envoy import retries
from controller.routing.envoy.identity import FILTER, cookie_context
from controller.routing.envoy.matching import drawn, is_header, narrowed
from controller.routing.envoy.proto import resources_pb2
from controller.routing.envoy.resources import (
    DRAW_HEADER,
    METADATA,
    cluster_name,
    host_name,
    pack,
    shadow_name,
    shield_name,
)
from controller.routing.port import Shares

SILENT_S, STREAM_SILENT_S = 60, 3_600
"""How long a request may send nothing in either direction: in general, and where answers have no limit."""
SAFE = "GET|HEAD|OPTIONS"
"""Methods whose requests may be sent twice."""
PREVIEW_HEADER = "x-serinus-version"
INTERNAL_HEADER = "x-envoy-internal"
"""Envoy says with it that the caller's address is one that it trusts, and removes it from everybody else's requests."""

Routes = list[resources_pb2.Route]


def virtual_host(target: Target, share: Shares | None) -> resources_pb2.VirtualHost:
    """Build the virtual host of a target.

    Args:
        target: Whose.
        share: Of the release that holds the lease; None while nobody does.
    """
    domains = [domain for host in target.hosts for domain in (host, f"{host}:*")]
    host = resources_pb2.VirtualHost(name=host_name(target.key), domains=domains)
    if target.identity and target.identity.cookie:
        host.typed_per_filter_config[FILTER].CopyFrom(cookie_context(target.identity.cookie))
    undrawn = [*_preview_routes(target), *_stable_routes(target)]
    if share is None or not target.versions.get(share.version):
        host.routes.extend(undrawn)
        return host
    taken = [*_preview_routes(target), *_canary_routes(target, share), *_stable_routes(target)]
    for predicate in drawn(target, share):
        matcher = resources_pb2.Matcher.FieldMatcher(predicate=predicate, on_match=_on_match(taken))
        host.matcher.matcher_list.matchers.append(matcher)
    host.matcher.on_no_match.CopyFrom(_on_match(undrawn))
    return host


def named_clusters(host: resources_pb2.VirtualHost) -> Iterator[str]:
    """Return every cluster that a virtual host sends or copies requests to."""
    lists = [host.routes]
    matchers = host.matcher.matcher_list.matchers
    actions = [*(one.on_match.action for one in matchers), host.matcher.on_no_match.action]
    lists.extend(resources_pb2.RouteList.FromString(one.typed_config.value).routes for one in actions)
    for route in (route for one in lists for route in one):
        yield route.route.cluster
        yield from (policy.cluster for policy in route.route.request_mirror_policies)


def stable_route(target: Target, cluster: str) -> resources_pb2.Route:
    """Build the route of everybody who is not in a canary.

    Args:
        target: Whose.
        cluster: Name of the cluster over the stable version's endpoints.
    """
    return _route(target, target.stable, cluster, track="stable")


def _stable_routes(target: Target) -> Routes:
    stable = stable_route(target, cluster_name(target.key, target.stable))
    mirror = target.mirror
    if mirror is None or mirror.version == target.stable or not target.versions[mirror.version]:
        return [stable]
    copied = resources_pb2.Route()
    copied.CopyFrom(stable)
    copied.match.headers.append(is_header(":method", SAFE))
    part = resources_pb2.FractionalPercent(numerator=basis_points(mirror.share), denominator=1)
    copied.route.request_mirror_policies.append(
        resources_pb2.MirrorPolicy(
            cluster=shadow_name(target.key, mirror.version),
            runtime_fraction=resources_pb2.RuntimeFractionalPercent(default_value=part),
            disable_shadow_host_suffix_append=True,
        )
    )
    return [copied, stable]


def _canary_routes(target: Target, share: Shares) -> Routes:
    """Build the routes of those who are drawn; where only some may meet a canary, one set a match.

    The target's matches and those of the share both hold: what a declaration keeps from every canary, no plan opens.
    """
    cluster = cluster_name(target.key, share.version)
    if target.shield:
        cluster = shield_name(target.key, share.version)
    canary = _route(target, share.version, cluster, track="canary", release=share.release)
    canary.request_headers_to_add.append(_baggage(share.release))
    routes = _shielded(canary) if target.shield else [canary]
    for matches in (target.matches, share.matches):
        if matches:
            routes = [narrowed(route, match) for match in matches for route in routes]
    return routes


def _shielded(canary: resources_pb2.Route) -> Routes:
    safe, other = resources_pb2.Route(), resources_pb2.Route()
    for route, is_safe in ((safe, True), (other, False)):
        route.CopyFrom(canary)
        route.route.retry_policy.CopyFrom(retries.rescue(is_safe=is_safe))
    safe.match.headers.append(is_header(":method", SAFE))
    return [safe, other]


def _preview_routes(target: Target) -> Routes:
    """Build a route to each version for trusted callers who name it; what they do counts for nobody."""
    routes = []
    for version, addresses in target.versions.items() if target.preview else ():
        if addresses:
            route = _route(target, version, shadow_name(target.key, version), track="preview")
            exact = resources_pb2.StringMatcher(exact=version)
            route.match.headers.append(resources_pb2.HeaderMatcher(name=PREVIEW_HEADER, string_match=exact))
            route.match.headers.append(is_header(INTERNAL_HEADER, "true"))
            routes.append(route)
    return routes


def _on_match(routes: Routes) -> resources_pb2.Matcher.OnMatch:
    body = pack("type.googleapis.com/envoy.config.route.v3.RouteList", resources_pb2.RouteList(routes=routes))
    return resources_pb2.Matcher.OnMatch(action=resources_pb2.Extension(name="route", typed_config=body))


def _route(
    target: Target, version: str, cluster: str, *, track: str, release: str = ""
) -> resources_pb2.Route:
    facts = Struct()
    facts.update({"target": target.key, "version": version, "release": release, "track": track})
    return resources_pb2.Route(
        name=track,
        match=resources_pb2.RouteMatch(prefix="/"),
        route=resources_pb2.RouteAction(
            cluster=cluster,
            timeout=Duration(nanos=round(target.timeout_s * 1e9) % 10**9, seconds=int(target.timeout_s)),
            idle_timeout=Duration(seconds=SILENT_S if target.timeout_s else STREAM_SILENT_S),
            retry_policy=retries.another_instance(),
        ),
        metadata=resources_pb2.Metadata(filter_metadata={METADATA: facts}),
        request_headers_to_remove=[DRAW_HEADER],
    )


def _baggage(release: str) -> resources_pb2.HeaderValueOption:
    """Overwrite the caller's baggage, so that nobody but the route says what is canary."""
    # Percent signs are Envoy's own escape in header values.
    named = quote(release, safe="").replace("%", "%%")
    value = f"correlation.id=%REQ(X-CORRELATION-ID)%,release.id={named},release.track=canary"
    return resources_pb2.HeaderValueOption(
        header=resources_pb2.HeaderValue(key="baggage", value=value), append_action=2
    )
