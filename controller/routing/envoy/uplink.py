"""Pure: how an Envoy reaches the router: by its unix socket on the same host, by mutual TLS from anywhere else.

Before it: `bootstrap` puts both into the file that Envoy starts from. After it: Envoy opens one stream to `xds`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

ROUTER = "router"
"""Name of the cluster in Envoy."""
_TYPE = "type.googleapis.com/"


@dataclass(frozen=True, slots=True)
class Uplink:
    """The router's TLS listener as one Envoy sees it. Paths are absolute, on Envoy's own host; Envoy reads the files.

    Args:
        host: Name or address of the router; its certificate must be made for exactly this.
        port: The router's `router.xds.port`.
        certificate: What this Envoy shows (PEM), signed by the router's `router.xds.client_ca`.
        key: Its private key (PEM).
        ca: Who signs the router's certificate (PEM).
    """

    host: str
    port: int
    certificate: Path
    key: Path
    ca: Path


def ads_stream() -> Json:
    """Build the one stream to the router; its back-off decides how long a restarted router waits for its proxies."""
    stream = {
        "cluster_name": ROUTER,
        "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "0.5s"}},
    }
    return {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": stream}],
    }


def router_cluster(socket: Path, uplink: Uplink | None) -> Json:
    """Build the static cluster of the router; the keep-alive cuts the stream of a frozen one before a lease could run out.

    Args:
        socket: Where it is on the same host.
        uplink: Where it is from anywhere else; None takes the socket.
    """
    address: Json = {"pipe": {"path": str(socket)}}
    more: Json = {"type": "STATIC", "connect_timeout": "0.5s"}
    if uplink is not None:
        address = {"socket_address": {"address": uplink.host, "port_value": uplink.port}}
        kind = "STATIC" if _is_ip(uplink.host) else "STRICT_DNS"
        more = {"type": kind, "connect_timeout": "2s", "transport_socket": _tls(uplink)}
        more["dns_lookup_family"] = "V4_PREFERRED"
    return {
        "name": ROUTER,
        **more,
        "load_assignment": {
            "cluster_name": ROUTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "0.5s", "timeout": "1s"}}
                },
            }
        },
    }


def _tls(uplink: Uplink) -> Json:
    """Show our certificate, and believe only one that was made for the router's host: any other of the same CA is an Envoy's."""
    kind = "IP_ADDRESS" if _is_ip(uplink.host) else "DNS"
    context: Json = {
        "@type": _TYPE + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "alpn_protocols": ["h2"],
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(uplink.certificate)},
                    "private_key": {"filename": str(uplink.key)},
                }
            ],
            "validation_context": {
                "trusted_ca": {"filename": str(uplink.ca)},
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": uplink.host}}],
            },
        },
    }
    if kind == "DNS":
        context["sni"] = uplink.host
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
