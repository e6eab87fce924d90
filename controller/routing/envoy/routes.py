"""The virtual host of a target: who goes to the canary, who to stable, and what happens to a try that failed. Pure.

Before it: targets and unexpired shares, through `snapshot`. After it: `xds` serves it.

The split is one matcher: `hash(seed, draw) mod 10 000 < runtime key`. The draw is a header that Envoy overwrites with a
fresh unique id on every hop (`bootstrap`), so no caller can choose a side; the seed comes from the release, so each
release draws anew.

A shielded canary is asked first; what it failed is asked again of stable, where that does no harm (`retries`).
"""

from __future__ import annotations

from urllib.parse import quote

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from controller.model.target import Target, TargetKey
from controller.routing.envoy import retries
from controller.routing.envoy.layer import runtime_key, seed
from controller.routing.envoy.proto import resources_pb2
from controller.routing.envoy.resources import (
    DRAW_HEADER,
    METADATA,
    cluster_name,
    host_name,
    pack,
    shield_name,
)
from controller.routing.port import Shares

REQUEST_TIMEOUT_S = 30
SAFE = "GET|HEAD|OPTIONS"
"""Methods whose requests may be sent twice."""


def virtual_host(target: Target, share: Shares | None) -> resources_pb2.VirtualHost:
    """Build the virtual host of a target.

    Args:
        target: Whose.
        share: Of the release that holds the lease; None while nobody does.
    """
    domains = [domain for host in target.hosts for domain in (host, f"{host}:*")]
    host = resources_pb2.VirtualHost(name=host_name(target.key), domains=domains)
    stable = stable_route(target, cluster_name(target.key, target.stable))
    if share is None or not target.versions.get(share.version):
        host.routes.append(stable)
        return host
    drawn = resources_pb2.Matcher.FieldMatcher(
        predicate=_draw(target.key, share.release), on_match=_on_match(_canary_routes(target, share))
    )
    host.matcher.matcher_list.matchers.append(drawn)
    host.matcher.on_no_match.CopyFrom(_on_match([stable]))
    return host


def _canary_routes(target: Target, share: Shares) -> list[resources_pb2.Route]:
    """Build the routes of the canary; the first that matches counts."""
    if not target.shield:
        return [_route(target, share.version, cluster_name(target.key, share.version), share)]
    cluster = shield_name(target.key, share.version)
    safe, other = (_route(target, share.version, cluster, share) for _ in range(2))
    safe.match.headers.append(is_header(":method", SAFE))
    safe.route.retry_policy.CopyFrom(retries.rescue(is_safe=True))
    other.route.retry_policy.CopyFrom(retries.rescue(is_safe=False))
    return [safe, other]


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
                typed_config=pack(
                    "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                    resources_pb2.HeaderInput(header_name=DRAW_HEADER),
                ),
            ),
            custom_match=resources_pb2.Extension(
                name="share",
                typed_config=pack(
                    "type.googleapis.com/"
                    "envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction",
                    fraction,
                ),
            ),
        )
    )


def is_header(name: str, pattern: str) -> resources_pb2.HeaderMatcher:
    """Match a header whose whole value fits a regular expression (RE2)."""
    value = resources_pb2.StringMatcher(safe_regex=resources_pb2.StringMatcher.Regex(regex=pattern))
    return resources_pb2.HeaderMatcher(name=name, string_match=value)


def _on_match(routes: list[resources_pb2.Route]) -> resources_pb2.Matcher.OnMatch:
    body = pack("type.googleapis.com/envoy.config.route.v3.RouteList", resources_pb2.RouteList(routes=routes))
    return resources_pb2.Matcher.OnMatch(action=resources_pb2.Extension(name="route", typed_config=body))


def stable_route(target: Target, cluster: str) -> resources_pb2.Route:
    """Build the route of everybody who is not in a canary.

    Args:
        target: Whose.
        cluster: Name of the cluster over the stable version's endpoints.
    """
    return _route(target, target.stable, cluster, None)


def _route(target: Target, version: str, cluster: str, share: Shares | None) -> resources_pb2.Route:
    facts = Struct()
    facts.update({"target": target.key, "version": version, "release": share.release if share else ""})
    facts.update({"track": "canary" if share else "stable"})
    route = resources_pb2.Route(
        name="canary" if share else "stable",
        match=resources_pb2.RouteMatch(prefix="/"),
        route=resources_pb2.RouteAction(
            cluster=cluster,
            timeout=Duration(seconds=REQUEST_TIMEOUT_S),
            retry_policy=retries.another_instance(),
        ),
        metadata=resources_pb2.Metadata(filter_metadata={METADATA: facts}),
        request_headers_to_remove=[DRAW_HEADER],
    )
    if share:
        route.request_headers_to_add.append(_baggage(share.release))
    return route


def _baggage(release: str) -> resources_pb2.HeaderValueOption:
    """Overwrite the caller's baggage, so that nobody but the route says what is canary."""
    # Percent signs are Envoy's own escape in header values.
    named = quote(release, safe="").replace("%", "%%")
    value = f"correlation.id=%REQ(X-CORRELATION-ID)%,release.id={named},release.track=canary"
    return resources_pb2.HeaderValueOption(
        header=resources_pb2.HeaderValue(key="baggage", value=value), append_action=2
    )
