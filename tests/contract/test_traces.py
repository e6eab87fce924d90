"""What every trace store must do with spans: keep them whole, and find them again."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.errors import InvalidInput
from controller.model.searching import Page, Range, Search
from controller.model.trace import RELEASE, TRACK, Scope, Span, SpanEvent, SpanLink, Value
from tests.contract.conftest import Bench
from tests.contract.spans import NOON_NS, SECOND_NS, span, span_id, trace_id

EVERYTHING: dict[str, Value] = {
    "text": "Zeisig ✓",
    "empty": "",
    "yes": True,
    "no": False,
    "least": -(2**63),
    "most": 2**63 - 1,
    "zero": 0,
    "double": 0.25,
    "nan": math.nan,
    "inf": -math.inf,
    "bytes": b"\x00\xff",
    "no bytes": b"",
    "nothing": None,
    "list": ["x", 2, {"a": 1.5}, [True, None]],
    "empty list": [],
    "map": {"a": {"b": b"\x01"}},
    "empty map": {},
}


async def found(bench: Bench, **asked: object) -> list[str]:
    page = await bench.store.search(Search(**asked))  # type: ignore[arg-type]
    return [one.trace_id for one in page.traces]


async def test_unknown_ids_have_no_answer(bench: Bench) -> None:
    """What nobody sent is an empty answer, never an error, whatever the id looks like."""
    for strange in ("0" * 32, "", "../x", "Ä" * 32, "A" * 32, "'", "\x00"):
        assert await bench.store.get(strange) is None
        assert await bench.store.outline(strange) is None
        assert await bench.store.span(strange, strange) is None
    assert (await bench.store.timeline("nobody")).total == 0
    assert await found(bench, correlation_id="nobody") == []


async def test_a_span_comes_back_whole(bench: Bench) -> None:
    """Every field, type of attribute, event, link, status, resource and scope is as it went in."""
    sent = Span(
        trace_id=trace_id(1),
        span_id=span_id(2),
        parent_span_id=span_id(3),
        name="PUT /orders",
        kind="consumer",
        start_ns=NOON_NS + 123_456_789,
        duration_ns=987_654_321,
        status="error",
        status_message="no stock\n",
        trace_state="a=1,b=2",
        flags=0x301,
        attributes=EVERYTHING,
        events=(
            SpanEvent("first", NOON_NS + 5, EVERYTHING, 3),
            SpanEvent("", 0, {}),
        ),
        links=(
            SpanLink(trace_id(9), span_id(8), {"why": [1]}, "c=3", 1, 2),
            SpanLink(trace_id(9), span_id(7)),
        ),
        resource=replace(span(1).resource, schema_url="https://a/1", dropped=4),
        scope=Scope("lib", "1.2", {"s": 1}, "https://b/2", 5),
        dropped=(6, 7, 8),
    )
    await bench.keep(sent)

    trace = await bench.store.get(trace_id(1))
    alone = await bench.store.span(trace_id(1), span_id(2))

    assert trace is not None
    # NaN is not equal to itself.
    assert repr(trace.spans) == repr((sent,))
    assert repr(alone) == repr(sent)


async def test_a_trace_comes_by_start_and_each_span_once(bench: Bench) -> None:
    """Spans from several bodies and services come together; one that was sent twice counts once."""
    child = span(2, parent=1, at_s=1, failed=True, message="broken")
    await bench.keep(child)
    await bench.keep(span(1, service="storefront"), child)

    trace = await bench.store.get(trace_id(1))
    outline = await bench.store.outline(trace_id(1))
    (summary,) = (await bench.store.search(Search(service="catalog"))).traces

    assert trace is not None
    assert outline is not None
    assert [one.span_id for one in trace.spans] == [span_id(1), span_id(2)]
    assert [(one.service, one.status, one.error) for one in outline.spans] == [
        ("storefront", "unset", ""),
        ("catalog", "error", "broken"),
    ]
    assert outline.total == 2
    assert (summary.root_service, summary.root_name, summary.spans, summary.failed) == (
        "storefront",
        "GET /products",
        2,
        1,
    )
    assert (summary.start_ns, summary.duration_ns) == (NOON_NS, SECOND_NS + 5_000_000)
    assert (summary.matched, summary.span_id, summary.services) == (1, span_id(2), ("catalog", "storefront"))


async def test_an_outline_has_the_earliest_and_says_how_many_there_are(bench: Bench) -> None:
    """A limit cuts the end off, not the count."""
    await bench.keep(*(span(number, at_s=number) for number in range(1, 8)))

    outline = await bench.store.outline(trace_id(1), 3)

    assert outline is not None
    assert [one.span_id for one in outline.spans] == [span_id(1), span_id(2), span_id(3)]
    assert outline.total == 7


async def test_a_timeline_has_all_spans_of_all_traces_of_a_correlation(bench: Bench) -> None:
    """Also those spans that do not carry the id themselves; the id is matched as a whole."""
    mine: dict[str, Value] = {"correlation.id": "cid-1"}
    await bench.keep(
        span(1, trace=1, attributes=mine),
        span(2, trace=1, at_s=2),
        span(3, trace=2, at_s=1, attributes=mine),
        span(4, trace=3, attributes={"correlation.id": "cid-12", "note": "cid-1"}),
    )

    timeline = await bench.store.timeline("cid-1")

    assert [one.span_id for one in timeline.spans] == [span_id(1), span_id(3), span_id(2)]
    assert timeline.total == 3
    assert await found(bench, correlation_id="cid-1") == [trace_id(2), trace_id(1)]


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({}, [4, 3, 2, 1]),
        ({"service": "orders"}, [2]),
        ({"version": "v2"}, [3]),
        ({"operation": "POST /"}, [4]),
        ({"kind": "client"}, [1]),
        ({"status": "error"}, [3]),
        ({"min_ns": 50_000_000}, [4]),
        ({"max_ns": 5_000_000}, [3, 2, 1]),
        ({"release": "r-1"}, [2]),
        ({"track": "canary"}, [2]),
        ({"where": "tenant = t7"}, [4]),
        ({"where": "not tenant"}, [3, 2, 1]),
        ({"where": "size > 9 or tenant =~ ^x"}, [2]),
        ({"where": "resource.pod = p-1 and not span.pod"}, [1]),
        ({"service": "orders", "status": "error"}, []),
        ({"within": Range(NOON_NS + 2 * SECOND_NS, NOON_NS + 3 * SECOND_NS)}, [2]),
        ({"service": "'; DROP TABLE spans_v1 --"}, []),
        ({"where": '"a\'b\\\\" = "\'"'}, []),
    ],
)
async def test_a_search_finds_what_fits(bench: Bench, asked: dict[str, object], numbers: list[int]) -> None:
    """Each condition by itself, newest first."""
    await bench.keep(
        span(1, trace=1, at_s=1, kind="client", resource={"pod": "p-1"}),
        span(2, trace=2, at_s=2, service="orders", attributes={RELEASE: "r-1", TRACK: "canary", "size": 10}),
        span(3, trace=3, at_s=3, version="v2", failed=True),
        span(4, trace=4, at_s=4, name="POST /", took_ms=80, attributes={"tenant": "t7"}),
    )

    assert await found(bench, **asked) == [trace_id(number) for number in numbers]


async def test_all_conditions_hold_for_one_span(bench: Bench) -> None:
    """A trace with one span that fits the first and another that fits the second is not found."""
    await bench.keep(span(1, service="a", failed=True), span(2, service="b", parent=1))

    assert await found(bench, service="b", status="error") == []


async def test_pages_neither_lose_nor_repeat(bench: Bench) -> None:
    """Also where several traces begin at the same moment."""
    await bench.keep(*(span(number, trace=number, at_s=number // 3) for number in range(1, 12)))
    seen: list[str] = []
    cursor = ""

    while True:
        page = await bench.store.search(Search(), Page(limit=4, cursor=cursor))
        seen += [one.trace_id for one in page.traces]
        cursor = page.cursor
        if not cursor:
            break

    assert seen == [trace_id(number) for number in range(11, 0, -1)]


@pytest.mark.parametrize("cursor", ["x", "1-2", "-1-" + "a" * 32, "9" * 20 + "-" + "a" * 32, "1-" + "G" * 32])
async def test_a_cursor_that_is_none_is_refused(bench: Bench, cursor: str) -> None:
    """Whatever else was sent as a cursor is an error that names the field."""
    with pytest.raises(InvalidInput) as caught:
        await bench.store.search(Search(), Page(cursor=cursor))

    assert caught.value.field == "cursor"


async def test_size_counts_spans(bench: Bench) -> None:
    """How many there are, and since when."""
    await bench.keep(span(1), span(2, at_s=-7))

    size = await bench.store.size()

    assert (size.spans, size.oldest_ns, size.dropped_spans) == (2, NOON_NS - 7 * SECOND_NS, 0)


async def test_keys_and_values_complete_what_is_typed(bench: Bench) -> None:
    """By prefix and service, with scope and kind; values most frequent first."""
    await bench.keep(
        span(1, attributes={"http.status": 200, "tenant": "b", "odd": None}),
        span(2, service="orders", attributes={"http.status": 503, "http.route": "/a", "tenant": "a"}),
        span(3, service="orders", attributes={"http.status": "x", "tenant": "a"}, resource={"tenant": "no"}),
        span(4, service="orders", resource={"tenant": "zz", "http.list": ["x"]}),
    )

    keys = [(one.scope, one.key, one.kind, one.services) for one in await bench.store.keys("http.")]
    of_catalog = [one.key for one in await bench.store.keys("", "catalog")]

    assert keys == [
        ("resource", "http.list", "list", ("orders",)),
        ("span", "http.route", "str", ("orders",)),
        ("span", "http.status", "int", ("catalog", "orders")),
        ("span", "http.status", "str", ("orders",)),
    ]
    assert of_catalog == ["http.status", "service.name", "service.version", "tenant"]
    assert await bench.store.values("tenant") == ("a", "b", "zz")
    assert await bench.store.values("tenant", "z") == ("zz",)
    assert await bench.store.values("http.status", "", "orders") == ("503", "x")
    assert await bench.store.values("http.list") == ()
