"""Watching: over restarts, at gates, on terminals; and a start that waits for a draining release."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from controller.cli import watch
from controller.cli.client import Api, ControllerUnavailable, Location, Refusal, locate
from controller.cli.release import order
from controller.errors import ConfigurationError
from controller.model.release import Change, Outcome, State
from controller.settings import Settings
from tests.controller.cli.serving import Serving

START = {"target": "catalog", "version": "v3"}


def watcher(
    serving: Serving, release: str, sleep: Callable[[float], Awaitable[None]]
) -> tuple[watch.Watch, list[str]]:
    """Return a watch with plain lines, and the lines."""
    lines: list[str] = []
    return watch.Watch(api=serving.api(), release=release, view=watch.Lines(lines.append), sleep=sleep), lines


async def test_a_watch_survives_a_restart_of_the_controller(serving: Serving) -> None:
    """The stream breaks, the controller comes back on another port, and no event is lost or shown twice."""
    release = serving.do(serving.world.start()).order.id
    serving.do(serving.world.note(release, "step_started", Change(state=State.STEPPING)))
    naps = 0

    async def sleep(seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 2:
            serving.do(serving.world.conclude(release, Outcome.ROLLED_BACK))
            serving.up()

    class Breaking(watch.Lines):
        """Takes the controller away as soon as the step has begun."""

        def event(self, data: dict[str, Any]) -> None:
            super().event(data)
            if data["kind"] == "step_started":
                serving.down()

    lines: list[str] = []
    found = watch.Watch(api=serving.api(), release=release, view=Breaking(lines.append), sleep=sleep)

    ended = await found.run(20)

    assert ended.code == watch.ROLLED_BACK
    kinds = [line.split()[1] for line in lines if line[2:3] == ":"]
    assert kinds == ["ordered", "step_started", "rolled_back", "finished"]
    assert sum("trying again" in line for line in lines) == 1


async def test_a_watch_without_any_controller_ends(serving: Serving) -> None:
    """When nothing answers for two minutes the watch gives up, even without a time limit."""
    waited_s = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal waited_s
        waited_s += seconds

    serving.down()
    found, _ = watcher(serving, "rel-1", sleep)

    with pytest.raises(ControllerUnavailable):
        await found.run()

    assert watch.UNREACHABLE_S <= waited_s < 2 * watch.UNREACHABLE_S


async def test_an_unknown_release_cannot_be_watched(serving: Serving) -> None:
    """404 ends the watch at once; there is nothing to wait for."""

    async def sleep(seconds: float) -> None:
        raise AssertionError("nothing to wait for")

    found, _ = watcher(serving, "rel-none", sleep)

    with pytest.raises(Refusal) as caught:
        await found.run(5)
    assert caught.value.status == 404


async def test_a_release_that_waits_needs_a_human(serving: Serving) -> None:
    """A release that still waits after a moment ends the watch with 30 and the next commands."""
    release = serving.do(serving.world.start()).order.id
    serving.do(serving.world.note(release, "waiting", Change(state=State.WAITING)))

    async def sleep(seconds: float) -> None:
        return

    found, lines = watcher(serving, release, sleep)

    assert (await found.run(5)).code == watch.NEEDS_A_HUMAN
    assert "serinus release promote" in lines[-1]


async def test_a_release_that_was_just_told_to_go_on_is_followed(serving: Serving) -> None:
    """`waiting` that is only not yet overwritten does not end the watch."""
    release = serving.do(serving.world.start()).order.id
    serving.do(serving.world.note(release, "waiting", Change(state=State.WAITING)))

    async def sleep(seconds: float) -> None:
        serving.do(serving.world.note(release, "step_started", Change(state=State.STEPPING, step=1)))
        serving.do(serving.world.conclude(release, Outcome.PROMOTED))

    found, _ = watcher(serving, release, sleep)

    assert (await found.run(5)).code == watch.PROMOTED


async def test_a_terminal_gets_a_table(serving: Serving) -> None:
    """On a terminal the newest events and the verdict's sentence stand in one table; text is never markup."""
    release = serving.do(serving.world.start())
    serving.do(serving.world.note(release.order.id, "noted", text="[red]plain[/red]"))
    serving.do(serving.world.conclude(release.order.id, Outcome.ROLLED_BACK))
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160)
    shown = await serving.api().call("GET", f"/v1/releases/{release.order.id}")

    ended = await watch.follow(serving.api(), shown, console=console, timeout_s=5)

    assert ended.code == watch.ROLLED_BACK
    assert "catalog v1 -> v2" in screen.getvalue()
    assert "[red]plain[/red]" in screen.getvalue()


