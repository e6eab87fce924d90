"""The store that speaks SQL says what the memory store says, on random spans, settled or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.model.searching import Range, Search
from controller.model.trace import Span
from controller.traces.memory import MemoryTraces
from tests.contract.conftest import OpenClickHouse
from tests.contract.spans import NOON_NS, SECOND_NS, bodies, span_sets

RANGES = st.one_of(
    st.just(Range()),
    st.builds(
        lambda since_s, length_s: Range(
            NOON_NS + since_s * SECOND_NS, NOON_NS + (since_s + length_s) * SECOND_NS
        ),
        st.integers(-20, 90),
        st.integers(1, 60),
    ),
)
SEARCHES = st.sampled_from(
    [
        Search(),
        Search(status="error"),
        Search(service="a"),
        Search(kind="server"),
        Search(version="v2", status="error"),
        Search(where="tenant or http.status"),
    ]
)
SLOW = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large)


async def compare(
    engine: OpenClickHouse,
    spans: Sequence[Span],
    within: Range,
    searches: tuple[Search, Search],
    cut: int,
    settles: bool,
) -> None:
    """Put spans in two batches, settle after each or not at all, and ask both stores everything."""
    memory = MemoryTraces()
    await engine.clear()
    for part in (spans[:cut], spans[cut:]):
        sent = bodies(part)
        if sent:
            await engine.ingest(sent)
            await memory.ingest(sent)
        if settles:
            await engine.settle()
    one, other = searches
    assert await engine.services(within) == await memory.services(within)
    assert await engine.operations("a", within) == await memory.operations("a", within)
    assert await engine.rates("", within, 60) == await memory.rates("", within, 60)
    assert await engine.rates("b", within) == await memory.rates("b", within)
    assert await engine.service_map(within) == await memory.service_map(within)
    assert await engine.map_of(one) == await memory.map_of(one)
    assert await engine.difference("a", "v1", "v2", within) == await memory.difference(
        "a", "v1", "v2", within
    )
    assert await engine.shares(one, other) == await memory.shares(one, other)
    assert await engine.keys() == await memory.keys()
    for key in ("tenant", "pod", "service.name"):
        assert await engine.values(key) == await memory.values(key)
    await engine.rest()


@pytest.mark.timeout(300)
@settings(max_examples=8, deadline=None, suppress_health_check=SLOW)
@given(span_sets(), RANGES, st.tuples(SEARCHES, SEARCHES), st.integers(0, 12), st.booleans())
def test_sums_are_those_of_the_spans(
    clickhouse: OpenClickHouse,
    spans: list[Span],
    within: Range,
    searches: tuple[Search, Search],
    cut: int,
    settles: bool,
) -> None:
    """Every sum, over any range, however the spans came."""
    asyncio.run(compare(clickhouse, spans, within, searches, cut, settles))


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(span_sets(most=25), RANGES, st.tuples(SEARCHES, SEARCHES), st.integers(0, 25), st.booleans())
def test_sums_are_those_of_the_spans_at_length(
    clickhouse: OpenClickHouse,
    spans: list[Span],
    within: Range,
    searches: tuple[Search, Search],
    cut: int,
    settles: bool,
) -> None:
    """The same for longer."""
    asyncio.run(compare(clickhouse, spans, within, searches, cut, settles))
