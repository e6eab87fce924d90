"""Pure: which requests leave a line in Envoy's access log, and what the line says.

Before it: `bootstrap` hangs it on the listener. After it: people, and the demo's accounting. A good request on stable
leaves nothing. No query, no cookie and no header but the ids is written: they may hold secrets.
"""

from __future__ import annotations

from pathlib import Path

from controller.observability import CORRELATION_HEADER
from controller.routing.envoy.plain import Json
from controller.routing.envoy.resources import METADATA

GRPC_FAILURES = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""What Envoy counts as an error: the statuses that stand for 500 and above."""
_TYPE = "type.googleapis.com/"


def access_log(path: Path) -> Json:
    """One JSON line for each request that went to a canary or failed (500 and above, or a gRPC status like it)."""

    def routed(key: str) -> str:
        return f"%METADATA(ROUTE:{METADATA}:{key})%"

    line = {
        "start_ms": "%START_TIME(%s%3f)%",
        "correlation_id": f"%REQ({CORRELATION_HEADER})%",
        "traceparent": "%REQ(TRACEPARENT)%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "flags": "%RESPONSE_FLAGS%",
        "target": routed("target"),
        "version": routed("version"),
        "track": routed("track"),
        "release": routed("release"),
        "cluster": "%UPSTREAM_CLUSTER_RAW%",
        "host": "%UPSTREAM_HOST%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "duration_ms": "%DURATION%",
    }
    return {
        "name": "envoy.access_loggers.file",
        "filter": {"or_filter": {"filters": [_http_failure(), _grpc_failure(), _canary()]}},
        "typed_config": {
            "@type": _TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": line},
        },
    }


def _http_failure() -> Json:
    comparison = {"op": "GE", "value": {"default_value": 500, "runtime_key": "access_log.status"}}
    return {"status_code_filter": {"comparison": comparison}}


def _grpc_failure() -> Json:
    """Match gRPC alone: for anything else Envoy would make a gRPC status out of the one of HTTP."""
    is_grpc = {"header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}}
    has_failed = {"grpc_status_filter": {"statuses": list(GRPC_FAILURES)}}
    return {"and_filter": {"filters": [{"header_filter": is_grpc}, has_failed]}}


def _canary() -> Json:
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": _TYPE + "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": "xds.route_name == 'canary'",
            },
        }
    }
