"""Jaeger's query API over the store in memory: the shapes that its clients read, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from controller.api.jaeger import routes
from controller.errors import TracesUnavailable
from controller.model.insight import TracePage
from controller.model.searching import Page, Search
from controller.model.trace import Resource, Scope, Span, SpanEvent, SpanLink, Trace
from controller.traces import decoding
from controller.traces.memory import MemoryTraces
from controller.traces.port import FIRST_PAGE
from tests.controller.api.jaeger_client import speak_to
from tests.controller.releases.world import a_world

AT_NS = 1_790_000_000_000_001_234
AT_US = AT_NS // 1_000
TRACE = "0" * 31 + "a"
OTHER = "b" * 32
SHOP = Resource({"service.name": "storefront", "service.version": "v1"})
CATALOG = Resource({"service.name": "catalog", "service.version": "v2", "host.name": "h1"})

ROOT = Span(
    TRACE,
    "1" * 16,
    "",
    "GET /",
    "server",
    AT_NS,
    5_000_000,
    attributes={"correlation.id": "cid-1"},
    resource=SHOP,
)
CALL = Span(
    TRACE, "2" * 16, "1" * 16, "GET", "client", AT_NS + 1_000_000, 3_000_000, resource=SHOP, flags=257
)
SERVED = Span(
    TRACE,
    "3" * 16,
    "2" * 16,
    "GET /price",
    "server",
    AT_NS + 2_000_000,
    1_500_000,
    status="error",
    status_message="no price",
    trace_state="a=b",
    attributes={
        "http.response.status_code": 500,
        'odd "key"': 'a\\"b',
        "is": True,
        "ratio": 0.5,
        "endless": float("inf"),
        "raw": b"\x00\xff",
        "list": ["x", b"\x01"],
    },
    events=(SpanEvent("exception", AT_NS + 3_000_000, {"exception.type": "KeyError"}, 0),),
    links=(SpanLink(OTHER, "9" * 16),),
    resource=CATALOG,
    scope=Scope("fastapi", "1.2"),
    dropped=(2, 0, 1),
)
APART = Span(OTHER, "4" * 16, "", "GET /", "server", AT_NS + 60 * 10**9, 20_000_000, resource=SHOP)


class SlowTraces(MemoryTraces):
    """A store that does not answer."""

    async def search(self, search: Search, page: Page = FIRST_PAGE) -> TracePage:
        raise TracesUnavailable("the store does not answer")

    async def get(self, trace_id: str) -> Trace | None:
        raise TracesUnavailable("the store does not answer")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """The routes alone, over a store with two traces."""
    store = MemoryTraces()
    await store.ingest([decoding.encode([ROOT, CALL]), decoding.encode([SERVED, APART])])
    async with speak_to(store) as made:
        yield made


async def test_a_trace_has_jaegers_shape(client: httpx.AsyncClient) -> None:
    """Spans with references, tags, logs and processes, in microseconds."""
    answer = await client.get("/jaeger/api/traces/A")

    (found,) = answer.json()["data"]
    spans = {one["operationName"]: one for one in found["spans"]}
    assert (answer.status_code, found["traceID"], found["warnings"]) == (200, TRACE, None)
    assert found["processes"] == {
        "p1": {
            "serviceName": "storefront",
            "tags": [{"key": "service.version", "type": "string", "value": "v1"}],
        },
        "p2": {
            "serviceName": "catalog",
            "tags": [
                {"key": "service.version", "type": "string", "value": "v2"},
                {"key": "host.name", "type": "string", "value": "h1"},
            ],
        },
    }
    assert [one["processID"] for one in found["spans"]] == ["p1", "p1", "p2"]
    assert spans["GET /"]["references"] == []
    assert (spans["GET"]["flags"], spans["GET"]["duration"], spans["GET"]["startTime"]) == (
        1,
        3_000,
        AT_US + 1_000,
    )
    served = spans["GET /price"]
    assert served["references"] == [
        {"refType": "CHILD_OF", "traceID": TRACE, "spanID": "2" * 16},
        {"refType": "FOLLOWS_FROM", "traceID": OTHER, "spanID": "9" * 16},
    ]
    assert served["warnings"] == ["the SDK left out 2 attributes, 1 links"]
    assert served["logs"] == [
        {
            "timestamp": AT_US + 3_000,
            "fields": [
                {"key": "event", "type": "string", "value": "exception"},
                {"key": "exception.type", "type": "string", "value": "KeyError"},
            ],
        }
    ]
    assert {one["key"]: (one["type"], one["value"]) for one in served["tags"]} == {
        "http.response.status_code": ("int64", 500),
        'odd "key"': ("string", 'a\\"b'),
        "is": ("bool", True),
        "ratio": ("float64", 0.5),
        "endless": ("string", "Infinity"),
        "raw": ("binary", "AP8="),
        "list": ("string", '["x", "AQ=="]'),
        "span.kind": ("string", "server"),
        "otel.status_code": ("string", "ERROR"),
        "otel.status_description": ("string", "no price"),
        "otel.scope.name": ("string", "fastapi"),
        "otel.scope.version": ("string", "1.2"),
        "w3c.tracestate": ("string", "a=b"),
        "error": ("bool", True),
    }


async def test_an_unknown_trace_is_404_in_jaegers_form(client: httpx.AsyncClient) -> None:
    """Grafana indexes the first trace of an answer without looking, so there is never an empty one."""
    first = await client.get(f"/jaeger/api/traces/{'c' * 32}")
    third = await client.get(f"/jaeger/api/v3/traces/{'c' * 32}")

    assert (first.status_code, third.status_code) == (404, 404)
    assert first.json()["errors"] == [{"code": 404, "msg": "trace not found"}]
    assert third.json() == {"error": {"httpCode": 404, "message": "trace not found"}}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [OTHER, TRACE]),
        ({"service": "storefront"}, [OTHER, TRACE]),
        ({"service": "catalog", "operation": "GET /price"}, [TRACE]),
        ({"service": "catalog", "operation": "GET /"}, []),
        ({"service": "storefront", "minDuration": "1.2ms", "maxDuration": "19ms999us"}, [TRACE]),
        ({"service": "storefront", "minDuration": "20ms"}, [OTHER]),
        ({"limit": "1"}, [OTHER]),
        ({"limit": "5000"}, [OTHER, TRACE]),
        ({"start": str(AT_US + 10_000_000)}, [OTHER]),
        ({"end": str(AT_US)}, [TRACE]),
        ({"tags": '{"http.response.status_code":"500"}'}, [TRACE]),
        ({"tags": '{"http.response.status_code":500,"is":true}'}, [TRACE]),
        ({"tags": '{"http.response.status_code":"501"}'}, []),
        ({"tags": json.dumps({'odd "key"': 'a\\"b'})}, [TRACE]),
        ({"tags": '{"error":"true"}', "service": "catalog"}, [TRACE]),
        ({"tags": '{"error":"true"}', "service": "storefront"}, []),
        ({"tags": '{"span.kind":"client"}'}, [TRACE]),
        ({"tags": '{"otel.status_code":"ERROR","error":"true"}'}, [TRACE]),
        ({"tags": '{"service.version":"v2","host.name":"h1"}'}, [TRACE]),
        ({"tags": '{"correlation.id":"cid-1"}'}, [TRACE]),
        ({"tag": "http.response.status_code:500"}, [TRACE]),
        ({"traceID": ["a", OTHER, "a"]}, [TRACE, OTHER]),
    ],
)
async def test_a_search_asks_what_grafana_asks(
    client: httpx.AsyncClient, asked: dict[str, str | list[str]], found: list[str]
) -> None:
    """Every field of the search form narrows; all conditions hold for one span."""
    answer = await client.get("/jaeger/api/traces", params=asked)

    assert answer.status_code == 200
    assert [one["traceID"] for one in answer.json()["data"]] == found
    assert answer.json()["errors"] is None


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"minDuration": "soon"}, "minDuration"),
        ({"minDuration": "2s", "maxDuration": "1s"}, "maxDuration"),
        ({"maxDuration": "999999999999h"}, "maxDuration"),
        ({"limit": "0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "9" * 5_000}, "limit"),
        ({"start": "now"}, "start"),
        ({"start": "9" * 19}, "start"),
        ({"start": "5", "end": "4"}, "end"),
        ({"tags": "a=b"}, "tags"),
        ({"tags": "[" * 15_000}, "tags"),
        ({"tags": '{"a":{"b":"c"}}'}, "tags"),
        ({"tags": '{"span.kind":"sideways"}'}, "tags"),
        ({"tags": '{"error":"true","otel.status_code":"OK"}'}, "tags"),
        ({"tags": '{"otel.scope.name":"fastapi"}'}, "tags"),
        ({"tags": json.dumps({str(n): "x" for n in range(60)})}, "tags"),
        ({"tags": json.dumps({"a": "x" * 3_000})}, "tags"),
        ({"tag": "no-colon"}, "tag"),
        ({"service": "x" * 2_000}, "service"),
        ({"traceID": "nothex"}, "traceID"),
    ],
)
async def test_a_bad_parameter_is_400_with_its_name(
    client: httpx.AsyncClient, asked: dict[str, str], name: str
) -> None:
    """Errors have Jaeger's form and never repeat what was sent."""
    answer = await client.get("/jaeger/api/traces", params=asked)

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"], error["msg"].split(":")[0]) == (400, 400, name)
    assert len(error["msg"]) < 200


