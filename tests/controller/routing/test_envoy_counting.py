"""Adding up what Envoy counts: totals never go down, and nothing is counted twice."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.model.look import SourceState
from controller.model.target import TargetKey
from controller.model.wealth import Tally
from controller.routing.envoy import latency
from controller.routing.envoy.admin import AdminError, Page, get, parse
from controller.routing.envoy.counting import HostCount, Ledger, RawReading
from controller.routing.envoy.reader import CounterReader
from controller.routing.past import Past
from tests.controller.routing.keeping import SHOP, HandClock

NAME = "local.catalog/v1"
NOW = 1_700_000_000.0


def raw(*, process: int = 1, retries: int = 0, **hosts: tuple[int, int]) -> RawReading:
    """Return a reading of one cluster: (success, error) by host."""
    counts = {name: HostCount(success, error, 0) for name, (success, error) in hosts.items()}
    return RawReading(process, {NAME: counts}, {NAME: retries})


def add(ledger: Ledger, reading: RawReading, at_s: float, now: float) -> None:
    """Take in one reading of the only proxy there is."""
    ledger.add({"": reading}, at_s, now)


def totals(*readings: RawReading) -> tuple[int, int]:
    """Return total and failed after readings one second apart."""
    ledger = Ledger()
    for at_s, reading in enumerate(readings):
        add(ledger, reading, float(at_s), NOW + at_s)
    arm = ledger.arm(NAME)
    assert arm is not None
    return arm.total, arm.failed


def test_a_retry_of_ours_is_not_a_request() -> None:
    """Three attempts for one request of a dead host are one failed request; a rescued one is not failed at all."""
    assert totals(raw(a=(0, 60), retries=40)) == (20, 20)
    assert totals(raw(dead=(0, 10), alive=(20, 0), retries=10)) == (20, 0)


def test_a_restarted_envoy_goes_on_counting() -> None:
    """Another process counts from zero: what it says is added."""
    assert totals(raw(a=(100, 10)), raw(process=2, a=(200, 3))) == (313, 13)


def test_a_host_that_comes_back_goes_on_counting() -> None:
    """A host that left and came back counts from zero: what it says is added."""
    assert totals(raw(a=(100, 10), b=(5, 0)), raw(b=(6, 0)), raw(a=(150, 0), b=(6, 0))) == (266, 10)


def test_counters_that_went_down_are_new_counters() -> None:
    """Envoy made the host anew between two readings."""
    assert totals(raw(a=(100, 10)), raw(a=(7, 1))) == (118, 11)


def test_a_retry_that_is_seen_before_its_error_takes_nothing_back() -> None:
    """Retries are read a moment after the hosts: a total waits for the next reading and is exact again."""
    ledger = Ledger()
    seen = []
    for at_s, (errors, retries) in enumerate([(5, 0), (5, 2), (9, 4)]):
        add(ledger, raw(a=(0, errors), retries=retries), float(at_s), NOW + at_s)
        arm = ledger.arm(NAME)
        assert arm is not None
        seen.append((arm.total, arm.failed))

    assert seen == [(5, 5), (5, 5), (5, 5)]


def test_hosts_that_left_are_no_instances() -> None:
    """Their requests stay in the total; they are not listed any more."""
    ledger = Ledger()
    add(ledger, raw(a=(3, 1), b=(5, 0)), 0.0, NOW)
    add(ledger, raw(b=(6, 0)), 1.0, NOW + 1)

    arm = ledger.arm(NAME)

    assert arm is not None
    assert ([one.id for one in arm.instances], arm.total) == (["b"], 10)


def test_history_is_a_difference_of_samples() -> None:
    """The window is the time between the samples that are used."""
    past = Past()
    ledger = Ledger(past)
    for second in range(10):
        add(ledger, raw(a=(10 * second, second)), float(second), NOW + second)

    history = past.of(NAME).history(4.0, NOW + 9)

    assert (history.window_s, history.total, history.failed) == (4.0, 44, 4)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.dictionaries(
                st.sampled_from("abc"),
                st.tuples(st.integers(0, 50), st.integers(0, 50)),
                max_size=3,
            ),
            st.integers(0, 60),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_totals_never_go_down(steps: list[tuple[int, dict[str, tuple[int, int]], int]]) -> None:
    """Whatever restarts, leaves, comes back or lies: total and failed only grow, and failed is part of total."""
    ledger = Ledger()
    before = (0, 0)
    for at_s, (process, hosts, retries) in enumerate(steps):
        add(ledger, raw(process=process, retries=retries, **hosts), float(at_s), NOW + at_s)
        arm = ledger.arm(NAME)
        assert arm is not None
        assert before[0] <= arm.total
        assert before[1] <= arm.failed <= arm.total
        before = (arm.total, arm.failed)


def read(clusters: Page, stats: Page) -> RawReading:
    """Read pages about everybody."""
    (reading,) = parse([(None, clusters)], [stats])
    return reading


def page(value: object, pid: int = 7) -> Page:
    """Return an admin page."""
    return Page(pid, value if isinstance(value, bytes) else json.dumps(value).encode())


HOST = {
    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 7001}},
    "stats": [
        {"name": "rq_success", "value": "3"},
        {"name": "rq_error"},
        {"name": "rq_active", "value": "1", "type": "GAUGE"},
    ],
}
CLUSTERS = {
    "cluster_statuses": [
        {"name": NAME, "added_via_api": True, "host_statuses": [HOST]},
        {"name": "router", "host_statuses": [{"address": {"pipe": {"path": "/x"}}, "stats": []}]},
        {"name": "local.catalog/v4", "added_via_api": True},
    ]
}
ZEROS = " ".join(f"B{label}(0,0)" for label in latency._LABELS)
STATS = "\n".join(
    (
        f"cluster.{NAME}.upstream_rq_retry: 2",
        f"cluster.{NAME}.upstream_rq_time: {ZEROS.replace('B1.5(0,0)', 'B1.5(1,9)')}",
        "cluster.local.other/v1.upstream_rq_time: B0.5(0,1) B1(0,2)",
        "",
    )
).encode()


def test_envoys_pages_become_a_reading() -> None:
    """A counter without a value is zero; our own static cluster and foreign buckets are left out."""
    reading = read(page(CLUSTERS), page(STATS))

    assert reading == RawReading(
        7,
        {NAME: {"127.0.0.1:7001": HostCount(3, 0, 1)}, "local.catalog/v4": {}},
        {NAME: 2},
        {NAME: (0, 9, *[0] * 62)},
    )


def test_a_shields_latencies_are_its_canarys_and_its_retries_are_not() -> None:
    """What users waited for through the shield counts for the canary, beside what went to it directly."""
    line = ZEROS.replace("B1.5(0,0)", "B1.5(1,9)")
    shielded = f"cluster.shield/{NAME}.upstream_rq_time: {line}\ncluster.shield/{NAME}.upstream_rq_retry: 5"
    reading = read(page(CLUSTERS), page(STATS + shielded.encode()))

    alone = read(page(CLUSTERS), page(STATS))
    assert sum(reading.latencies[NAME]) == 2 * sum(alone.latencies[NAME]) == 18
    assert reading.retries.get(NAME) == alone.retries.get(NAME)


@pytest.mark.parametrize(
    ("stats", "clusters"),
    [
        (page(b"not a statistic"), page(CLUSTERS)),
        (page(STATS), page(b"\xff\xfe")),
        (page(STATS), page([])),
        (page(STATS), page({"cluster_statuses": [{"added_via_api": True}]})),
        (page(b"cluster.x.upstream_rq_retry: many"), page(CLUSTERS)),
        (page(STATS, pid=1), page(CLUSTERS, pid=2)),
    ],
)
def test_garbage_is_no_reading(stats: Page, clusters: Page) -> None:
    """What cannot be read, or comes from two processes, is an error and never a row of zeros."""
    with pytest.raises(AdminError):
        read(clusters, stats)


def test_latencies_add_up_over_restarts() -> None:
    """Another process, and a histogram that was made anew, count from zero; one that is not in the answer stands still."""
    ledger = Ledger()
    seen = []
    for at_s, (process, counts) in enumerate(
        [(1, (3, 0)), (1, (4, 2)), (1, None), (1, (5, 2)), (2, (1, 0)), (2, None), (2, (0, 1))]
    ):
        latencies = {NAME: (*counts, *[0] * 62)} if counts is not None else {}
        add(ledger, RawReading(process, {NAME: {}}, {}, latencies), float(at_s), NOW + at_s)
        arm = ledger.arm(NAME)
        assert arm is not None
        seen.append(arm.buckets[:2])

    assert seen == [(3, 0), (4, 2), (4, 2), (5, 2), (6, 2), (6, 2), (6, 3)]


def test_the_first_reading_is_no_past() -> None:
    """What Envoy counted before the router came has no known beginning: it is in the totals, not in the history."""
    past = Past()
    ledger = Ledger(past)
    add(ledger, raw(a=(1_000, 10)), 0.0, NOW)
    add(ledger, raw(a=(1_005, 11)), 1.0, NOW + 1)

    history = past.of(NAME).history(3_600.0, NOW + 1)

    assert (history.window_s, history.total, history.failed) == (1.0, 6, 1)


def test_a_promotion_leaves_the_last_stable_version_behind() -> None:
    """Its instances are told with the history of the next one, not with its own; a removed target leaves nothing."""
    clock = HandClock()
    reader = CounterReader(sockets=[Path("nobody")], clock=clock.boot_s, wall_clock=clock.wall_s)
    reader.declared([SHOP])
    for second, count in enumerate((0, 5, 9)):
        reading = raw(a=(count, 0), b=(2 * count, 1))
        add(reader._ledger, reading, float(second), clock.wall_s() + second)
    promoted = SHOP.with_stable("v2")
    reader.declared([promoted])

    assert set(reader.history(promoted, "v2", 3_600.0).earlier) == {Tally(9, 0), Tally(18, 0)}
    assert reader.history(promoted, "v1", 3_600.0).earlier == ()
    reader.declared([])
    assert reader.history(promoted, "v2", 3_600.0).earlier == ()


def test_age_becomes_a_state() -> None:
    """Never read is DOWN; up to 3 s is fine, up to 10 s stale, then DOWN."""
    clock = HandClock()
    reader = CounterReader(sockets=[Path("nobody")], clock=clock.boot_s)
    assert reader.reading(SHOP).source is SourceState.DOWN

    reader._sources[0].read_at_s[SHOP.key] = clock.now_s
    states = []
    for age_s in (0.0, 3.0, 3.1, 10.0, 10.1):
        clock.now_s = 100.0 + age_s
        states.append(reader.reading(SHOP).source.value)

    assert states == ["ok", "ok", "stale", "stale", "down"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 503 Nope\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nbroken",
        b"garbage without an end",
    ],
)
async def test_a_broken_admin_interface_is_an_error(short_folder: Path, answer: bytes) -> None:
    """Whatever answers on the socket, the reader gets an error it knows."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(short_folder / "a.sock"))

    with pytest.raises(AdminError):
        await get(short_folder / "a.sock", "/stats")

    server.close()
    await server.wait_closed()


