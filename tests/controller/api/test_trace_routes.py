"""The explorer over HTTP: traces, spans, correlations, services, the map, and what is different."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api.app import create_app
from controller.model.trace import Span, SpanEvent, SpanLink, Value
from controller.settings import Api
from tests.controller.releases.world import TOKEN, a_world
from tests.controller.traces.recorded import Recorded, a_bad_canary, a_request, a_span

TRACE = f"{7:032x}"


@asynccontextmanager
async def explorer(
    spans: Iterable[Span] = (), *, traces: Recorded | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that knows these spans; its clock stands a minute after they began."""
    store = traces or Recorded()
    await store.put(spans)
    async with a_world() as world:
        app = create_app(
            use_cases=world.use_cases, traces=store, token=TOKEN, settings=Api(), clock=lambda: 1_060.0
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://localhost",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as client:
            yield client


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    answer = await client.get(path, params={name.rstrip("_"): value for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ids(client: httpx.AsyncClient, **query: Any) -> list[int]:
    return [int(one["trace_id"], 16) for one in (await get(client, "/v1/traces", **query))["traces"]]


async def test_traces_are_found_by_everything_that_can_be_asked() -> None:
    """Each condition, alone and together; newest first."""
    spans = [
        *a_request(1, "v1", start_ms=0),
        *a_request(2, "v2", start_ms=10_000, ms=300, error="Boom", method="invoice"),
        *a_request(3, "v1", start_ms=20_000, ms=90),
    ]
    async with explorer(spans) as client:
        assert await ids(client) == [3, 2, 1]
        assert await ids(client, service="catalog", version="v2") == [2]
        assert await ids(client, status="error", kind="server") == [2]
        assert await ids(client, operation="GET /products/{id}", min_duration="80ms") == [3, 2]
        assert await ids(client, service="catalog", min_duration="80ms", max_duration="0.1s") == [3]
        assert await ids(client, track="canary", where="payment.method=invoice") == [2]
        assert await ids(client, correlation_id="cor-3") == [3]
        assert await ids(client, since="50s") == [3, 2]
        assert await ids(client, since="1970-01-01T00:16:45Z", until="1970-01-01T00:16:55+00:00") == [2]
        assert await ids(client, since="2h", until="59s") == [1]
        assert await ids(client, version="v9") == []


async def test_a_line_of_a_search_says_when_how_long_and_where_to_go_on() -> None:
    """RFC 3339, milliseconds, services, the span that fits, and links."""
    async with explorer(a_request(7, "v2", error="Boom")) as client:
        [line] = (await get(client, "/v1/traces", service="catalog"))["traces"]

    assert line == {
        "trace_id": TRACE,
        "root_service": "storefront",
        "root_name": "GET /",
        "started_at": "1970-01-01T00:16:40.000000000Z",
        "duration_ms": 20.0,
        "spans": 3,
        "failed": 3,
        "matched": 1,
        "services": ["catalog", "storefront"],
        "correlation_id": "cor-7",
        "span_id": f"{3:016x}",
        "links": {
            "self": f"/v1/traces/{TRACE}",
            "full": f"/v1/traces/{TRACE}?full=true",
            "correlation": "/v1/correlations/cor-7",
        },
    }


async def test_pages_follow_each_other_without_gaps() -> None:
    """`next` is the cursor of the following page, null on the last one."""
    spans = [span for number in range(1, 8) for span in a_request(number, "v1", start_ms=number)]
    async with explorer(spans) as client:
        first = await get(client, "/v1/traces", limit=4)
        second = await get(client, "/v1/traces", limit=4, cursor=first["next"])

    found = [int(one["trace_id"], 16) for page in (first, second) for one in page["traces"]]
    assert (found, second["next"]) == ([7, 6, 5, 4, 3, 2, 1], None)


async def test_a_trace_comes_as_a_summary_first() -> None:
    """Tree with own time, critical path, the span where the failure began, and time by service."""
    async with explorer(a_request(7, "v2", error="Boom")) as client:
        found = await get(client, f"/v1/traces/{TRACE}")

    assert [(row["depth"], row["service"], row["offset_ms"], row["self_ms"]) for row in found["tree"]] == [
        (0, "storefront", 0.0, 6.0),
        (1, "storefront", 3.0, 4.0),
        (2, "catalog", 5.0, 10.0),
    ]
    assert [(one["service"], one["duration_ms"]) for one in found["critical_path"]] == [
        ("storefront", 3.0),
        ("storefront", 2.0),
        ("catalog", 10.0),
        ("storefront", 2.0),
        ("storefront", 3.0),
    ]
    assert [(one["service"], one["version"], one["error"]) for one in found["failures"]] == [
        ("catalog", "v2", "Boom")
    ]
    assert found["services"][0] == {"service": "storefront", "version": "v1", "spans": 2, "self_ms": 10.0}
    assert (found["spans"], found["failed"], found["correlation_id"]) == (3, 3, "cor-7")
    assert "attributes" not in found["tree"][0]


async def test_the_correlation_id_of_a_trace_behind_a_proxy_is_found() -> None:
    """The proxy's own span, which comes first, carries none."""
    proxy = a_span(7, 1, service="envoy", attributes={"correlation.id": 5}, ms=50)
    async with explorer([proxy, a_span(7, 2, 1, service="envoy"), a_span(7, 3, 2, start_ms=9)]) as client:
        found = await get(client, f"/v1/traces/{TRACE}")

    assert found["correlation_id"] == "cor-7"
    assert found["links"]["correlation"] == "/v1/correlations/cor-7"


async def test_a_large_trace_shows_its_most_telling_rows() -> None:
    """As many as asked for; what is left out is counted above it."""
    noise = [a_span(7, 10 + n, 1, start_ms=1 + n / 100, ms=0.001) for n in range(400)]
    spans = [a_span(7, 1, ms=100), *noise, a_span(7, 5, 10, start_ms=2, ms=1, error="Boom")]
    async with explorer(spans) as client:
        found = await get(client, f"/v1/traces/{TRACE}", limit=5)

    assert (found["spans"], found["shown"], len(found["tree"])) == (402, 5, 5)
    assert found["tree"][0]["hidden"] == 397
    assert any(row["is_first_failure"] for row in found["tree"])


async def test_every_span_and_one_span_can_be_had_whole() -> None:
    """With attributes, events, links, resource and scope; a measured NaN is a text, not a broken answer."""
    odd: dict[str, Value] = {
        "odd": math.nan,
        "list": [1.5, math.inf],
        "plain": "x",
        "bytes": b"\x00\xff",
        "nothing": None,
    }
    spans = [
        a_span(
            7,
            1,
            attributes=odd,
            events=[SpanEvent("seen", 1_000_000_001, {"odd": -math.inf})],
            links=[SpanLink("b" * 32, "c" * 16)],
        )
    ]
    async with explorer(spans) as client:
        [span] = (await get(client, f"/v1/traces/{TRACE}", full="true"))["spans"]
        alone = await get(client, f"/v1/traces/{TRACE}/spans/{1:016x}")

    assert span == alone
    assert span["attributes"] == {
        "correlation.id": "cor-7",
        "odd": "NaN",
        "list": [1.5, "Infinity"],
        "plain": "x",
        "bytes": "AP8=",
        "nothing": None,
    }
    assert span["events"][0]["at"] == "1970-01-01T00:00:01.000000001Z"
    assert span["events"][0]["attributes"] == {"odd": "-Infinity"}
    assert span["links"][0]["span_id"] == "c" * 16
    assert span["resource"]["attributes"]["service.version"] == "v1"


async def test_all_traces_of_a_correlation_id_are_one_timeline() -> None:
    """The consumer's trace hangs below its producer, and its bar stands where it belongs in time."""
    shared = {"correlation.id": "one"}
    spans = [
        a_span(7, 1, service="orders", attributes=shared),
        a_span(7, 2, 1, service="orders", kind="producer", start_ms=4, ms=1, attributes=shared),
        a_span(
            8,
            3,
            service="notify",
            kind="consumer",
            start_ms=500,
            attributes=shared,
            links=[SpanLink(TRACE, f"{2:016x}")],
        ),
        *a_request(9, "v1"),
    ]
    async with explorer(spans) as client:
        found = await get(client, "/v1/correlations/one")

    assert [(one["root_service"], one["offset_ms"]) for one in found["traces"]] == [
        ("orders", 0.0),
        ("notify", 500.0),
    ]
    assert [(row["service"], row["depth"], row["joined"]) for row in found["tree"]] == [
        ("orders", 0, "root"),
        ("orders", 1, "child"),
        ("notify", 2, "link"),
    ]
    assert found["tree"][2]["follows"] == [f"{2:016x}"]
    assert found["duration_ms"] == 510.0


async def test_services_operations_map_and_versions_add_spans_up() -> None:
    """Versions are apart everywhere; the map of a search holds its traces only."""
    async with explorer(a_bad_canary()) as client:
        services = (await get(client, "/v1/services"))["services"]
        operations = (await get(client, "/v1/services/catalog/operations"))["operations"]
        whole = await get(client, "/v1/map", since="5m")
        failing = await get(client, "/v1/map", status="error")
        none = await get(client, "/v1/map", until="59s", since="2000h")
        changed = await get(client, "/v1/services/catalog/difference", base="v1", other="v2")

    assert [(one["service"], one["version"], one["calls"], one["failed"]) for one in services] == [
        ("catalog", "v1", 300, 0),
        ("catalog", "v2", 80, 20),
        ("storefront", "v1", 380, 20),
    ]
    assert services[1]["last_seen"].startswith("1970-01-01T00:16:40.")
    assert [(one["version"], one["calls"]) for one in operations] == [("v1", 300), ("v2", 80)]
    assert {(one["callee_version"], one["calls"]) for one in whole["edges"]} == {("v1", 300), ("v2", 80)}
    assert {(one["callee_version"], one["calls"]) for one in failing["edges"]} == {("v2", 20)}
    assert none["edges"] == whole["edges"]
    assert [(one["error"], one["base"], one["other"], one["is_new"]) for one in changed["errors"]] == [
        ("InvoiceMissing", 0, 20, True)
    ]
    assert changed["operations"][0]["other"]["p50_ms"] > 3 * changed["operations"][0]["base"]["p50_ms"]


async def test_what_is_different_about_failing_spans_is_said_with_counts() -> None:
    """The failing ones unless something else is chosen; the cause stands before the symptom."""
    async with explorer(a_bad_canary()) as client:
        found = await get(client, "/v1/differences", service="catalog", kind="server")
        versions = await get(
            client, "/v1/differences", service="catalog", version="v2", kind="server", others_version="v1"
        )
        slow = await get(client, "/v1/differences", service="catalog", kind="server", min_duration="30ms")

    sentences = [one["sentence"] for one in found["differences"]]
    assert sentences[0] == "payment.method=invoice: 20 of 20 failing, 10 of 360 others"
    assert found["differences"][-1]["is_symptom"]
    assert found["selected"] == {"service": "catalog", "kind": "server", "status": "error"}
    assert versions["differences"][0]["sentence"] == (
        "payment.method=invoice: 20 of 20 failing, 10 of 300 in v1"
    )
    assert {one["key"] for one in versions["differences"]} == {"payment.method", "http.response.status_code"}
    assert slow["differences"][0]["sentence"].endswith("of 80 selected, 0 of 300 others")


async def test_names_are_completed() -> None:
    """Keys by prefix and service; values most frequent first."""
    async with explorer(a_bad_canary()) as client:
        keys = (await get(client, "/v1/traces/keys", prefix="pay"))["keys"]
        values = (await get(client, "/v1/traces/values", key="payment.method"))["values"]

    assert [(one["scope"], one["key"], one["kind"]) for one in keys] == [("span", "payment.method", "str")]
    assert values == ["card", "invoice"]


REFUSED = [
    ("/v1/traces?serivce=catalog", "serivce"),
    ("/v1/traces?service=a&service=b", "service"),
    ("/v1/traces?min_duration=250", "min_duration"),
    ("/v1/traces?min_duration=2s&max_duration=1s", "max_duration"),
    ("/v1/traces?max_duration=0s", "max_duration"),
    ("/v1/traces?since=yesterday", "since"),
    ("/v1/traces?since=2026-11-28T09:00:00", "since"),
    ("/v1/traces?since=1960-01-01T00:00:00Z", "since"),
    ("/v1/traces?since=1m&until=5m", "until"),
    ("/v1/traces?until=9999-12-31T00:00:00Z", "until"),
    ("/v1/traces?min_duration=999999999999d", "min_duration"),
    ("/v1/traces?status=bad", "status"),
    ("/v1/traces?kind=zq7echo", "kind"),
    ("/v1/traces?where=a%20%3D", "where"),
    ("/v1/traces?cursor=zq7echo", "cursor"),
    ("/v1/traces?limit=0", "limit"),
    ("/v1/traces/values", "key"),
    (f"/v1/traces/{TRACE}?limit=60000", "limit"),
    ("/v1/services?service=a", "service"),
    ("/v1/services/catalog/difference?base=v1", "other"),
    ("/v1/map?since=zq7echo", "since"),
    ("/v1/releases?traget=catalog", "traget"),
    ("/v1/status?zq7echo%3C=1", "(a name that is not shown)"),
    ("/v1/targets/catalog?env=local", "env"),
    ("/health?x=1", "x"),
]


async def test_what_cannot_be_asked_names_its_parameter() -> None:
    """422 with the name, short, and without an echo of the value; old routes as well."""
    async with explorer(a_request(7, "v1")) as client:
        for path, field in REFUSED:
            answer = await client.get(path)

            assert (path, answer.status_code, answer.json()["field"]) == (path, 422, field)
            assert answer.headers["content-type"] == "application/problem+json"
            assert "zq7echo" not in answer.text


UNKNOWN = [
    f"/v1/traces/{'f' * 32}",
    f"/v1/traces/{'f' * 32}?full=true",
    "/v1/traces/zq7echo",
    f"/v1/traces/{TRACE}/spans/{'f' * 16}",
    f"/v1/traces/{TRACE}/spans/zq7echo",
    "/v1/correlations/zq7echo",
    f"/v1/correlations/{'x' * 5_000}",
]


async def test_what_is_not_known_is_404() -> None:
    """Not known, or no longer."""
    async with explorer(a_request(7, "v1")) as client:
        for path in UNKNOWN:
            answer = await client.get(path)

            assert (path, answer.status_code, answer.json()["code"]) == (path, 404, "not_found")
            assert "zq7echo" not in answer.text


async def test_dead_telemetry_is_503_for_traces_only() -> None:
    """Trace questions say that telemetry is down; releases go on."""
    traces = Recorded()
    traces.is_down = True
    async with explorer(traces=traces) as client:
        asked = await client.get("/v1/traces", params={"correlation_id": "abc"})
        started = await client.post("/v1/releases", json={"target": "catalog", "version": "v2"})

    assert (asked.status_code, asked.json()["code"]) == (503, "traces_unavailable")
    assert started.status_code == 202


async def test_the_document_describes_what_can_be_asked() -> None:
    """Every explorer route stands in the OpenAPI document with its parameters."""
    async with explorer() as client:
        paths = (await client.get("/openapi.json")).json()["paths"]

    asked = {one["name"] for one in paths["/v1/traces"]["get"]["parameters"]}
    assert {"service", "min_duration", "since", "where", "cursor"} <= asked
    assert {
        one for one in paths if one.startswith(("/v1/traces", "/v1/serv", "/v1/map", "/v1/diff", "/v1/corr"))
    } == {
        "/v1/traces",
        "/v1/traces/keys",
        "/v1/traces/values",
        "/v1/traces/{trace_id}",
        "/v1/traces/{trace_id}/spans/{span_id}",
        "/v1/correlations/{correlation_id}",
        "/v1/services",
        "/v1/services/{name}/operations",
        "/v1/services/{name}/difference",
        "/v1/map",
        "/v1/differences",
    }


ROUTES = st.sampled_from(
    [
        "/v1/traces",
        "/v1/traces/keys",
        "/v1/traces/values",
        f"/v1/traces/{TRACE}",
        "/v1/correlations/cor-7",
        "/v1/services",
        "/v1/services/catalog/operations",
        "/v1/services/catalog/difference",
        "/v1/map",
        "/v1/differences",
    ]
)
NAMES = st.sampled_from(
    [
        "service",
        "version",
        "operation",
        "kind",
        "status",
        "min_duration",
        "max_duration",
        "release",
        "track",
        "correlation_id",
        "where",
        "since",
        "until",
        "limit",
        "cursor",
        "key",
        "prefix",
        "base",
        "other",
        "others_version",
        "full",
    ]
)
ODD = st.text(max_size=40) | st.sampled_from(
    [
        "-1",
        "1e400",
        "9" * 400,
        "0s",
        "1.5ms",
        "NaN",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "a=~(",
        "((((",
        "1d",
    ]
)


@given(st.lists(st.tuples(ROUTES, st.dictionaries(NAMES, ODD, max_size=4)), min_size=15, max_size=25))
@settings(max_examples=8, deadline=None)
def test_no_question_breaks_it(questions: list[tuple[str, dict[str, str]]]) -> None:
    """Whatever is asked is answered, or refused as a problem; never a 5xx."""

    async def ask() -> list[httpx.Response]:
        async with explorer(a_request(7, "v1")) as client:
            return [await client.get(path, params=query) for path, query in questions]

    for answer in asyncio.run(ask()):
        assert answer.status_code in (200, 404, 422), answer.text
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert len(answer.content) < 4_096
