"""What every trace store must do when it adds spans up, by examples; `test_traces_agree` has random ones."""

from __future__ import annotations

import pytest

from controller.errors import InvalidInput
from controller.model.insight import LADDER_NS, CallChange, ErrorSignature, Red, ServiceMap, quantile_ns
from controller.model.searching import Range, Search
from controller.model.trace import SpanEvent, Value
from tests.contract.conftest import Bench
from tests.contract.spans import NOON_NS, SECOND_NS, span, trace_id


def seconds(since_s: float, until_s: float) -> Range:
    return Range(NOON_NS + round(since_s * SECOND_NS), NOON_NS + round(until_s * SECOND_NS))


def ends(found: ServiceMap) -> list[tuple[str, str, str, str, str, int, int]]:
    return [
        (
            one.caller,
            one.caller_version,
            one.callee,
            one.callee_version,
            one.kind,
            one.red.calls,
            one.red.failed,
        )
        for one in found.edges
    ]


async def test_nothing_adds_up_to_nothing(bench: Bench) -> None:
    """An empty store has empty answers."""
    assert await bench.store.services() == ()
    assert await bench.store.operations("a") == ()
    assert await bench.store.service_map() == ServiceMap((), ())
    assert await bench.store.map_of(Search()) == ServiceMap((), ())
    assert await bench.store.shares(Search(), Search()) == ()
    assert await bench.store.rates("", Range()) == ()
    difference = await bench.store.difference("a", "v1", "v2")
    assert (difference.operations, difference.errors, difference.calls) == ((), (), ())


async def test_services_count_what_they_served(bench: Bench) -> None:
    """By version; clients are not counted, unless there is nothing else."""
    await bench.keep(
        span(1, trace=1, version="v1", took_ms=10),
        span(2, trace=2, version="v1", failed=True, at_s=3),
        span(3, trace=3, version="v1", kind="client", at_s=4),
        span(4, trace=4, version="v2"),
        span(5, trace=5, service="job", version="", kind="internal"),
    )

    found = await bench.store.services()

    assert [(one.service, one.version, one.red.calls, one.red.failed) for one in found] == [
        ("catalog", "v1", 2, 1),
        ("catalog", "v2", 1, 0),
        ("job", "", 1, 0),
    ]
    assert found[0].last_seen_ns == NOON_NS + 4 * SECOND_NS
    assert found[0].red.exemplar == trace_id(2)


async def test_quantiles_are_those_of_the_ladder(bench: Bench) -> None:
    """A duration on a bound counts below it, one more nanosecond above; the longest have a bucket of their own."""
    durations = (0, LADDER_NS[0], LADDER_NS[0] + 1, LADDER_NS[50], LADDER_NS[-1], LADDER_NS[-1] + 1)
    await bench.keep(*(span(n, trace=n, took_ms=one / 1e6) for n, one in enumerate(durations, 1)))

    (row,) = await bench.store.rates("", Range())
    (service,) = await bench.store.services()

    last = len(LADDER_NS)
    assert {index: count for index, count in enumerate(row.buckets) if count} == {
        0: 2,
        1: 1,
        50: 1,
        last - 1: 1,
        last: 1,
    }
    assert service.red.p99_ns == quantile_ns(row.buckets, 0.99)


async def test_operations_come_with_most_calls_first(bench: Bench) -> None:
    """By version and kind, of one service."""
    await bench.keep(
        span(1, trace=1, name="a"),
        span(2, trace=2, name="b"),
        span(3, trace=3, name="b"),
        span(4, trace=4, name="b", kind="client"),
        span(5, trace=5, name="b", version="v2"),
        span(6, trace=6, service="other"),
    )

    found = await bench.store.operations("catalog")

    assert [(one.operation, one.version, one.kind, one.red.calls) for one in found] == [
        ("b", "v1", "server", 2),
        ("a", "v1", "server", 1),
        ("b", "v1", "client", 1),
        ("b", "v2", "server", 1),
    ]


async def test_ranges_are_widened_to_whole_buckets(bench: Bench) -> None:
    """Sums count whole buckets of 10 s, those that hold a moment of the range."""
    await bench.keep(*(span(n, trace=n, at_s=at) for n, at in enumerate((-0.5, 0, 9.5, 10, 20), 1)))

    (found,) = await bench.store.services(seconds(5, 10.5))
    before = await bench.store.services(seconds(-30, -20))

    assert found.red.calls == 3
    assert before == ()


