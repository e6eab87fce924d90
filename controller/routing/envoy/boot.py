"""The last known stable routes, for an Envoy that starts while no router answers. Pure.

Before it: the declared targets. After it: `bootfile` writes them where Envoy finds them.

How the two sets of routes live together: Envoy reads its route table from a file. The table holds one virtual host for
every host there is (`*`), which finds the target by its host name and sends to clusters of its own; and it asks the
router for the virtual hosts of targets (VHDS), which name their hosts exactly. Envoy takes the exact one, so whatever
the router serves wins, request by request, and what it never served is answered from the file.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.model.target import Target
from controller.routing.envoy.clusters import fixed
from controller.routing.envoy.plain import Json, plain
from controller.routing.envoy.proto import resources_pb2
from controller.routing.envoy.resources import ROUTE_TABLE
from controller.routing.envoy.routes import stable_route

BOOT = "boot/"
"""Begins the name of each cluster of the file; a target's own name cannot hold a slash."""
FETCH_WITHIN = "0.5s"
"""How long the start of Envoy waits for the router: once for the shares, once for the clusters, once for the hosts."""
Text = resources_pb2.StringMatcher
NOTHING_KNOWN = "no router has told this proxy what to serve yet\n"


def boot_cluster(target: Target) -> Json:
    """Return a cluster over the stable version of a target, endpoints inside."""
    made: Json = plain(fixed(f"{BOOT}{target.key}", target.protocol, target.versions[target.stable]))
    return made


def boot_routes(target: Target) -> list[Json]:
    """Return the routes of a target's hosts to its boot cluster: each host by itself, and with any port.

    Not one expression for all of them: Envoy refuses a long one, and with it the whole file.
    """
    stable = stable_route(target, f"{BOOT}{target.key}")
    made = []
    for host in target.hosts:
        for asked in (Text(exact=host, ignore_case=True), Text(prefix=f"{host}:", ignore_case=True)):
            route = resources_pb2.Route()
            route.CopyFrom(stable)
            route.match.headers.append(resources_pb2.HeaderMatcher(name=":authority", string_match=asked))
            made.append(plain(route))
    return made


def boot_table(routes: Sequence[Json]) -> Json:
    """Return the route table: the routes of all targets, and where the virtual hosts of the router come from."""
    return _table(list(routes))


def unknown_routes() -> Json:
    """Return the route table of an Envoy that was never told anything: 503, because nobody knows that it is a 404."""
    answer = {"status": 503, "body": {"inline_string": NOTHING_KNOWN}}
    return _table([{"name": "unknown", "match": {"prefix": "/"}, "direct_response": answer}])


def _table(routes: list[Json]) -> Json:
    table = {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": ROUTE_TABLE,
        "virtual_hosts": [{"name": "boot", "domains": ["*"], "routes": routes}],
        "vhds": {
            "config_source": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": FETCH_WITHIN}
        },
    }
    return {"resources": [table]}