async def test_nobody_on_the_admin_socket_is_an_error(short_folder: Path) -> None:
    """No Envoy is an error that names the socket."""
    with pytest.raises(AdminError, match=r"a\.sock"):
        await get(short_folder / "a.sock", "/stats")


def test_each_proxy_restarts_for_itself_and_a_silent_one_stands_still() -> None:
    """Totals are the sum of all proxies; the same address counts at each, and no total ever goes down."""
    past = Past()
    ledger = Ledger(past)
    rounds = [
        {"one": (1, 10), "two": (2, 20)},
        {"one": (1, 11), "two": (2, 22)},
        {"one": (1, 12)},
        {"one": (1, 13), "two": (3, 5)},
    ]
    totals = []
    for second, each in enumerate(rounds):
        readings = {
            proxy: RawReading(process, {NAME: {"a:1": HostCount(count, 0, 1)}}, {})
            for proxy, (process, count) in each.items()
        }
        ledger.add(readings, float(second), NOW + second)
        arm = ledger.arm(NAME)
        assert arm is not None
        assert [(one.id, one.total, one.in_flight) for one in arm.instances] == [("a:1", arm.total, 2)]
        totals.append(arm.total)

    history = past.of(NAME).history(3_600.0, NOW + 3)
    assert totals == [30, 33, 34, 40]
    assert (history.window_s, history.total) == (3.0, 10)


