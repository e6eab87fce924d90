"""Parameters of Jaeger's query API: whatever is sent, and tags with whatever in them."""

from __future__ import annotations

import json

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api.jaeger.asking import Parameters, search_v1
from controller.errors import InvalidInput
from controller.model.trace import Resource, Span
from controller.traces import decoding
from controller.traces.memory import MemoryTraces
from controller.traces.selecting import fits
from tests.controller.api.jaeger_client import speak_to

TRACE = "a" * 32
SHOP = Resource({"service.name": "storefront", "service.version": "v1"})

NAMES = st.sampled_from(
    [
        "service",
        "operation",
        "tags",
        "tag",
        "minDuration",
        "maxDuration",
        "limit",
        "start",
        "end",
        "traceID",
        "query.startTimeMin",
        "query.durationMax",
        "query.attributes",
        "query.num_traces",
        "query.filter",
        "x",
    ]
)
VALUES = st.one_of(
    st.text(max_size=40),
    st.integers().map(str),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers() | st.none(), max_size=4).map(
        json.dumps
    ),
    st.from_regex(r"[0-9.]{1,5}(ns|us|ms|s|m|h)?", fullmatch=True),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
)


@settings(max_examples=30, deadline=None)
@given(asked=st.lists(st.tuples(NAMES, VALUES), max_size=5), path=st.sampled_from(["", "v3/"]))
async def test_whatever_is_asked_is_answered_in_jaegers_form(asked: list[tuple[str, str]], path: str) -> None:
    """No parameters give a 500; a refusal has the generation's own form."""
    store = MemoryTraces()
    async with speak_to(store) as client:
        await store.ingest(
            [decoding.encode([Span(TRACE, "1" * 16, "", "GET /", "server", 1, 1, resource=SHOP)])]
        )

        answer = await client.get(f"/jaeger/api/{path}traces", params=httpx.QueryParams(tuple(asked)))

    assert answer.status_code in (200, 400, 404)
    if answer.status_code != 200:
        body = answer.json()
        code = body["error"]["httpCode"] if path else body["errors"][0]["code"]
        assert code == answer.status_code


@given(tags=st.dictionaries(st.text(max_size=30), st.text(max_size=30), max_size=5))
@settings(max_examples=50, deadline=None)
def test_tags_are_quoted_safely(tags: dict[str, str]) -> None:
    """A span that carries exactly the tags is found by them, whatever quotes and words they hold."""
    try:
        search, _ = search_v1(Parameters([("tags", json.dumps(tags))]))
    except InvalidInput:
        assert set(tags) & {"span.kind", "error", "otel.status_code", "otel.scope.name"}
        return

    span = Span(TRACE, "1" * 16, "", "x", "server", 1, 1, attributes=dict(tags), resource=SHOP)
    assert fits(search, span)
    if tags:
        assert not fits(search, Span(TRACE, "1" * 16, "", "x", "server", 1, 1, resource=SHOP))