async def test_a_start_waits_for_a_draining_release(serving: Serving) -> None:
    """While the holder has its outcome and only drains, the start is tried again until the target is free."""
    first = serving.do(serving.world.start()).order.id
    serving.do(serving.world.conclude(first, Outcome.PROMOTED, is_drained=False))
    naps = 0

    async def sleep(seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 3:
            serving.do(serving.world.note(first, "finished", Change(state=State.DONE)))
            serving.world.runner.end(serving.world.runner.orders[0].target.key)

    release = await order(serving.api(), START, "k1", sleep=sleep)

    assert (release["version"], naps) == ("v3", 3)


async def test_a_start_does_not_wait_for_a_running_release(serving: Serving) -> None:
    """A holder without an outcome is somebody's work: the start is refused at once, with its id."""
    first = serving.do(serving.world.start()).order.id

    async def sleep(seconds: float) -> None:
        raise AssertionError("nothing to wait for")

    with pytest.raises(Refusal) as caught:
        await order(serving.api(), START, "k1", sleep=sleep)

    assert caught.value.problem["release"] == first


async def test_a_start_does_not_wait_for_ever(serving: Serving) -> None:
    """A drain that does not end is told after fifteen seconds."""
    first = serving.do(serving.world.start()).order.id
    serving.do(serving.world.conclude(first, Outcome.PROMOTED, is_drained=False))
    waited_s = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal waited_s
        waited_s += seconds

    with pytest.raises(Refusal):
        await order(serving.api(), START, "k1", sleep=sleep)

    assert waited_s == 15.0


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"api": 5}', '{"api": "file:///etc/passwd"}', "\x00"]
)
def test_without_a_run_the_settings_say_where(tmp_path: Path, content: str | None) -> None:
    """A missing or broken up.json is no address; the settings' one is used."""
    (tmp_path / "token").write_text("t\n")
    if content is not None:
        (tmp_path / "up.json").write_text(content)

    assert locate(Settings(state_dir=tmp_path)) == Location("http://127.0.0.1:8640", "t")


def test_a_run_says_where_it_is(tmp_path: Path) -> None:
    """up.json of a run comes before the settings; an IPv6 loopback setting gets its brackets."""
    (tmp_path / "token").write_text("t")
    settings = Settings.model_validate({"state_dir": tmp_path, "api": {"host": "::1"}})
    without = locate(settings).url
    (tmp_path / "up.json").write_text(json.dumps({"api": "http://127.0.0.1:9999/"}))

    assert without == "http://[::1]:8640"
    assert locate(settings).url == "http://127.0.0.1:9999"


def test_an_unreadable_token_is_a_configuration_error(tmp_path: Path) -> None:
    """Without a token the way out is named."""
    with pytest.raises(ConfigurationError, match="serinus up"):
        locate(Settings(state_dir=tmp_path))


async def test_a_stranger_on_the_port_is_no_controller() -> None:
    """An answer that is not ours becomes a Refusal with its status, not a crash."""
    import httpx

    transport = httpx.MockTransport(lambda request: httpx.Response(502, text="<html>proxy</html>"))
    api = Api(where=lambda: Location("http://127.0.0.1:1", "t"), transport=transport)

    with pytest.raises(Refusal) as caught:
        await api.call("GET", "/v1/status")

    assert (caught.value.status, caught.value.message) == (502, "the controller answered 502")


@pytest.mark.parametrize(
    ("few", "said"),
    [(None, "canary at 100 %"), ("requests with x: 1", "canary at 100 % of requests with x: 1")],
)
def test_a_share_of_few_is_not_shown_as_everybodys(few: str | None, said: str) -> None:
    """Where a release stands names the audience of its share."""
    data = {"state": "stepping", "step": 0, "steps": 2, "share_percent": 100.0, "audience": few}

    assert watch.standing(data) == f"stepping, step 1 of 2, {said}"
