"""Prometheus series out of the trace store, on /metrics of the telemetry process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import httpx
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_open,
)
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.samples import Sample

from controller.errors import InvalidInput, TracesUnavailable
from controller.ingest import series
from controller.ingest.app import create_app
from controller.ingest.series import TraceSeries
from controller.model.insight import LADDER_NS, Edge, RateRow, Red, ServiceMap
from controller.model.searching import Range
from controller.model.trace import Resource, Span
from controller.traces import decoding
from controller.traces.memory import MemoryTraces
from controller.traces.port import ALWAYS

OPEN = "application/openmetrics-text; version=1.0.0"
AT_NS = 1_790_000_000 * 10**9
PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every scrape see its own refresh, however busy this machine is."""
    monkeypatch.setattr(series, "PATIENCE_S", 10.0)


class Clock:
    """Time that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def ns(self) -> int:
        """Nanoseconds since 1970."""
        return AT_NS + round(self.now_s * 1e9)

    def s(self) -> float:
        """Seconds."""
        return self.now_s


class HandTraces(MemoryTraces):
    """A store that says what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[RateRow] = []
        self.edges: list[Edge] = []
        self.asked: list[Range] = []
        self.error: Exception | None = None
        self.delay_s = 0.0

    async def rates(self, service: str, within: Range, every_s: int = 10) -> tuple[RateRow, ...]:
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        return tuple(row for row in self.rows if within.since_ns <= row.at_ns < within.until_ns)

    async def service_map(self, within: Range = ALWAYS) -> ServiceMap:
        self.asked.append(within)
        return ServiceMap((), tuple(self.edges))


def row(
    calls: int, failed: int = 0, *, at_s: int = 0, operation: str = "GET /", exemplar: str = ""
) -> RateRow:
    buckets = [0] * (len(LADDER_NS) + 1)
    buckets[20] = calls
    return RateRow(
        AT_NS + at_s * 10**9, "shop", "v1", operation, "server", "", calls, failed, tuple(buckets), exemplar
    )


async def scrape(found: TraceSeries, *, is_open: bool = False) -> list[Sample]:
    """Scrape as Prometheus does; a second one sees what the first one asked for."""
    text = (await found.exposition(is_open=is_open)).decode()
    families = read_open(text) if is_open else read_text(text)  # type: ignore[no-untyped-call]
    return [sample for family in families for sample in family.samples]


def value(samples: Sequence[Sample], name: str, **labels: str) -> float | None:
    """Return the one sample with this name and these labels; None when there is none."""
    found = [one for one in samples if one.name == name and labels.items() <= one.labels.items()]
    return found[0].value if found else None


async def test_counters_never_fall() -> None:
    """A store that prunes, forgets and begins again never takes anything back."""
    clock, store = Clock(), HandTraces()
    found = TraceSeries(store, now_ns=clock.ns, clock=clock.s)
    told = []
    for rows in ([row(10, 1)], [row(10, 1), row(5, at_s=10)], [], [row(2, 2)], [row(3, 2)]):
        store.rows = rows
        clock.now_s += 20
        samples = await scrape(found)
        told.append(
            tuple(
                value(
                    samples,
                    "traces_spanmetrics_calls_total",
                    status_code=f"STATUS_CODE_{code}",
                    service="shop",
                )
                for code in ("UNSET", "ERROR")
            )
        )

    assert told == [(9, 1), (14, 1), (14, 1), (14, 1), (15, 1)]


async def test_latencies_are_a_histogram() -> None:
    """Buckets are cumulative, the count is the calls, and the sum is within 5 % of the time."""
    clock, store = Clock(), HandTraces()
    store.rows = [row(100)]

    samples = await scrape(TraceSeries(store, now_ns=clock.ns, clock=clock.s))

    buckets = [one for one in samples if one.name == "traces_spanmetrics_latency_bucket"]
    numbers = [one.value for one in sorted(buckets, key=lambda one: float(one.labels["le"]))]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (0, 100)
    assert value(samples, "traces_spanmetrics_latency_count") == 100
    assert value(samples, "traces_spanmetrics_latency_sum") == pytest.approx(
        100 * LADDER_NS[20] / 1e9, rel=0.05
    )


