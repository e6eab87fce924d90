"""The event stream: complete, resumable, bounded, and over when the release is over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from controller.api.events import Streaming
from controller.model.release import Change, Outcome, Progress, State
from controller.model.share import BasisPoints
from tests.controller.releases.world import BAD_NEWS, KEY, TOKEN, World, a_world

Step = Callable[[], Awaitable[None]]


class Script:
    """Stands for the time between two looks at the ledger: runs one prepared step in each."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.waits = 0

    async def sleep(self, seconds: float) -> None:
        """Run the next step instead of waiting."""
        self.waits += 1
        if self.steps:
            await self.steps.pop(0)()
        assert self.waits < 200, "the stream never ended"


def parsed(text: str) -> list[tuple[str, str, Any]]:
    """Return (event, id, data) of every event in a stream."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


async def stream(world: World, release: str, **headers: str) -> list[tuple[str, str, Any]]:
    """Read a whole stream."""
    async with world.client() as client, asyncio.timeout(10):
        answer = await client.get(f"/v1/releases/{release}/events", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    return parsed(answer.text)


def kinds(found: list[tuple[str, str, Any]]) -> list[str]:
    """Return the journal events of a stream, without progress."""
    return [kind for kind, _, _ in found if kind != "progress"]


async def test_a_finished_release_streams_its_journal_and_ends() -> None:
    """Everything that was journaled comes once, in order, then `end` with the outcome."""
    async with a_world() as world:
        release = (await world.start()).order.id
        await world.conclude(release, Outcome.ROLLED_BACK)

        found = await stream(world, release)

        assert kinds(found) == ["ordered", "rolled_back", "finished", "end"]
        assert found[-1][2]["outcome"] == "rolled_back"
        places = [int(place) for _, place, _ in found if place]
        assert places == sorted(set(places))


async def test_a_stream_goes_on_after_the_last_seen_event() -> None:
    """Last-Event-ID at every place gives exactly what comes after it; a place far ahead gives only the end."""
    async with a_world() as world:
        release = (await world.start()).order.id
        await world.conclude(release, Outcome.PROMOTED)
        whole = [one for one in await stream(world, release) if one[1]]

        for index, (_, place, _) in enumerate(whole):
            rest = [one for one in await stream(world, release, **{"Last-Event-ID": place}) if one[1]]
            assert rest == whole[index + 1 :]
        ahead = await stream(world, release, **{"Last-Event-ID": "9" * 18})

        assert kinds(ahead) == ["end"]


async def test_a_live_release_is_followed() -> None:
    """What happens while the stream is open comes out of it: events, progress between them, and the end."""
    script = Script()
    async with a_world(streaming=Streaming(sleep=script.sleep)) as world:
        release = (await world.start()).order.id

        async def step() -> None:
            await world.note(release, "step_started", Change(state=State.STEPPING, share=BasisPoints(1_000)))

        async def judge() -> None:
            progress = Progress(release=release, step=0, share=BasisPoints(1_000), verdict=BAD_NEWS, at=2.0)
            await world.store.report(progress)

        async def end() -> None:
            await world.conclude(release, Outcome.ROLLED_BACK)

        script.steps = [step, judge, end]
        found = await stream(world, release)

        assert kinds(found) == ["ordered", "step_started", "rolled_back", "finished", "end"]
        progress = [data for kind, _, data in found if kind == "progress"]
        assert [one["state"] for one in progress] == ["starting", "stepping", "stepping", "done"]
        assert progress[2]["verdict"]["numbers"]["canary_failed"] == 30


async def test_silence_is_filled_with_comments() -> None:
    """Without news a comment comes now and then, so that both sides notice a dead connection."""
    script = Script()
    async with a_world(streaming=Streaming(sleep=script.sleep, heartbeat_polls=2)) as world:
        release = (await world.start()).order.id

        async def nothing() -> None:
            return

        async def end() -> None:
            await world.conclude(release, Outcome.ABORTED)

        script.steps = [*[nothing] * 7, end]
        async with world.client() as client:
            text = (await client.get(f"/v1/releases/{release}/events")).text

        assert text.count(": still here") == 4


async def test_a_stream_ends_quietly_when_the_ledger_dies() -> None:
    """The answer has begun, so it just ends, without `end`: the caller comes back and resumes."""
    script = Script()
    async with a_world(streaming=Streaming(sleep=script.sleep)) as world:
        release = (await world.start()).order.id

        async def die() -> None:
            world.store.is_down = True

        script.steps = [die]
        first = await stream(world, release)
        world.store.is_down = False
        await world.conclude(release, Outcome.PROMOTED)
        rest = await stream(world, release, **{"Last-Event-ID": first[0][1]})

        assert kinds(first) == ["ordered"]
        assert kinds(rest) == ["promoted", "finished", "end"]


async def test_streams_are_bounded_and_given_back() -> None:
    """One more stream than allowed is 503; when a caller leaves, its place is free again."""
    gate = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await gate.wait()

    async with a_world(streaming=Streaming(most=2, sleep=sleep)) as world, world.client() as client:
        release = (await world.start()).order.id
        path = f"/v1/releases/{release}/events"
        callers = [Caller(world, path) for _ in range(2)]
        for caller in callers:
            await caller.begun.wait()

        refused = await client.get(path)
        for caller in callers:
            await caller.leave()
        await world.conclude(release, Outcome.ABORTED)
        gate.set()
        accepted = await client.get(path)

        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
        assert accepted.status_code == 200


class Caller:
    """A caller that opens a stream and leaves when it is told to: httpx's ASGI transport cannot."""

    def __init__(self, world: World, path: str) -> None:
        self.begun = asyncio.Event()
        self._gone = asyncio.Event()
        self._asked = False
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())],
        }
        self._task = asyncio.create_task(world.app(scope, self._receive, self._send))  # type: ignore[arg-type]

    async def leave(self) -> None:
        """Close the connection and wait until the application has noticed."""
        self._gone.set()
        async with asyncio.timeout(5):
            await self._task

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            self.begun.set()


async def test_an_unknown_release_has_no_stream() -> None:
    """404 before anything is streamed."""
    async with a_world() as world, world.client() as client:
        answer = await client.get("/v1/releases/rel-none/events")

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_event_carries_its_numbers() -> None:
    """An event says what, when, who, and under which correlation ID."""
    async with a_world() as world:
        release = (await world.start()).order.id
        await world.conclude(release, Outcome.ABORTED)
        world.runner.end(KEY)

        _, place, ordered = (await stream(world, release))[0]

        assert ordered == {
            "id": f"{release}:ordered",
            "seq": int(place),
            "kind": "ordered",
            "text": "tester ordered catalog v2",
            "at": "1970-01-01T00:16:40.000Z",
            "actor": "tester",
            "correlation_id": "corr-1",
            "details": {"target": "catalog", "version": "v2", "stable": "v1"},
        }