def test_one_silent_proxy_makes_the_counts_stale_and_only_all_of_them_down() -> None:
    """The counts of the others are still there, but a judge must not take them for everything."""
    clock = HandClock()
    reader = CounterReader(sockets=[Path("one"), Path("two")], clock=clock.boot_s)
    one, two = reader._sources
    one.read_at_s[SHOP.key] = two.read_at_s[SHOP.key] = clock.now_s
    states = [reader.reading(SHOP).source.value]
    for other_s in (clock.now_s + 60, clock.now_s):
        clock.now_s, one.read_at_s[SHOP.key] = clock.now_s + 60, other_s
        states.append(reader.reading(SHOP).source.value)

    assert states == ["ok", "stale", "down"]


def told(target: str, process: int = 1, **versions: dict[str, tuple[int, int]]) -> RawReading:
    """Return a reading about one target: (success, error) by version and host."""
    hosts = {
        f"{target}/{version}": {address: HostCount(*counts, 0) for address, counts in each.items()}
        for version, each in versions.items()
    }
    return RawReading(process, hosts, {}, {}, frozenset({TargetKey(target)}))


def test_a_reading_about_one_target_says_nothing_of_the_others() -> None:
    """Who was not asked for stands still, with all its hosts; who was and is not there has left."""
    ledger = Ledger()
    for second, reading in enumerate(
        (
            told("local.a", v1={"a:1": (5, 1)}),
            told("local.b", v1={"b:1": (7, 0)}, v2={"b:2": (1, 0)}),
            told("local.a", v1={"a:1": (6, 1)}),
            told("local.b", v1={"b:1": (9, 0)}),
        )
    ):
        add(ledger, reading, float(second), NOW + second)
    arms = [ledger.arm(name) for name in ("local.a/v1", "local.b/v1", "local.b/v2")]

    assert [(arm.total, len(arm.instances)) for arm in arms if arm] == [(7, 1), (9, 1), (1, 0)]


