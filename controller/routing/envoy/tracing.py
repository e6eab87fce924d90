"""Pure: the edge's own spans, and where they go: one for what came in, one for each call to a version.

Before it: `bootstrap` hangs it on the listener, when there is a collector. After it: OTLP over gRPC to `serinus
telemetry`. Envoy flushes by time and number from a buffer on each worker thread and drops what the collector does not
take: a dead one costs spans, never requests. A caller's `traceparent` is taken over, and with it the caller's choice
whether to sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controller.observability import CORRELATION_HEADER
from controller.routing.envoy.resources import METADATA

Json = dict[str, Any]

CLUSTER = "telemetry"
SERVICE = "edge"
FLUSH_MS = 500
FLUSH_SPANS = 1_000
"""What comes first. Envoy's own default is 5 spans a call: 200 calls a second at 1 000 requests."""
RUNTIME = {
    "tracing.opentelemetry.flush_interval_ms": FLUSH_MS,
    "tracing.opentelemetry.min_flush_spans": FLUSH_SPANS,
}
"""For the static layer of the runtime: the tracer reads its rhythm nowhere else."""
EXPORT_WITHIN = "5s"
_TYPE = "type.googleapis.com/"


def tracing() -> Json:
    """Return the tracing of the connection manager: every request, unless its caller decided otherwise."""
    return {
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": _TYPE + "envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": SERVICE,
                "grpc_service": {"envoy_grpc": {"cluster_name": CLUSTER}, "timeout": EXPORT_WITHIN},
            },
        },
        "spawn_upstream_span": True,
        "custom_tags": [
            {"tag": "correlation.id", "request_header": {"name": CORRELATION_HEADER}},
            _routed("release.id", "release"),
            _routed("release.track", "track"),
            _routed("serinus.target", "target"),
            _routed("serinus.version", "version"),
        ],
    }


def collector(host: str, port: int) -> Json:
    """Return the cluster of the OTLP/gRPC receiver.

    Args:
        host: An IP address.
        port: Of OTLP/gRPC.
    """
    place = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": CLUSTER,
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": [place]}]},
        "typed_extension_protocol_options": {
            options: {"@type": _TYPE + options, "explicit_http_config": {"http2_protocol_options": {}}}
        },
    }


def clusters(address: tuple[str, int] | None) -> Sequence[Json]:
    """Return what the bootstrap file needs for a collector, nothing when there is none."""
    return () if address is None else (collector(*address),)


def _routed(tag: str, key: str) -> Json:
    """Tag a span with what the chosen route says of itself; a route that does not say it leaves no tag."""
    return {
        "tag": tag,
        "metadata": {"kind": {"route": {}}, "metadata_key": {"key": METADATA, "path": [{"key": key}]}},
    }