async def test_services_operations_and_dependencies(client: httpx.AsyncClient) -> None:
    """What the query form and the dependency graph read, in both generations."""
    services = (await client.get("/jaeger/api/services")).json()
    names = (await client.get("/jaeger/api/services/storefront/operations")).json()
    kinds = (
        await client.get("/jaeger/api/operations", params={"service": "storefront", "spanKind": "client"})
    ).json()
    third = (await client.get("/jaeger/api/v3/services")).json()
    operations = (await client.get("/jaeger/api/v3/operations", params={"service": "catalog"})).json()
    end_ms = AT_NS // 10**6 + 120_000
    calls = {"endTs": end_ms, "lookback": 3_600_000}
    graph = (await client.get("/jaeger/api/dependencies", params=calls)).json()
    early = (await client.get("/jaeger/api/dependencies", params={**calls, "endTs": 1_000})).json()

    assert services == {
        "data": ["catalog", "storefront"],
        "total": 2,
        "limit": 0,
        "offset": 0,
        "errors": None,
    }
    assert names["data"] == ["GET", "GET /"]
    assert kinds["data"] == [{"name": "GET", "spanKind": "client"}]
    assert third == {"services": ["catalog", "storefront"]}
    assert operations == {"operations": [{"name": "GET /price", "spanKind": "server"}]}
    assert graph["data"] == [{"parent": "storefront", "child": "catalog", "callCount": 1}]
    assert early["data"] == []
    times = "start_time=2026-09-21T00:00:00Z&endTime=2026-09-22T00:00:00Z"
    third_graph = (await client.get(f"/jaeger/api/v3/dependencies?{times}")).json()
    assert third_graph["dependencies"] == [
        {"parent": "storefront", "child": "catalog", "callCount": "1", "source": "traces"}
    ]
    assert (await client.get("/jaeger/api/v3/dependencies?" + times[:31])).status_code == 400
    assert (await client.get("/jaeger/api/dependencies", params={"lookback": "x"})).status_code == 400
    assert (await client.get("/jaeger/api/operations")).status_code == 400