async def test_the_service_graph_is_told_once_it_is_settled() -> None:
    """Each stretch of time is asked for once, a minute after it."""
    clock, store = Clock(), HandTraces()
    store.edges = [Edge("shop", "v1", "stock", "v2", "call", Red(7, 2, exemplar="a" * 32), row(7).buckets)]
    found = TraceSeries(store, now_ns=clock.ns, clock=clock.s)
    totals = []
    for clock.now_s in (30, 65, 75, 76, 400, 10_000):
        clock.now_s += 0.5
        samples = await scrape(found)
        totals.append(value(samples, "traces_service_graph_request_total", client="shop", server="stock"))

    assert totals == [None, None, 7, 7, 14, 21]
    spans_s = [((one.since_ns - AT_NS) / 1e9, (one.until_ns - AT_NS) / 1e9) for one in store.asked]
    assert spans_s == [(0, 10), (10, 340), (9_400, 9_940)]
    assert value(samples, "traces_service_graph_request_failed_total", server_version="v2") == 6
    assert value(samples, "traces_service_graph_request_server_seconds_count", client_version="v1") == 21


async def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit any more is counted as other, and the sum stays right."""
    monkeypatch.setattr(series, "MOST_OPERATIONS", 3)
    clock, store = Clock(), HandTraces()
    store.rows = [row(1, operation=f"GET /{number}") for number in range(50)]
    found = TraceSeries(store, now_ns=clock.ns, clock=clock.s)

    samples = await scrape(found)

    calls = [one for one in samples if one.name == "traces_spanmetrics_calls_total"]
    assert len({one.labels["span_name"] for one in calls}) == 4
    assert value(samples, "traces_spanmetrics_latency_count", span_name="other", service="other") == 47
    assert sum(one.value for one in calls) == 50


async def test_exemplars_are_traces() -> None:
    """In OpenMetrics, each counter names a trace: a failed one beside the failures."""
    clock, store = Clock(), HandTraces()
    store.rows = [row(9, exemplar="a" * 32), row(2, 1, at_s=10, exemplar="b" * 32)]

    samples = await scrape(TraceSeries(store, now_ns=clock.ns, clock=clock.s), is_open=True)

    named = {
        one.labels["status_code"]: one.exemplar.labels["trace_id"]
        for one in samples
        if one.name == "traces_spanmetrics_calls_total" and one.exemplar is not None
    }
    assert named == {"STATUS_CODE_UNSET": "a" * 32, "STATUS_CODE_ERROR": "b" * 32}


async def test_a_slow_store_costs_freshness_and_no_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape comes back at once with what is known, and says how old that is."""
    monkeypatch.setattr(series, "PATIENCE_S", 0.03)
    store = HandTraces()
    store.rows = [row(1)]
    store.delay_s = 30.0
    found = TraceSeries(store, now_ns=lambda: AT_NS)

    began_s = time.perf_counter()
    samples = await scrape(found)
    took_s = time.perf_counter() - began_s

    assert took_s < 1.0
    assert value(samples, "traces_spanmetrics_calls_total") is None
    assert value(samples, "serinus_traces_series_age_seconds") is not None
    await found.aclose()


@pytest.mark.parametrize("error", [TracesUnavailable("down"), InvalidInput("too many cells", field="within")])
async def test_a_store_that_fails_is_asked_again_later(error: Exception) -> None:
    """The last numbers stay, and get older."""
    clock, store = Clock(), HandTraces()
    found = TraceSeries(store, now_ns=clock.ns, clock=clock.s)
    store.rows = [row(5)]
    await scrape(found)

    store.error = error
    clock.now_s += 20
    samples = await scrape(found)
    store.error, store.rows = None, [row(8, at_s=20)]
    clock.now_s += 20
    later = await scrape(found)

    assert value(samples, "traces_spanmetrics_calls_total", status_code="STATUS_CODE_UNSET") == 5
    assert value(samples, "serinus_traces_series_age_seconds") == 20
    assert value(later, "traces_spanmetrics_calls_total", status_code="STATUS_CODE_UNSET") == 13


@pytest.mark.parametrize("accept", ["", OPEN])
async def test_the_process_tells_them_on_metrics(accept: str) -> None:
    """One valid document: what the receiver counts, then the series, in both formats."""
    made = Span(
        "a" * 32,
        "b" * 16,
        "",
        "GET /",
        "server",
        time.time_ns(),
        1,
        resource=Resource({"service.name": 'a"b'}),
    )
    app = create_app(MemoryTraces(), max_body_bytes=10_000)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:4318"
    ) as client:
        await client.post("/v1/traces", content=decoding.encode([made]), headers=PROTOBUF)
        answer = await client.get("/metrics", headers={"accept": accept})

    families = read_open(answer.text) if accept else read_text(answer.text)  # type: ignore[no-untyped-call]
    samples = [sample for family in families for sample in family.samples]
    assert ("openmetrics" in answer.headers["content-type"]) == bool(accept)
    assert any(sample.name.startswith("serinus_otlp_") and sample.value for sample in samples)
    assert (
        value(samples, "traces_spanmetrics_calls_total", service='a"b', status_code="STATUS_CODE_UNSET") == 1
    )
