"""Values and errors survive the wire between a caller and the router."""

from __future__ import annotations

import asyncio
import urllib.request
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import (
    DataPlaneRefused,
    EpochConflict,
    InvalidInput,
    LeaseHeld,
    NotFound,
    ReleaseClosed,
    RouterUnavailable,
    SerinusError,
)
from controller.model.lease import Closure, ClosureKind
from controller.model.look import Arm, Exceedance, History, Instance, Reading, SourceState
from controller.model.target import TargetKey
from controller.model.traffic import Match
from controller.model.verdict import Decision, Ground, Verdict
from controller.model.wealth import Tally
from controller.routing.exposition import RouterCollector, serve_metrics
from controller.routing.proto import codec
from controller.routing.proto import router_pb2 as wire
from tests.controller.routing.edge import free_port
from tests.controller.routing.keeping import SHOP, Desk, asking

COUNTS = st.integers(0, 2**53)
ARMS = st.builds(
    Arm,
    total=COUNTS,
    failed=COUNTS,
    over=st.none() | st.builds(Exceedance, COUNTS, st.lists(COUNTS, max_size=3).map(tuple)),
    in_flight=COUNTS,
    ready=st.booleans(),
    restarts=st.none() | COUNTS,
    instances=st.lists(
        st.builds(Instance, st.text(), COUNTS, COUNTS, COUNTS, st.none() | st.booleans()), max_size=2
    ).map(tuple),
    buckets=st.lists(COUNTS, max_size=4).map(tuple),
)
BOUNDS = st.lists(st.floats(0, 1e3), max_size=3).map(tuple)
TALLIES = st.builds(Tally, COUNTS, COUNTS)
ROWS = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[TALLIES] * width), max_size=4).map(tuple))
HISTORIES = BOUNDS.flatmap(
    lambda bounds: st.builds(
        History,
        st.floats(0, 1e4),
        COUNTS,
        COUNTS,
        ROWS,
        st.lists(TALLIES, max_size=5).map(tuple),
        st.just(bounds),
        st.lists(st.tuples(*[COUNTS] * (len(bounds) + 1)), max_size=4).map(tuple),
    )
)
READINGS = st.builds(
    Reading,
    st.text(),
    st.sampled_from(SourceState),
    st.floats(0, 1e9),
    st.dictionaries(st.text(), ARMS, max_size=3),
    BOUNDS,
)
VERDICTS = st.builds(
    Verdict,
    st.sampled_from(Decision),
    st.sampled_from(Ground),
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    st.none() | st.floats(0, 1),
    st.floats(0, 1e6),
    st.sampled_from(SourceState),
    COUNTS,
)
CLOSURES = st.builds(
    Closure,
    st.just(TargetKey("local.catalog")),
    st.text(),
    st.sampled_from(ClosureKind),
    st.text(),
    st.floats(0, 1e10),
    st.none() | VERDICTS,
)


@given(READINGS)
def test_readings_survive_the_wire(reading: Reading) -> None:
    """None, zero and False stay apart."""
    message = codec.reading_to_wire(reading)

    assert codec.reading_from_wire(type(message).FromString(message.SerializeToString())) == reading


@given(HISTORIES)
def test_histories_survive_the_wire(history: History) -> None:
    """Every minute of every instance arrives, and those of earlier versions."""
    message = codec.history_to_wire(history)

    assert codec.history_from_wire(type(message).FromString(message.SerializeToString())) == history


@pytest.mark.parametrize(
    "broken",
    [
        wire.HistoryAnswer(instances=0, minute_totals=[1], minute_failures=[0]),
        wire.HistoryAnswer(instances=2, minute_totals=[1, 2, 3], minute_failures=[0, 0, 0]),
        wire.HistoryAnswer(instances=1, minute_totals=[1], minute_failures=[]),
        wire.HistoryAnswer(bounds_s=[0.1], minute_buckets=[1, 2, 3]),
    ],
)
def test_a_history_with_ragged_minutes_is_refused(broken: wire.HistoryAnswer) -> None:
    """Numbers that fit no table are an error, not a guess."""
    with pytest.raises(ValueError, match=r"instances|buckets|shorter|longer"):
        codec.history_from_wire(broken)