async def test_v3_speaks_otlp(client: httpx.AsyncClient) -> None:
    """Ids are hex, enumerations numbers, times text: OTLP/JSON, not protobuf's own."""
    answer = (await client.get(f"/jaeger/api/v3/traces/{TRACE}")).json()

    spans = [
        span
        for group in answer["result"]["resourceSpans"]
        for part in group["scopeSpans"]
        for span in part["spans"]
    ]
    served = spans[-1]
    assert [one["spanId"] for one in spans] == ["1" * 16, "2" * 16, "3" * 16]
    assert (served["traceId"], served["parentSpanId"], served["kind"]) == (TRACE, "2" * 16, 2)
    assert served["startTimeUnixNano"] == str(AT_NS + 2_000_000)
    assert served["status"] == {"code": 2, "message": "no price"}
    assert (served["links"][0]["traceId"], served["links"][0]["spanId"]) == (OTHER, "9" * 16)
    assert {"key": "http.response.status_code", "value": {"intValue": "500"}} in served["attributes"]


@pytest.mark.parametrize(
    "times",
    [
        "query.start_time_min=2026-09-21T00:00:00Z&query.start_time_max=2026-09-22T00:00:00.5Z",
        "query.startTimeMin=2026-09-21T02:00:00+02:00&query.startTimeMax=2026-09-22T02:00:00.123456789+02:00",
    ],
)
async def test_v3_searches_with_both_spellings(client: httpx.AsyncClient, times: str) -> None:
    """Times arrive unencoded, so that a plus sign is a space; names are snake or camel case."""
    attributes = 'query.attributes={"http.response.status_code":"500"}'
    answer = await client.get(f"/jaeger/api/v3/traces?query.service_name=catalog&{attributes}&{times}")
    nothing = await client.get(f"/jaeger/api/v3/traces?query.serviceName=nobody&{times}")
    short = await client.get(f"/jaeger/api/v3/trace-summaries?query.searchDepth=5&{times}")

    groups = answer.json()["result"]["resourceSpans"]
    assert sum(len(part["spans"]) for group in groups for part in group["scopeSpans"]) == 3
    assert (nothing.status_code, nothing.json()["error"]["httpCode"]) == (404, 404)
    newest, oldest = short.json()["summaries"]
    assert (newest["traceId"], newest["spanCount"]) == (OTHER, 1)
    assert oldest == {
        "traceId": TRACE,
        "rootServiceName": "storefront",
        "rootOperationName": "GET /",
        "minStartTimeUnixNano": str(AT_NS),
        "maxEndTimeUnixNano": str(AT_NS + 5_000_000),
        "spanCount": 3,
        "errorSpanCount": 1,
        "orphanSpanCount": 0,
        "services": [
            {"name": "catalog", "spanCount": 1, "errorSpanCount": 1},
            {"name": "storefront", "spanCount": 2, "errorSpanCount": 0},
        ],
    }


