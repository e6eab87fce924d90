"""The shop over real HTTP: storefront, catalog and an OTLP receiver, all on loopback in one process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
import structlog

from controller.ingest.app import create_app
from controller.model.searching import Search
from controller.model.trace import Span
from controller.traces.memory import MemoryTraces
from services.catalog.app import create as create_catalog
from services.faults import Faults
from services.instance import Instance
from services.storefront.app import create as create_storefront
from services.telemetry import add_ids

Serving = Callable[[Any], AbstractAsyncContextManager[str]]
Lines = list[dict[str, Any]]


@pytest.fixture
def lines() -> AsyncIterator[Lines] | Any:
    """Every log event of the services, with the ids that their own processor adds."""
    kept: Lines = []

    def keep(_: object, __: str, event: Any) -> Any:
        kept.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.processors.add_log_level, add_ids, keep], cache_logger_on_first_use=False
    )
    yield kept
    structlog.reset_defaults()


class Shop:
    """A running shop."""

    def __init__(self, http: httpx.AsyncClient, traces: MemoryTraces) -> None:
        self.http = http
        self.traces = traces

    async def spans(self, correlation_id: str) -> list[Span]:
        """All spans of an id, once the services have been stopped."""
        found = await self.traces.search(Search(correlation_id=correlation_id))
        traces = [await self.traces.get(summary.trace_id) for summary in found.traces]
        return [span for trace in traces if trace is not None for span in trace.spans]


@contextlib.asynccontextmanager
async def shop(serving: Serving, *, catalog: Faults | None = None) -> AsyncIterator[Shop]:
    traces = MemoryTraces()
    async with contextlib.AsyncExitStack() as stack:
        otlp = await stack.enter_async_context(serving(create_app(traces, max_body_bytes=1 << 20)))
        behind = Instance("catalog", "v1", otlp_url=otlp, faults=catalog)
        edge = await stack.enter_async_context(serving(create_catalog(behind)))
        front = Instance("storefront", "v1", otlp_url=otlp, edge_url=edge)
        url = await stack.enter_async_context(serving(create_storefront(front)))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False))
        yield Shop(http, traces)


async def raw(url: httpx.URL, request: bytes) -> bytes:
    """Send bytes that no client library would, and return the whole answer."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_one_id_is_on_every_span_and_in_the_response(serving: Serving) -> None:
    """Storefront server, storefront client and catalog server are one trace, and all three carry the caller's id."""
    headers = {
        "X-Correlation-ID": "cid-42",
        "baggage": "release.id=r-7,release.track=canary,user=secret",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    async with shop(serving) as running:
        answer = await running.http.get("/products/3", headers=headers)
    spans = await running.spans("cid-42")

    assert answer.status_code == 200
    assert answer.headers.get_list("x-correlation-id") == ["cid-42"]
    assert [(span.service, span.kind, span.name) for span in spans] == [
        ("storefront", "server", "GET /products/{product_id}"),
        ("storefront", "client", "GET"),
        ("catalog", "server", "GET /products/{product_id}"),
    ]
    assert {span.trace_id for span in spans} == {"0af7651916cd43dd8448eb211c80319c"}
    assert [span.parent_span_id for span in spans] == ["b7ad6b7169203331", spans[0].span_id, spans[1].span_id]
    for span in spans:
        assert span.attributes["correlation.id"] == "cid-42"
        assert span.attributes["release.id"] == "r-7"
        assert span.attributes["release.track"] == "canary"
        assert span.attributes["http.response.status_code"] == 200
        assert "user" not in span.attributes
        assert span.version == "v1"
    assert spans[0].attributes["http.route"] == "/products/{product_id}"
    assert spans[0].attributes["url.path"] == "/products/3"


async def test_failure_of_the_catalog_is_seen_everywhere(serving: Serving, lines: Lines) -> None:
    """A user sees 502 with the reason, all spans are errors, and both services log it with the same ids."""
    async with shop(serving, catalog=Faults(error_rate=1)) as running:
        answer = await running.http.get("/", headers={"X-Correlation-ID": "cid-bad"})
    spans = await running.spans("cid-bad")

    assert answer.status_code == 502
    assert answer.json() == {"storefront": "v1", "error": "the catalog failed: status 500"}
    assert answer.headers["x-correlation-id"] == "cid-bad"
    assert [(span.service, span.status, span.attributes["error.type"]) for span in spans] == [
        ("storefront", "error", "502"),
        ("storefront", "error", "500"),
        ("catalog", "error", "500"),
    ]
    told = [(line["service"], line["status"], line["correlation_id"]) for line in lines if "status" in line]
    assert told == [("catalog", 500, "cid-bad"), ("storefront", 502, "cid-bad")]
    assert [line["trace_id"] for line in lines if "status" in line] == [spans[0].trace_id] * 2


async def test_foreign_ids_are_replaced(serving: Serving) -> None:
    """A malformed id comes back as a new one, and the trace is found by that."""
    foreign = ["", "a b", "x" * 129, "<script>", "naïve"]
    async with shop(serving) as running:
        answers = [
            await running.http.get("/products/1", headers={b"X-Correlation-ID": value.encode()})
            for value in foreign
        ]
    made = [answer.headers["x-correlation-id"] for answer in answers]

    assert all(len(correlation_id) == 32 and int(correlation_id, 16) for correlation_id in made)
    assert len(set(made)) == len(foreign)
    assert [len(await running.spans(correlation_id)) for correlation_id in made] == [3] * len(foreign)


async def test_crashing_handler_is_answered_and_logged_with_its_id(serving: Serving, lines: Lines) -> None:
    """A bug in a handler: 500 with the id in the response, the exception on the span and in the log, once."""
    traces = MemoryTraces()
    async with serving(create_app(traces, max_body_bytes=1 << 20)) as otlp:
        app = create_catalog(Instance("catalog", "v1", otlp_url=otlp))

        @app.get("/bug")
        async def bug() -> None:
            raise RuntimeError("a bug")

        async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
            answer = await http.get("/bug", headers={"X-Correlation-ID": "cid-bug"})
    (summary,) = (await traces.search(Search(correlation_id="cid-bug"))).traces
    trace = await traces.get(summary.trace_id)

    assert (answer.status_code, answer.headers["x-correlation-id"]) == (500, "cid-bug")
    assert [(line["event"], line["correlation_id"]) for line in lines] == [("request_crashed", "cid-bug")]
    assert trace is not None
    assert trace.spans[0].status == "error"
    assert trace.spans[0].events[0].attributes["exception.type"] == "RuntimeError"


async def test_dead_hung_and_lying_catalogs_are_a_502(
    serving: Serving, talking: Callable[[Any], AbstractAsyncContextManager[str]]
) -> None:
    """Nobody there, garbage, or a closed connection: the user is told, and the storefront lives on."""

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x00\x01\x02 nonsense\r\n\r\n")
        await writer.drain()

    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with talking(lie) as liar:
        reasons = []
        for edge in (dead, liar):
            app = create_storefront(Instance("storefront", "v1", edge_url=edge))
            async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
                answer = await http.get("/products/1")
                reasons.append((answer.status_code, answer.json()["error"]))

    assert reasons == [(502, "the catalog failed: refused"), (502, "the catalog failed: garbage")]


async def test_no_bytes_of_a_caller_make_a_version_look_bad(serving: Serving) -> None:
    """Headers and queries that are no text are answered like others; they are never a 5xx that a version made."""
    requests = [
        b"GET /products/1 HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\\x\r\n",
        b"GET /products/1 HTTP/1.1\r\nHost: \xff\\x\r\nTraceparent: \xff\\x\r\nTracestate: \xff\\x\r\n",
        b"GET /products/1?%ff=%\\x HTTP/1.1\r\nHost: a\r\nX-Correlation-ID: \xff\\x\r\n",
        b"GET /products/1 HTTP/1.1\r\nHost: a\r\nBaggage: release.id=\xff\\x,=,%%,;\r\n",
    ]
    async with shop(serving) as running:
        answers = [await raw(running.http.base_url, head + b"Connection: close\r\n\r\n") for head in requests]

    assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * len(requests)
    assert all(b"\r\nx-correlation-id: " in answer for answer in answers)


async def test_callers_host_cannot_hide_a_request(serving: Serving) -> None:
    """Only the path decides what is a probe: a Host header that looks like one still leaves a span."""
    async with shop(serving) as running:
        head = b"GET /products/1 HTTP/1.1\r\nHost: a/health\r\nX-Correlation-ID: cid-hid\r\nConnection: close\r\n\r\n"
        await raw(running.http.base_url, head)

    assert len(await running.spans("cid-hid")) == 3


async def test_pages_that_are_not_there(serving: Serving) -> None:
    """An unknown product is the user's mistake at every hop, and odd paths never leave the storefront."""
    async with shop(serving) as running:
        statuses = [
            (await running.http.get(path)).status_code
            for path in ("/products/99", "/products/..%2Fhealth", "/products/a%0D%0Ab", "/nowhere")
        ]

    assert statuses == [404, 404, 404, 404]


async def test_probes_make_no_spans_and_no_metrics(serving: Serving) -> None:
    """Health, readiness and scrapes would drown what users do."""
    async with shop(serving) as running:
        for path in ("/health", "/ready", "/metrics"):
            assert (await running.http.get(path)).status_code == 200
        text = (await running.http.get("/metrics")).text

    assert running.traces.held_bytes == 0
    assert "http_route" not in text


async def test_unready_version_says_so(serving: Serving) -> None:
    """A version that is not ready answers 503 on /ready and 200 on /health."""
    app = create_catalog(Instance("catalog", "v1", faults=Faults(not_ready=True)))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        statuses = [(await http.get(path)).status_code for path in ("/ready", "/health")]

    assert statuses == [503, 200]


async def test_metrics_have_bounded_labels_and_exemplars(serving: Serving) -> None:
    """Routes are patterns, unknown methods are one label, and OpenMetrics shows the trace of a request."""
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    async with shop(serving) as running:
        for path in ("/products/1", "/products/2"):
            await running.http.get(path, headers=headers)
        await running.http.get("/wp-admin.php")
        await running.http.request("COPY", "/products/1")
        plain = (await running.http.get("/metrics")).text
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        open_metrics = await running.http.get("/metrics", headers=accept)

    counts = [
        line for line in plain.splitlines() if line.startswith("http_server_request_duration_seconds_count")
    ]
    labels = 'http_request_method="{}",http_response_status_code="{}",http_route="{}",service_version="v1"'
    name = "http_server_request_duration_seconds_count"
    assert sorted(counts) == sorted(
        [
            f"{name}{{{labels.format('GET', 200, '/products/{product_id}')}}} 2.0",
            f"{name}{{{labels.format('GET', 404, '')}}} 1.0",
            f"{name}{{{labels.format('_OTHER', 405, '/products/{product_id}')}}} 1.0",
        ]
    )
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert '# {trace_id="0af7651916cd43dd8448eb211c80319c"}' in open_metrics.text
    assert open_metrics.text.endswith("# EOF\n")


async def test_black_hole_receiver_costs_requests_nothing(
    serving: Serving, talking: Callable[[Any], AbstractAsyncContextManager[str]]
) -> None:
    """A receiver that takes connections and never answers: no request waits for it, and stopping is bounded."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass

    async def median_s(otlp: str | None) -> tuple[float, float]:
        times = []
        async with (
            serving(create_catalog(Instance("catalog", "v1", otlp_url=otlp))) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as http,
        ):
            for _ in range(60):
                begun_s = time.perf_counter()
                assert (await http.get("/products/1")).status_code == 200
                times.append(time.perf_counter() - begun_s)
            stopping_s = time.perf_counter()
        return sorted(times)[30], time.perf_counter() - stopping_s

    async with talking(swallow) as hole:
        without, _ = await median_s(None)
        with_hole, stop_s = await median_s(hole)

    assert with_hole < 3 * without + 0.005
    assert stop_s < 2.0


def test_log_lines_are_json_with_ids() -> None:
    """The processor adds nothing outside a request, and what is logged stays JSON."""
    event = add_ids(None, "info", {"event": "x"})

    assert json.loads(json.dumps(event)) == {"event": "x"}