@given(CLOSURES)
def test_closures_survive_the_wire(closure: Closure) -> None:
    """A verdict arrives with every number."""
    assert codec.closure_from_wire(codec.closure_to_wire(closure)) == closure


@given(CLOSURES)
def test_a_closed_release_carries_its_closure(closure: Closure) -> None:
    """The error that a retried judge gets holds the whole closure."""
    error = codec.error_from_bytes(codec.error_to_bytes(ReleaseClosed("closed", closure=closure)))

    assert isinstance(error, ReleaseClosed)
    assert error.closure == closure


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("wrong", field="share"),
        NotFound("nobody", field="target"),
        LeaseHeld("held"),
        EpochConflict("late"),
        RouterUnavailable("full"),
        DataPlaneRefused("no"),
    ],
)
def test_errors_keep_their_class_and_field(error: SerinusError) -> None:
    """A caller cannot tell a remote refusal from a local one."""
    found = codec.error_from_bytes(codec.error_to_bytes(error))

    assert (type(found), found.message, found.field) == (type(error), error.message, error.field)


def test_a_target_survives_as_json() -> None:
    """Every field comes back; text that is no target is a ValueError."""
    assert codec.target_from_json(codec.target_to_json(SHOP)) == SHOP
    with pytest.raises(ValueError, match="target"):
        codec.target_from_json('{"name": "x", "stable": "v1"}'.replace("name", "target"))


async def test_metrics_say_what_the_router_did(desk: Desk) -> None:
    """Leases, events and proxies are counted; nothing in them knows a verdict."""
    await desk.keeper.grant(asking())
    await desk.keeper.close(SHOP.key, "rel-9", ClosureKind.ABORTED, "no")

    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in RouterCollector(desk.keeper).collect()
        for sample in family.samples
    }

    assert samples["serinus_router_leases",] == 1
    assert samples["serinus_router_events_total", "granted"] == 1
    assert samples["serinus_router_events_total", "barred"] == 1
    assert samples["serinus_router_events_total", "lapsed"] == 0
    assert samples["serinus_router_proxies", "acknowledged"] == 1


async def test_metrics_are_served_on_loopback(desk: Desk) -> None:
    """A scrape gets text; stopping frees the port."""
    port = free_port()
    stop = serve_metrics(port, desk.keeper)

    def scrape() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    text = await asyncio.to_thread(scrape)
    await asyncio.to_thread(stop)

    assert "serinus_router_leases 0.0" in text
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(scrape)


def test_an_audience_crosses_so_that_an_older_router_refuses() -> None:
    """It has a share of its own: who does not know of audiences finds 0 there, and never gives it to everybody."""
    asked = replace(asking(share=10_000), matches=(Match(headers={"x-internal": "1"}),))

    message = codec.request_to_wire(asked)

    assert (message.share, message.audience_share) == (0, 10_000)
    assert codec.request_from_wire(message) == asked
    message.ClearField("matches_json")
    message.ClearField("audience_share")  # what an older router sees
    with pytest.raises(InvalidInput, match="a share above 0"):
        codec.request_from_wire(message)


@pytest.mark.parametrize("text", ["[", "{}", '[{"headers": {"x-a": 1}}]', '[{"path": {"a": "b"}}]', "[{}]"])
def test_what_is_no_audience_is_refused(text: str) -> None:
    """A caller's mistake, with the name of the field."""
    message = codec.request_to_wire(asking())
    message.matches_json = text

    with pytest.raises(InvalidInput) as caught:
        codec.request_from_wire(message)

    assert caught.value.field == "matches"
