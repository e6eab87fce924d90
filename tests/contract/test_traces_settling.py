"""Edges that settle: late spans, work cut off half way, times far away, and the round in the background."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.insight import ServiceMap
from controller.model.searching import LATEST_NS
from controller.traces.clickhouse.settling import MOST_STRETCHES, Settling, stretches
from controller.traces.memory import MemoryTraces
from tests.contract.conftest import OpenClickHouse
from tests.contract.spans import SECOND_NS, bodies, span

SHOP = span(1, service="shop", kind="client", attributes={"server.address": "catalog.local"})
CATALOG = span(2, parent=1, service="catalog")


@pytest.fixture
async def store(clickhouse: OpenClickHouse) -> AsyncIterator[OpenClickHouse]:
    await clickhouse.clear()
    yield clickhouse
    await clickhouse.rest()


def callees(found: ServiceMap) -> list[tuple[str, int]]:
    return [(one.callee, one.red.calls) for one in found.edges]


async def test_a_late_callee_takes_the_place_of_the_peer(store: OpenClickHouse) -> None:
    """A bucket that was settled is settled again, and says the same before and after."""
    await store.ingest(bodies([SHOP]))
    await store.settle()
    alone = callees(await store.service_map())

    await store.ingest(bodies([CATALOG]))
    before = callees(await store.service_map())
    await store.settle()
    after = callees(await store.service_map())

    assert alone == [("catalog.local", 1)]
    assert before == after == [("catalog", 1)]


async def test_a_late_caller_is_found_too(store: OpenClickHouse) -> None:
    """A span is exported when it ends: the caller comes after the callee, from another bucket of time."""
    late = dataclasses.replace(CATALOG, start_ns=CATALOG.start_ns + 500 * SECOND_NS)
    await store.ingest(bodies([late]))
    await store.settle()

    await store.ingest(bodies([SHOP]))
    before = callees(await store.service_map())
    await store.settle()

    assert before == callees(await store.service_map()) == [("catalog", 1)]


async def test_rows_without_their_record_count_for_nothing(store: OpenClickHouse) -> None:
    """A crash between the rows and the record of a generation leaves rows that nobody reads; nothing doubles."""
    await store.ingest(bodies([SHOP, CATALOG]))
    await store.settle()

    await store.fetch("TRUNCATE TABLE settled10_v1")
    unsettled = callees(await store.service_map())
    await store.settle()
    await store.fetch("INSERT INTO edge10_v1 SELECT * REPLACE(generation + 1 AS generation) FROM edge10_v1")

    assert unsettled == callees(await store.service_map()) == [("catalog", 1)]


async def test_settled_edges_do_not_need_the_spans(store: OpenClickHouse) -> None:
    """What was settled is answered from the rollup, also when the spans are gone."""
    await store.ingest(bodies([SHOP, CATALOG]))
    await store.settle()

    await store.fetch("TRUNCATE TABLE spans_v1")

    assert callees(await store.service_map()) == [("catalog", 1)]


@pytest.mark.parametrize("at_ns", [0, 9 * SECOND_NS, LATEST_NS - 20 * SECOND_NS])
@pytest.mark.parametrize("settles", [True, False])
async def test_times_far_away_are_counted(store: OpenClickHouse, at_ns: int, settles: bool) -> None:
    """A clock in 1970 or 2262 makes edges like any other, settled or not."""
    sent = bodies([dataclasses.replace(one, start_ns=at_ns) for one in (SHOP, CATALOG)])
    memory = MemoryTraces()
    await memory.ingest(sent)
    await store.ingest(sent)

    if settles:
        await store.settle()

    assert await store.service_map() == await memory.service_map()


async def test_the_background_settles_when_it_is_nudged(store: OpenClickHouse) -> None:
    """Without anybody asking; a second nudge meanwhile does nothing more."""
    await store.ingest(bodies([SHOP, CATALOG]))
    settling = Settling(store.crew, every_s=0.01, quiet_s=0)

    settling.nudge()
    settling.nudge()
    async with asyncio.timeout(20):
        while await store.count("settled10_v1") == 0:
            await asyncio.sleep(0.02)
    await settling.aclose()
    await settling.aclose()

    assert await store.count("edge10_v1") == 2


@given(st.lists(st.integers(0, 2_000).map(lambda number: number * 10), min_size=1, unique=True).map(sorted))
def test_stretches_hold_every_bucket(buckets: list[int]) -> None:
    """In order, apart from one another, and not too many."""
    found = stretches(buckets)

    assert all(any(first <= at <= last for first, last in found) for at in buckets)
    assert all(one[1] < two[0] for one, two in itertools.pairwise(found))
    assert len(found) <= MOST_STRETCHES


async def test_a_clock_that_was_set_back_settles_all_the_same(store: OpenClickHouse) -> None:
    """A generation is newer than those before it, whatever the clock says; settling comes to an end."""
    await store.ingest(bodies([SHOP]))
    await store.settle()
    await store.fetch(
        "INSERT INTO settled10_v1 SELECT bucket, toUInt64(9000000000000000000), near - 1 FROM settled10_v1"
    )

    async with asyncio.timeout(40):
        await store.settle()

    assert callees(await store.service_map()) == [("catalog.local", 1)]
    assert await store.count("(SELECT * FROM settled10_v1 WHERE generation = 9000000000000000001)") == 1