def test_each_version_has_its_own_time_between_two_readings() -> None:
    """What came late is told with the time it took, and the first reading of each has no known beginning."""
    past = Past()
    ledger = Ledger(past)
    for second, reading in (
        (0, told("local.a", v1={"a:1": (100, 0)})),
        (5, told("local.b", v1={"b:1": (100, 0)})),
        (6, told("local.a", v1={"a:1": (106, 0)})),
        (35, told("local.b", v1={"b:1": (130, 0)})),
    ):
        add(ledger, reading, float(second), NOW + second)
    known = [past.of(name).history(3_600.0, NOW + 35) for name in ("local.a/v1", "local.b/v1")]

    assert [(one.window_s, one.total) for one in known] == [(6.0, 6), (30.0, 30)]


def test_a_restart_is_a_restart_for_those_who_are_read_later_too() -> None:
    """The new process is seen with one target; another one's counts begin from zero as well, and nothing is lost."""
    ledger = Ledger()
    for second, reading in enumerate(
        (
            told("local.a", v1={"a:1": (5, 0)}),
            told("local.b", v1={"b:1": (7, 0)}),
            told("local.a", process=2, v1={"a:1": (1, 0)}),
            told("local.b", process=2, v1={"b:1": (8, 0)}),
        )
    ):
        add(ledger, reading, float(second), NOW + second)
    arms = [ledger.arm(name) for name in ("local.a/v1", "local.b/v1")]

    assert [arm.total for arm in arms if arm] == [6, 15]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_reading_some_adds_up_to_what_reading_all_does(steps: list[tuple[str, int, int]]) -> None:
    """In whatever order targets are read, the totals after their last reading are what was counted."""
    ledger, counted = Ledger(), {name: [0, 0] for name in "abc"}
    for second, (asked, well, badly) in enumerate(steps):
        for counts in counted.values():
            counts[0] += well
            counts[1] += badly
        add(ledger, told(asked, v1={"x:1": (counted[asked][0], counted[asked][1])}), float(second), NOW)
    for name, (well, badly) in counted.items():
        add(ledger, told(name, v1={"x:1": (well, badly)}), 99.0, NOW)
        arm = ledger.arm(f"{name}/v1")
        assert arm is not None
        assert (arm.total, arm.failed) == (well + badly, badly)
