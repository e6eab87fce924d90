"""What the API counts about itself: requests by method, route template and status, in OpenTelemetry's names.

Fed by `controller.api.edge`, read at `/metrics`. Labels are bounded: a route template or `unmatched`, never a path.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MEDIA_TYPE = CONTENT_TYPE_LATEST


class ApiMetrics:
    """The API's own numbers, in a registry that the process passes in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "Duration of answered requests.",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=BOUNDS_S,
            registry=registry,
        )
        self.streams = Gauge("serinus_api_streams", "Open event streams.", registry=registry)

    def answered(self, *, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one request.

        Args:
            method: As sent; unknown ones count as `_OTHER`.
            route: The template, such as `/v1/releases/{release_id}`, or `unmatched`.
            status: Of the answer.
            duration_s: From the request's head to the end of the answer, seconds.
        """
        known = method if method in METHODS else "_OTHER"
        self._requests.labels(known, route, str(status)).observe(duration_s)

    def exposition(self) -> bytes:
        """Return everything in the text format."""
        return generate_latest(self._registry)
