"""The story fails aloud when it goes otherwise than told: `controller.embedded.demo.story`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from controller.embedded.demo.accounting import CanaryLine, Users
from controller.embedded.demo.receiver import Alert, Receiver
from controller.embedded.demo.story import Stage, Story, StoryFailed, result
from controller.embedded.demo.traffic import Traffic
from controller.embedded.stack import Stack
from controller.errors import Unavailable

ALERT = Alert("rel-v3.rolled_back", "release.rolled_back", "rel-v3", "rolled back", "7 of 39")

WHY = {"traces": "ok", "failing_traces": [{"trace_id": "ab" * 16}]}


class Words(Stage):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def release(self, found: Mapping[str, Any]) -> None:
        pass

    def traffic(self, report: Mapping[str, Any]) -> None:
        pass


class ScriptedApi:
    """Releases that have ended as the test says."""

    def __init__(self, outcomes: Mapping[str, str], *, failed: int) -> None:
        self._outcomes = outcomes
        self._failed = failed
        self.unavailable = 0
        self.untaken = 0
        self.keys: list[str] = []

    async def get(self, path: str) -> Any:
        if self.unavailable:
            self.unavailable -= 1
            raise Unavailable("down")
        if path.startswith("/releases?"):
            return {"releases": []}
        if path.startswith("/targets/"):
            return {"stable": "v1"}
        if path.startswith("/traces?"):
            return {"traces": [{"trace_id": "ab" * 16}]}
        if path.endswith("/why"):
            return WHY
        version = path.rpartition("-")[2]
        return {
            "id": f"rel-{version}",
            "version": version,
            "stable": "v1",
            "state": "done",
            "is_active": False,
            "outcome": self._outcomes[version],
            "reason": "because",
            "facts": {"verdict_at": 12.0},
            "verdict": {"numbers": {"canary_total": 39, "canary_failed": self._failed}},
        }

    async def send(
        self, method: str, path: str, payload: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Any:
        self.keys.append(headers["Idempotency-Key"])
        if self.untaken:
            self.untaken -= 1
            raise Unavailable("Temporal is down")
        return {"id": f"rel-{payload['version']}", "stable": "v1"}


class ScriptedStack:
    """What the story needs of a stack."""

    def __init__(self, api: ScriptedApi) -> None:
        self.api = api


class ScriptedTraffic:
    """Users of whom one met the canary's failure."""

    rate = 50_000.0

    def __init__(self, *, requests: int = 1000, outside: int = 0) -> None:
        self._requests = requests
        self._outside = outside
        self.is_dead = False

    def forget(self) -> None:
        pass

    def begin(self) -> None:
        pass

    async def end(self) -> None:
        pass

    def report(self) -> dict[str, Any]:
        if self.is_dead:
            raise Unavailable("the load generator ended")
        return {"requests": self._requests}

    def users(self) -> Users:
        return Users(self._requests, 1 + self._outside, self._outside)

    def canary(self, release: str | None = None) -> list[CanaryLine]:
        return [CanaryLine(10.0, "who", True), CanaryLine(12.5, "else", False)]


class ScriptedReceiver:
    """An inbox."""

    def __init__(self, *alerts: Alert) -> None:
        self._alerts = alerts

    async def wait(self, release: str, *, within_s: float) -> tuple[Alert, ...]:
        return self._alerts


def _story(
    api: ScriptedApi,
    *,
    traffic: ScriptedTraffic | None = None,
    receiver: ScriptedReceiver | None = None,
    stage: Words | None = None,
) -> Story:
    return Story(
        stack=cast("Stack", ScriptedStack(api)),
        receiver=cast("Receiver", receiver or ScriptedReceiver(ALERT)),
        stage=stage or Words(),
        traffic=cast("Traffic", traffic or ScriptedTraffic()),
    )


AS_TOLD = {"v2": "promoted", "v3": "rolled_back"}


async def test_a_release_in_flight_is_aborted_first() -> None:
    """A run that was killed in mid-release leaves one, which may wait for a person for ever: the story ends it."""

    class Interrupted(ScriptedApi):
        """One release of an earlier run, which ends only when it is aborted."""

        aborted = False

        async def get(self, path: str) -> Any:
            if path.startswith("/releases?"):
                return {"releases": [{"id": "rel-v2"}]}
            return {**await super().get(path), "is_active": not self.aborted}

        async def send(
            self, method: str, path: str, payload: Mapping[str, Any], headers: Mapping[str, str]
        ) -> Any:
            if path == "/releases/rel-v2/abort":
                self.aborted = True
                return {}
            return await super().send(method, path, payload, headers)

    stage = Words()

    async with asyncio.timeout(5):
        await _story(Interrupted(AS_TOLD, failed=7), stage=stage).tell()

    assert "in flight from an earlier run" in stage.said[0]


