"""Two Envoys that give themselves the same name: the one that is there stays; the same one after a cut comes back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.routing.envoy import door as doors
from controller.routing.envoy.door import Door
from controller.routing.envoy.proto.discovery_pb2 import DeltaRequest, NodeId
from controller.routing.envoy.resources import CLUSTERS
from controller.routing.envoy.roster import Roster
from controller.routing.envoy.session import Session
from tests.controller.routing.edge import Edge, Upstream, accepted, planned, serving, set_up, shop, until
from tests.controller.routing.test_xds_session import Wire


class Hall:
    """A door with sessions in front of it and behind it, and no stream."""

    def __init__(self) -> None:
        self.roster = Roster()
        self.thrown: list[Session] = []
        self.answers: Callable[[], None] = lambda: None
        self.door = Door(roster=self.roster, wake=lambda: self.answers(), throw_out=self.throw_out)

    def session(self) -> Session:
        """Return a session that asked for clusters."""
        made = Wire().session
        made.receive(DeltaRequest(node=NodeId(id="edge-1"), type_url=CLUSTERS))
        made.due()
        return made

    def throw_out(self, session: Session) -> None:
        """End a session."""
        self.thrown.append(session)
        self.roster.leave(session)

    def answered(self, session: Session) -> None:
        """Let a session answer what it was sent, as a living Envoy does."""
        response = session.due()
        assert response is not None
        session.receive(DeltaRequest(type_url=response.type_url, response_nonce=response.nonce))
        self.door.moved()


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Hall:
    """A door that loses its patience at once."""
    # Time of an event loop cannot be passed in; the rule is the same in 10 ms.
    monkeypatch.setattr(doors, "ANSWER_WITHIN_S", 0.01)
    monkeypatch.setattr(doors, "PATIENCE_S", 0.01)
    return Hall()


async def test_a_twin_of_a_living_one_is_refused(hall: Hall) -> None:
    """The one that answers stays; the other is counted each time and said once."""
    first = hall.session()
    assert await hall.door.admit("edge-1", first)
    hall.answers = lambda: hall.answered(first)

    with capture_logs() as lines:
        refused = [await hall.door.admit("edge-1", hall.session()) for _ in range(3)]

    assert refused == [False] * 3
    assert (hall.roster.sessions(), hall.thrown) == ((first,), [])
    assert hall.roster.events["doubled"] == 3
    assert [(line["event"], line["node"]) for line in lines] == [("proxy_refused", "edge-1")]


async def test_a_silent_one_makes_room(hall: Hall) -> None:
    """An Envoy whose old stream hangs comes back at once: who gives no sign of life is thrown out."""
    old, new = hall.session(), hall.session()
    await hall.door.admit("edge-1", old)

    assert await hall.door.admit("edge-1", new)
    assert (hall.roster.sessions(), hall.thrown) == ((new,), [old])
    assert hall.roster.events["doubled"] == 0


async def test_one_whose_stream_ends_meanwhile_makes_room(hall: Hall) -> None:
    """The end of the old stream is seen after the beginning of the new one."""
    old, new = hall.session(), hall.session()
    await hall.door.admit("edge-1", old)

    def end() -> None:
        hall.roster.leave(old)
        hall.door.moved()

    hall.answers = end

    assert await hall.door.admit("edge-1", new)
    assert (hall.roster.sessions(), hall.thrown) == ((new,), [])


async def test_of_two_that_come_together_one_gets_in(hall: Hall) -> None:
    """Whoever is first asks nobody; the second one meets it."""
    sessions = [hall.session(), hall.session()]
    hall.answers = lambda: hall.answered(hall.roster.sessions()[0])

    admitted = await asyncio.gather(*(hall.door.admit("edge-1", one) for one in sessions))

    assert admitted == [True, False]


class Relay:
    """A network between an Envoy and the router that can swallow what is under way, the end of a connection included."""

    def __init__(self, front: Path, back: Path) -> None:
        self._front, self._back = front, back
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self._front)

    def swallow(self) -> None:
        """Let nothing through on the connections there are; neither side is told. New ones work."""
        for pump in self._pumps:
            pump.cancel()

    async def aclose(self) -> None:
        """Stop."""
        self.swallow()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, onward = await asyncio.open_unix_connection(self._back)
        self._writers += (writer, onward)
        for source, sink in ((reader, onward), (behind, writer)):
            self._pumps.add(asyncio.create_task(self._pump(source, sink)))

    @staticmethod
    async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
        sink.close()


@pytest.mark.process
@pytest.mark.long
async def test_an_envoy_whose_connection_hangs_comes_back(edge: Edge, short_folder: Path) -> None:
    """The network swallows the stream and its end: the old one gives no sign of life, the same Envoy is let in again."""
    edge.router = short_folder / "relay"
    edge.router.mkdir()
    plane_side = Edge(short_folder)
    relay = Relay(edge.xds, plane_side.xds)
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(plane_side) as plane:
        await relay.start()
        hand = await set_up(edge, plane, shop(v1, v2))
        await hand.set(plane, 10_000)
        with capture_logs() as lines:
            relay.swallow()
            began_s = time.monotonic()
            await until(lambda: any(line["event"] == "proxy_connected" for line in lines))
            await accepted(plane)
            took_s = time.monotonic() - began_s
        served = await edge.split(40)
        edge.kill()
        await relay.aclose()

    assert served == {"v2": 40}
    assert took_s <= 6.0  # 1.5 s until Envoy notices, 2 s for a sign of life
    assert [line["event"] for line in lines if "node" in line][:3] == [
        "proxy_replaced",
        "proxy_disconnected",
        "proxy_connected",
    ]
    assert plane.events()["doubled"] == 0


@pytest.mark.process
async def test_a_twin_does_not_disturb_the_first_one(edge: Edge, other_edge: Edge) -> None:
    """The second Envoy of a name gets nothing and is named; the first one keeps its stream, its share and its counts."""
    other_edge.router = edge.folder
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge, other_edge) as plane:
        hand = await set_up(edge, plane, shop(v1, v2))
        await hand.set(plane, 10_000)
        with capture_logs() as lines:
            other_edge.start()
            await until(lambda: plane.events()["doubled"] >= 1)
        await hand.set(plane, 5_000)
        nodes, served = plane.nodes(), await edge.split(400)
        edge.kill()
        await until(
            lambda: [node.lapses for node in plane.nodes()] == [1]
        )  # the other one, without shares yet
        await accepted(plane)
        followed = await other_edge.split(40)

    assert [(node.id, node.acknowledged, node.lapses) for node in nodes] == [("edge-1", True, 0)]
    assert 140 <= served["v2"] <= 260
    assert set(followed) == {"v1", "v2"}
    assert [line["event"] for line in lines if line.get("node") == "edge-1"] == ["proxy_refused"]


@pytest.mark.process
async def test_the_same_envoy_comes_back_at_once(edge: Edge) -> None:
    """Killed and started again under a live share it is no twin of itself: connected as soon as it has started."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        hand = await set_up(edge, plane, shop(v1, v2))
        await hand.set(plane, 10_000)
        edge.kill()
        edge.start()
        began_s = time.monotonic()
        await edge.answers(200)
        await accepted(plane)
        took_s = time.monotonic() - began_s
        served = await edge.split(40)

    assert served == {"v2": 40}
    assert took_s <= 5.0
    assert plane.events()["doubled"] == 0


@pytest.mark.process
@pytest.mark.long
async def test_a_frozen_one_is_replaced_and_comes_back_later(edge: Edge, other_edge: Edge) -> None:
    """SIGSTOP of the first: the second takes its place within 4 s; woken, the first is the one that is refused."""
    other_edge.router = edge.folder
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge, other_edge) as plane:
        hand = await set_up(edge, plane, shop(v1, v2))
        await hand.set(plane, 10_000)
        assert edge.process is not None
        edge.process.send_signal(signal.SIGSTOP)
        began_s = time.monotonic()
        other_edge.start()
        await other_edge.answers(200)
        while (await other_edge.ask())[0].version != "v2":
            await asyncio.sleep(0.02)
        took_s = time.monotonic() - began_s
        edge.process.send_signal(signal.SIGCONT)
        await until(lambda: plane.events()["doubled"] >= 1)
        served = await other_edge.split(40)

    assert took_s <= 4.0
    assert served == {"v2": 40}
