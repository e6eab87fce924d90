"""The router's /metrics: what the keeper did and how the proxies stand.

Before it: `process`, and only when a port is set, because the library costs start-up time. After it: Prometheus.
Nothing here knows a verdict; labels are bounded sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.routing.keeper import EVENTS, Keeper
from controller.routing.port import PROXY_EVENTS

LOOPBACK = "127.0.0.1"


class RouterCollector(Collector):
    """Reads the keeper whenever it is scraped.

    Args:
        keeper: Whose numbers.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def collect(self) -> Iterator[Metric]:
        """Return every family with its present value."""
        yield GaugeMetricFamily("serinus_router_leases", "Unexpired leases.", value=self._keeper.leases)
        events = CounterMetricFamily(
            "serinus_router_events", "What the keeper did since its start.", labels=["event"]
        )
        for event in EVENTS:
            events.add_metric([event], self._keeper.counts[event])
        yield events
        happened = CounterMetricFamily(
            "serinus_router_proxy_events", "What happened at the proxies since the start.", labels=["event"]
        )
        for event in PROXY_EVENTS:
            happened.add_metric([event], self._keeper.proxy_events.get(event, 0))
        yield happened
        proxies = GaugeMetricFamily(
            "serinus_router_proxies", "Connected proxies by how they stand.", labels=["standing"]
        )
        nodes = self._keeper.nodes
        refusing = sum(bool(node.refusal) for node in nodes)
        current = sum(node.acknowledged for node in nodes)
        for standing, number in (
            ("acknowledged", current),
            ("refusing", refusing),
            ("behind", len(nodes) - current - refusing),
        ):
            proxies.add_metric([standing], number)
        yield proxies
        counted = GaugeMetricFamily(
            "serinus_router_proxy_counted",
            "Whether a proxy told its counts the last time, by its admin socket.",
            labels=["proxy"],
        )
        for name, is_answering in self._keeper.answering.items():
            counted.add_metric([name], is_answering)
        yield counted
        lapses = CounterMetricFamily(
            "serinus_router_proxy_lapses",
            "How often a connected proxy had no shares though a lease was live.",
            labels=["proxy"],
        )
        for node in nodes:
            lapses.add_metric([node.id], node.lapses)
        yield lapses


def serve_metrics(port: int, keeper: Keeper) -> Callable[[], None]:
    """Listen on loopback in a thread of its own; returns what ends it.

    Raises:
        OSError: The port is taken.
    """
    registry = CollectorRegistry()
    registry.register(RouterCollector(keeper))
    server, thread = start_http_server(port, addr=LOOPBACK, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