async def test_errors_that_no_canary_caused_are_another_ending() -> None:
    """Stable must serve everybody throughout: a demo in which it did not has failed, with the count as the reason."""
    story = _story(ScriptedApi(AS_TOLD, failed=7), traffic=ScriptedTraffic(outside=3))

    await story.tell()

    with pytest.raises(StoryFailed, match=r"3 of 1000 user requests failed.*--rate"):
        await story.count_users()


async def test_the_demo_says_that_its_rules_are_its_own() -> None:
    """Nobody should copy two-second steps into real life: they are named before the first release."""
    stage = Words()

    await _story(ScriptedApi(AS_TOLD, failed=7), stage=stage).tell()

    [line] = [line for line in stage.said if "made for the demo" in line]
    assert "10, 30, 60 %" in line
    assert "3 s at most" in line
    assert stage.said.index(line) < next(
        i for i, said in enumerate(stage.said) if said.startswith("release ")
    )


async def test_a_story_as_told_has_its_numbers_from_the_log_and_the_verdict() -> None:
    """Detection and closing are measured against the verdict's time, the counts are the verdict's."""
    story = _story(ScriptedApi(AS_TOLD, failed=7))

    told = await story.tell()
    numbers = result(told, await story.count_users(), started_at=told.rolled_back_at - 30)

    assert numbers["bad"] == {
        "outcome": "rolled_back",
        "detect_s": 2.0,
        "close_ms": 500.0,
        "canary_requests": 39,
        "canary_failures": 7,
        "alerts": 1,
    }
    assert (numbers["first_rollback_s"], numbers["user_requests"]) == (30.0, 1000)
    assert (told.failing, told.trace_id) == ("who", "ab" * 16)
    assert told.why == WHY


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (
            {"v2": "rolled_back", "v3": "rolled_back"},
            "v2 should have been promoted, but it is rolled_back: because",
        ),
        (
            {"v2": "promoted", "v3": "promoted"},
            "v3 should have been rolled back, but it is promoted: because",
        ),
    ],
)
async def test_another_ending_is_a_failure_with_its_reason(outcomes: dict[str, str], words: str) -> None:
    """What should have happened, what did, and why, in one sentence."""
    with pytest.raises(StoryFailed, match=words):
        await _story(ScriptedApi(outcomes, failed=7)).tell()


async def test_a_rollback_without_an_alert_is_a_failure() -> None:
    """Nobody would have been told."""
    with pytest.raises(StoryFailed, match="no alert"):
        await _story(ScriptedApi(AS_TOLD, failed=7), receiver=ScriptedReceiver()).tell()


async def test_a_rollback_without_a_counted_failure_is_a_failure() -> None:
    """A rollback for another reason is not the one that is told."""
    with pytest.raises(StoryFailed, match="does not stand on a counted failure"):
        await _story(ScriptedApi(AS_TOLD, failed=0)).tell()


async def test_users_that_are_gone_end_the_story() -> None:
    """Without traffic nothing can be judged, and waiting for it would be in vain."""
    traffic = ScriptedTraffic()
    traffic.is_dead = True

    with pytest.raises(Unavailable, match="load generator ended"):
        await _story(ScriptedApi(AS_TOLD, failed=7), traffic=traffic).tell()


async def test_too_few_users_are_a_failure() -> None:
    """A thousand are promised."""
    story = _story(ScriptedApi(AS_TOLD, failed=7), traffic=ScriptedTraffic(requests=999))

    with pytest.raises(StoryFailed, match="only 999 user requests"):
        await story.count_users()


async def test_a_controller_that_comes_back_does_not_end_the_story() -> None:
    """While the API is away the story waits, and says so."""
    api = ScriptedApi(AS_TOLD, failed=7)
    words = Words()
    story = _story(api, stage=words)
    api.unavailable = 2

    await story._follow("rel-v2", until_done=True)

    assert sum("does not answer" in line for line in words.said) == 2


async def test_an_order_that_was_not_taken_is_sent_again_with_its_key() -> None:
    """With Temporal away for a moment the order is repeated, and cannot become two releases."""
    api = ScriptedApi(AS_TOLD, failed=7)
    api.untaken = 1

    await _story(api).tell()

    assert api.keys[0] == api.keys[1] != api.keys[2]
