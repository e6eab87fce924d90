"""The worker's /metrics: what it judges, how releases ended, what became of alerts.

Before it: `workflows.activities` and `workflows.deliveries` count. After it: Prometheus, on loopback, when a port is set.
Labels are bounded sets: outcomes and results, never a release or a target.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from controller.errors import ConfigurationError
from controller.model.release import Outcome
from workflows.messages import Delivered

LOOPBACK = "127.0.0.1"


class Meters:
    """Counts of one worker process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.judging = Gauge(
            "serinus_worker_steps_judging", "Steps being judged now.", registry=self.registry
        )
        self._ended = Counter(
            "serinus_worker_releases_ended", "Releases by outcome.", ["outcome"], registry=self.registry
        )
        self._notices = Counter(
            "serinus_worker_notices", "Notices by what became of them.", ["result"], registry=self.registry
        )
        for outcome in Outcome:
            self._ended.labels(outcome.value)
        for result in (Delivered.SENT, Delivered.GIVEN_UP):
            self._notices.labels(result.value)

    def ended(self, outcome: Outcome) -> None:
        """Count a release whose outcome was written."""
        self._ended.labels(outcome.value).inc()

    def delivered(self, result: Delivered) -> None:
        """Count a notice that was sent or given up."""
        self._notices.labels(result.value).inc()

    def serve(self, port: int) -> Callable[[], None]:
        """Listen on loopback in a thread of its own; returns what ends it.

        Raises:
            ConfigurationError: The port is taken.
        """
        try:
            server, thread = start_http_server(port, addr=LOOPBACK, registry=self.registry)
        except OSError as error:
            raise ConfigurationError(f"the worker's metrics port {port} cannot be used: {error}") from error

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end
