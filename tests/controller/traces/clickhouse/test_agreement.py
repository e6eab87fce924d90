"""Whether a span fits a search is the same in SQL and in memory, and so are the pages of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from controller.errors import InvalidInput
from controller.model.searching import Page, Range, Search
from controller.model.trace import KINDS, STATUSES, Span
from controller.traces import decoding, selecting
from controller.traces.clickhouse.conditions import where
from controller.traces.clickhouse.store import ClickHouseTraces
from tests.controller.traces.made import NEAR, keys, pairs, scalars

KEYS = ("a", "b.c", "service.name", "ä 'x\"\\")
TEXTS = (
    "x",
    "xyz",
    "X1",
    "",
    "7",
    "0.1",
    "1e3",
    "1e999",
    "-0",
    "true",
    "ä",
    "line\nbreak",
    "' OR 1=1 --",
    "\\'); DROP TABLE spans_v1 --",
    "nan",
)
NUMBERS = (0, 1, -7, 7, 2**53 + 1, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 0.1, 7.0, 1e3, 1e16, 1.5e-7, 1e21, 1.2345e-6, float("inf"), float("nan"), 2.0**53)
PATTERNS = (
    "x",
    "^x",
    "z$",
    "[0-9]+",
    "(?i)X",
    ".",
    "e.b",
    r"\\d{2}",
    "^$",
    r"\\bbreak",
    "[^a-z]",
    "x|7",
    "'",
)
few = st.one_of(
    st.builds(lambda value: AnyValue(string_value=value), st.sampled_from(TEXTS)),
    st.builds(lambda value: AnyValue(int_value=value), st.sampled_from(NUMBERS)),
    st.builds(lambda value: AnyValue(double_value=value), st.sampled_from(FLOATS) | st.floats()),
    scalars,
)


def _quoted(found: str) -> str:
    return '"' + found.replace("\\", "\\\\").replace('"', '\\"') + '"'


names = st.sampled_from(KEYS).map(_quoted) | st.sampled_from(
    ("a", "span.a", "resource.a", "b.c", "resource.b.c")
)
said = st.one_of(
    st.sampled_from(TEXTS).map(_quoted),
    st.sampled_from(NUMBERS).map(str),
    st.sampled_from(("0.1", "7", "1e3", "1e999", "-1e999", "true", "false", "1e16", "1.5e-7")),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda value: f"{value:.6f}"),
)
comparisons = st.one_of(
    names,
    st.builds("{} {} {}".format, names, st.sampled_from(("=", "!=", "<", "<=", ">", ">=")), said),
    st.builds(
        "{} {} {}".format,
        names,
        st.sampled_from(("=~", "!~")),
        st.sampled_from(PATTERNS).map(lambda one: f'"{one}"'),
    ),
)
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("not {}".format, inner.map("({})".format)),
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
    ),
    max_leaves=4,
)


@dataclass
class Kept:
    """A store, and the loop that it is asked from: one for all examples."""

    store: ClickHouseTraces
    runner: asyncio.Runner

    def rows(self, statement: str) -> list[list[object]]:
        """Ask the engine itself."""
        return self.runner.run(self.store._crew.ask(statement))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with asyncio.Runner() as runner:
        store = ClickHouseTraces(tmp_path_factory.mktemp("traces"), now_ns=lambda: NEAR + 7_200_000_000_000)
        yield Kept(store, runner)
        runner.run(store.aclose())


@st.composite
def batches(draw: st.DrawFn) -> ExportTraceServiceRequest:
    """Spans of a version of their own: some traces, each of some spans."""
    message = ExportTraceServiceRequest()
    version = str(uuid4())
    trace_ids = [uuid4().bytes for _ in range(draw(st.integers(1, 4)))]
    for _ in range(draw(st.integers(1, 3))):
        group = message.resource_spans.add()
        group.resource.attributes.add(key="service.version").value.string_value = version
        for pair in draw(pairs(few)):
            group.resource.attributes.append(pair)
        spans = group.scope_spans.add().spans
        for _ in range(draw(st.integers(1, 6))):
            start = NEAR + 60_000_000_000 * draw(st.integers(0, 100))
            one = spans.add(
                trace_id=draw(st.sampled_from(trace_ids)),
                span_id=uuid4().bytes[:8],
                parent_span_id=draw(st.sampled_from((b"", b"parentid"))),
                name=draw(st.sampled_from(("GET /", "' OR '1", "work"))),
                kind=WireSpan.SpanKind.ValueType(draw(st.integers(0, 5))),
                start_time_unix_nano=start,
                end_time_unix_nano=start + draw(st.sampled_from((0, 1_000, 5_000_000_000))),
            )
            one.status.code = Status.StatusCode.ValueType(draw(st.integers(0, 2)))
            found = {draw(keys | st.sampled_from(KEYS)): draw(few) for _ in range(draw(st.integers(0, 4)))}
            one.attributes.extend(KeyValue(key=key, value=value) for key, value in found.items())
            if draw(st.booleans()):
                one.attributes.add(key="correlation.id").value.string_value = draw(
                    st.sampled_from(("c1", "'"))
                )
    return message


searches = st.builds(
    Search,
    operation=st.sampled_from(("", "", "GET /", "' OR '1")),
    kind=st.sampled_from(("", "", *KINDS)),
    status=st.sampled_from(("", "", *STATUSES)),
    min_ns=st.sampled_from((0, 0, 1_000)),
    max_ns=st.sampled_from((0, 0, 1_000)),
    correlation_id=st.sampled_from(("", "", "c1", "'", "\\")),
    where=st.just("") | expressions,
    within=st.sampled_from((Range(), Range(NEAR + 1, NEAR + 3_000_000_000_000))),
)
unhurried = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


@unhurried
@given(batches(), st.lists(searches, min_size=8, max_size=16))
def test_sql_finds_what_memory_finds(
    kept: Kept, message: ExportTraceServiceRequest, asked: list[Search]
) -> None:
    """A span is in the answer of ClickHouse when `selecting.fits` says so, whatever is asked."""
    spans = _ingested(kept, message)
    version = spans[0].version

    for search in (replace(one, version=version) for one in asked):
        rows = kept.rows(f"SELECT lower(hex(span_id)) FROM spans_v1 WHERE {where(search)}")
        fitting = sorted(span.span_id for span in spans if selecting.fits(search, span))
        assert sorted(str(row[0]) for row in rows) == fitting, search


@unhurried
@given(batches(), searches, st.integers(1, 3))
def test_pages_are_those_of_memory(
    kept: Kept, message: ExportTraceServiceRequest, asked: Search, limit: int
) -> None:
    """Page after page, the same traces in the same order with the same counts."""
    spans = _ingested(kept, message)
    search = replace(asked, version=spans[0].version)
    traces: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda one: (one.start_ns, one.span_id)):
        traces.setdefault(span.trace_id, []).append(span)

    cursor, seen = "", 0
    while True:
        page = Page(limit, cursor)
        expected = selecting.page_of(traces, search, page)
        found = kept.runner.run(kept.store.search(search, page))
        assert (found.traces, found.cursor) == (expected.traces, expected.cursor)
        cursor, seen = found.cursor, seen + 1
        if not cursor:
            break
    assert seen <= len(traces) + 1


@pytest.mark.parametrize("cursor", ["x", "1-", "1-zz", "-" + "a" * 32, "99999999999999999999-" + "a" * 32])
def test_cursor_that_is_none_is_refused(kept: Kept, cursor: str) -> None:
    """It is the caller's mistake, never a failure."""

    with pytest.raises(InvalidInput):
        kept.runner.run(kept.store.search(Search(), Page(5, cursor)))


def _ingested(kept: Kept, message: ExportTraceServiceRequest) -> list[Span]:
    body = message.SerializeToString()
    kept.runner.run(kept.store.ingest([body]))
    return list(decoding.spans(body))