async def test_rates_are_counters_of_buckets_that_begin_in_the_range(bench: Bench) -> None:
    """Per version, operation and release; longer buckets add shorter ones up."""
    await bench.keep(
        span(1, trace=1, at_s=0, attributes={"release.id": "r-1"}),
        span(2, trace=2, at_s=5, failed=True, attributes={"release.id": "r-1"}),
        span(3, trace=3, at_s=12, attributes={"release.id": "r-1"}),
        span(4, trace=4, at_s=12, version="v2"),
        span(5, trace=5, at_s=25),
        span(6, trace=6, at_s=0, kind="internal"),
        span(7, trace=7, at_s=0, service="other", kind="consumer"),
    )

    short = await bench.store.rates("catalog", seconds(0, 20))
    every_minute = await bench.store.rates("", seconds(-60, 60), 60)
    begun_before = await bench.store.rates("", seconds(5, 20))

    def said(rows: object) -> list[tuple[object, ...]]:
        return [
            ((one.at_ns - NOON_NS) // SECOND_NS, one.service, one.version, one.release, one.calls, one.failed)
            for one in rows  # type: ignore[attr-defined]
        ]

    assert said(short) == [
        (0, "catalog", "v1", "r-1", 2, 1),
        (10, "catalog", "v1", "r-1", 1, 0),
        (10, "catalog", "v2", "", 1, 0),
    ]
    assert sum(one.calls for one in every_minute) == 6
    assert said(begun_before) == said(short)[1:]


@pytest.mark.parametrize("every_s", [0, -10, 5, 15, 86_410])
async def test_other_steps_are_refused(bench: Bench, every_s: int) -> None:
    """Buckets are 10 s or a multiple, up to a day."""
    with pytest.raises(InvalidInput) as caught:
        await bench.store.rates("", Range(), every_s)

    assert caught.value.field == "every_s"


async def test_edges_have_both_versions(bench: Bench) -> None:
    """A call is a span and the span of another service that is its child, whatever came first and in which body."""
    child = span(3, parent=2, service="orders", version="v7", failed=True)
    await bench.keep(child)
    await bench.keep(
        span(1, service="shop"),
        span(2, parent=1, service="shop", kind="client", attributes={"server.address": "orders.local"}),
    )

    assert ends(await bench.store.service_map()) == [("shop", "v1", "orders", "v7", "call", 1, 1)]


async def test_messages_go_from_producer_to_consumer(bench: Bench) -> None:
    """By parent or by link, in this or another trace; a link to the parent is not a second message."""
    queue: dict[str, Value] = {"messaging.destination.name": "paid"}
    await bench.keep(
        span(1, service="shop", kind="producer", attributes=queue),
        span(2, parent=1, service="mail", kind="consumer", at_s=1, links=[(1, 1)]),
        span(3, trace=2, service="stock", kind="consumer", at_s=30, links=[(1, 1), (1, 1), (9, 9)]),
        span(4, trace=3, service="stock", kind="server", at_s=30, links=[(1, 1)]),
    )

    assert ends(await bench.store.service_map()) == [
        ("shop", "v1", "mail", "v1", "message", 1, 0),
        ("shop", "v1", "stock", "v1", "message", 1, 0),
    ]


async def test_peers_without_spans_are_callees(bench: Bench) -> None:
    """As the client calls them, without a version and with the client's own durations; not where a service answered."""
    await bench.keep(
        span(1, kind="client", attributes={"server.address": "db.local"}, failed=True, took_ms=100),
        span(2, kind="client", attributes={"server.address": "10.0.0.1", "peer.service": "mail"}),
        span(3, kind="producer", attributes={"messaging.destination.name": "q", "server.address": "broker"}),
        span(4, kind="client", attributes={"server.address": "orders.local"}),
        span(5, parent=4, service="orders"),
        span(6, trace=2, kind="client", attributes={"server.address": "orders.local"}),
        span(7, trace=2, kind="client", version="v2", attributes={"server.address": "orders.local"}),
        span(8, kind="client", attributes={"server.address": 5}),
    )

    found = await bench.store.service_map()

    assert ends(found) == [
        ("catalog", "v1", "db.local", "", "call", 1, 1),
        ("catalog", "v1", "mail", "", "call", 1, 0),
        ("catalog", "v1", "orders", "v1", "call", 1, 0),
        ("catalog", "v1", "q", "", "message", 1, 0),
        ("catalog", "v2", "orders.local", "", "call", 1, 0),
    ]
    assert 95_000_000 < found.edges[0].red.p50_ns < 105_000_000


async def test_a_service_can_call_itself(bench: Bench) -> None:
    """From client to server; server spans in server spans are no call."""
    await bench.keep(
        span(1, version="v1"),
        span(2, parent=1, version="v1"),
        span(3, parent=2, version="v1", kind="client"),
        span(4, parent=3, version="v2"),
    )

    assert ends(await bench.store.service_map()) == [("catalog", "v1", "catalog", "v2", "call", 1, 0)]


async def test_a_caller_is_near_in_time(bench: Bench) -> None:
    """Ten minutes before at most, or ten seconds after, for clocks differ."""
    await bench.keep(
        span(1, service="shop", at_s=0),
        span(2, parent=1, service="a", at_s=600),
        span(3, parent=1, service="b", at_s=600.5),
        span(4, parent=1, service="c", at_s=-10),
        span(5, parent=1, service="d", at_s=-10.5),
    )

    assert [one.callee for one in (await bench.store.service_map()).edges] == ["a", "c"]


async def test_edges_are_counted_once_when_spans_come_twice(bench: Bench) -> None:
    """A client that sends a body again does not double a call."""
    twice = (span(1, service="shop", kind="client"), span(2, parent=1))
    await bench.keep(*twice)
    await bench.keep(*twice)

    assert ends(await bench.store.service_map()) == [("shop", "v1", "catalog", "v1", "call", 1, 0)]


async def test_a_map_of_a_search_has_the_traces_that_were_found(bench: Bench) -> None:
    """All their spans, and only theirs."""
    await bench.keep(
        span(1, trace=1, service="shop", kind="client"),
        span(2, trace=1, parent=1, failed=True),
        span(3, trace=2, service="other", kind="client"),
        span(4, trace=2, parent=3),
    )

    found = await bench.store.map_of(Search(status="error"))

    assert ends(found) == [("shop", "v1", "catalog", "v1", "call", 1, 1)]
    assert [one.service for one in found.services] == ["catalog", "shop"]


async def test_a_difference_tells_new_errors_operations_and_calls(bench: Bench) -> None:
    """Messages lose their numbers; calls go by what they reached."""
    keyed = [SpanEvent("exception", 1, {"exception.type": "KeyError"})]
    await bench.keep(
        span(1, trace=1),
        span(2, trace=2, version="v2", failed=True, message="order o-17 not found"),
        span(3, trace=3, version="v2", failed=True, message="order 18 not found"),
        span(4, trace=4, version="v2", failed=True, events=keyed, message="'x'"),
        span(
            5, trace=4, parent=4, version="v2", kind="client", name="GET", attributes={"server.address": "db"}
        ),
        span(6, trace=1, parent=1, kind="client", name="PUT", attributes={"server.address": "x"}),
        span(7, trace=1, parent=6, service="stock"),
    )

    found = await bench.store.difference("catalog", "v1", "v2")

    assert found.errors == (
        ErrorSignature("GET /products", "order # not found", 0, 2, trace_id(3)),
        ErrorSignature("GET /products", "KeyError", 0, 1, trace_id(4)),
    )
    assert found.calls == (
        CallChange("stock", "PUT", 1, 1, 0, 3),
        CallChange("db", "GET", 0, 1, 1, 3),
    )
    first = found.operations[0]
    assert (first.operation, first.kind, first.base.failed, first.other.failed) == (
        "GET /products",
        "server",
        0,
        3,
    )
    assert found.operations[1].other in (Red(), found.operations[1].other)


async def test_shares_say_what_is_different(bench: Bench) -> None:
    """Values that are more frequent among the selected; ids are left out, however rare."""
    await bench.keep(
        *(
            span(
                n,
                trace=n,
                failed=n % 4 == 0,
                attributes={
                    "tenant": "t7" if n % 4 == 0 else "t1",
                    "order.id": f"o-{n}",
                    "correlation.id": "c",
                },
                resource={"pod": "p-1" if n % 2 else "p-2"},
            )
            for n in range(1, 21)
        )
    )

    found = await bench.store.shares(Search(status="error"), Search())

    assert [(one.scope, one.key, one.value, one.inside, one.outside) for one in found] == [
        ("span", "tenant", "t7", 5, 0),
        ("resource", "pod", "p-2", 5, 5),
    ]
    assert {(one.selected, one.others) for one in found} == {(5, 15)}
