"""Whatever comes in OTLP comes out as it went in, of chDB in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controller.model.trace import Attributes, Span
from controller.traces import decoding
from controller.traces.clickhouse.store import ClickHouseTraces
from tests.controller.traces import made


@dataclass
class Kept:
    """A store, and the loop that it is asked from: one for all examples."""

    store: ClickHouseTraces
    runner: asyncio.Runner


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with asyncio.Runner() as runner:
        store = ClickHouseTraces(tmp_path_factory.mktemp("traces"))
        yield Kept(store, runner)
        runner.run(store.aclose())


# Without shrinking, which would insert for minutes.
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(made.requests)
def test_spans_come_out_as_they_went_in(kept: Kept, request_: ExportTraceServiceRequest) -> None:
    """Every field of every span, resource, scope, event and link, and every attribute with its type."""
    body = _unseen(request_)
    sent = {(span.trace_id, span.span_id): span for span in decoding.spans(body)}

    kept.runner.run(kept.store.ingest([body]))
    found = kept.runner.run(_found(kept.store, sorted({trace_id for trace_id, _ in sent})))

    assert {(span.trace_id, span.span_id): span for span in found} == sent
    assert _told(found) == _told(sent.values())


def _unseen(request_: ExportTraceServiceRequest) -> bytes:
    """Give each span a trace id that no other example has: the store forgets nothing between them."""
    for resource in request_.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.trace_id = uuid4().bytes
    return request_.SerializeToString()


async def _found(store: ClickHouseTraces, trace_ids: list[str]) -> list[Span]:
    found = [await store.get(trace_id) for trace_id in trace_ids]
    return [span for trace in found if trace for span in trace.spans]


def _told(spans: Iterable[Span]) -> int:
    """Count attribute values that say something."""
    return sum(
        value not in (None, "", [], {}, b"")
        for span in spans
        for attributes in _all_attributes(span)
        for value in attributes.values()
    )


def _all_attributes(span: Span) -> list[Attributes]:
    return [
        span.attributes,
        span.resource.attributes,
        span.scope.attributes,
        *(event.attributes for event in span.events),
        *(link.attributes for link in span.links),
    ]