@pytest.mark.parametrize(
    "asked",
    [
        "query.startTimeMin=yesterday",
        "query.startTimeMin=2026-13-01T00:00:00Z",
        "query.startTimeMin=2026-01-02T00:00:00Z&query.startTimeMax=2026-01-01T00:00:00Z",
        "query.filter={}",
        "query.searchDepth=many",
        "query.durationMin=1",
    ],
)
async def test_a_bad_parameter_of_v3_is_400(client: httpx.AsyncClient, asked: str) -> None:
    """Errors have the third generation's form."""
    for path in ("traces", "trace-summaries"):
        answer = await client.get(f"/jaeger/api/v3/{path}?{asked}")

        assert answer.status_code == answer.json()["error"]["httpCode"] == 400
        assert answer.json()["error"]["message"].startswith("query.")


async def test_it_wants_the_token() -> None:
    """The same default-deny as under /v1: Grafana sends the header."""
    async with a_world() as world, world.client(token=None) as nobody, world.client() as somebody:
        assert (await somebody.get("/jaeger/api/services")).json()["data"] == []
        for path in ("services", "traces", f"traces/{TRACE}", "dependencies", "v3/services"):
            assert (await nobody.get(f"/jaeger/api/{path}")).status_code == 401


async def test_a_store_that_does_not_answer_is_503() -> None:
    """In Jaeger's form, and soon."""
    async with speak_to(SlowTraces()) as client:
        first = await client.get("/jaeger/api/traces")
        third = await client.get(f"/jaeger/api/v3/traces/{TRACE}")

    assert (first.status_code, first.json()["errors"][0]["code"], first.headers["retry-after"]) == (
        503,
        503,
        "1",
    )
    assert (third.status_code, third.json()["error"]["httpCode"]) == (503, 503)


async def test_an_answer_has_a_bounded_number_of_spans(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traces that do not fit any more are named instead of sent."""
    # The bound is 50 000 spans: too many to make here.
    monkeypatch.setattr(routes, "MOST_SPANS", 3)

    answer = (await client.get("/jaeger/api/traces")).json()

    assert [one["traceID"] for one in answer["data"]] == [OTHER]
    assert [one["traceID"] for one in answer["errors"]] == [TRACE]
