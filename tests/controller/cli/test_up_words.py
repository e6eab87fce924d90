"""What `serinus up` says, and where its log goes: `controller.cli.stack`."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
from pathlib import Path

import pytest

from controller import observability
from controller.cli.stack import Narrator, Terminal, addresses, or_stopped, to_file, words
from controller.embedded.stack import Urls
from controller.embedded.supervisor import Event
from controller.errors import Unavailable


def test_people_hear_of_the_first_readiness_and_of_every_trouble() -> None:
    """A start is quiet, a part that is ready for the first time is said, and trouble is always said."""
    said: list[str] = []
    narrator = Narrator(said.append)

    for event in (
        Event("router", "started", "pid 1"),
        Event("router", "ready", "after 0.5 s"),
        Event("router", "exited", "signal SIGKILL [sic]", is_trouble=True),
        Event("router", "ready", "after 0.4 s"),
    ):
        narrator.tell(event)

    assert len(said) == 2
    assert "ready after 0.5 s" in said[0]
    assert r"signal SIGKILL \[sic]" in said[1]


def test_the_log_of_the_supervisor_is_a_file_of_json_lines(tmp_path: Path) -> None:
    """While a run lasts its log is in the state folder; afterwards it goes where it went before."""
    before = logging.getLogger().handlers[:]

    with to_file(tmp_path / "state", "info"):
        observability.logger("test").info("part_started", part="router")

    [line] = (tmp_path / "state" / "logs" / "up.log").read_text().splitlines()
    assert json.loads(line)["event"] == "part_started"
    logging.getLogger().handlers[:] = before


def test_a_reader_who_has_gone_does_not_end_the_run() -> None:
    """Words into a closed pipe are words for nobody, and no error."""
    reading, writing = os.pipe()
    os.close(reading)
    file = io.TextIOWrapper(io.FileIO(writing, "w"), write_through=True)
    console = Terminal(file=file)

    console.print("anybody there?")
    console.print("well, then not")

    assert console.quiet
    file.detach().close()


def test_a_link_in_a_pipe_is_whole() -> None:
    """The clickable URL with its token stays on its line, or nobody can click or copy it."""
    written = io.StringIO()
    urls = Urls(
        api="http://127.0.0.1:8640",
        docs="http://127.0.0.1:8640/docs",
        console=f"http://127.0.0.1:8640/?token={'t' * 43}",
        temporal="http://127.0.0.1:8233",
        storefront="http://storefront.localhost:8080/",
        telemetry="http://127.0.0.1:4318",
    )

    say = words(Terminal(file=written, width=60, highlight=False))
    for line in addresses(urls):
        say(line)

    assert written.getvalue().splitlines()[0].endswith(urls.console)
    assert len(written.getvalue().splitlines()) == len(addresses(urls))


async def test_work_that_is_done_is_done() -> None:
    """Finished work is told apart from a stop."""
    assert await or_stopped(asyncio.sleep(0), asyncio.Event())


async def test_a_stop_ends_the_work() -> None:
    """What is under way is cancelled, and waited for."""
    stop = asyncio.Event()
    stop.set()

    assert not await or_stopped(asyncio.sleep(60), stop)


async def test_an_error_of_the_work_is_raised() -> None:
    """A run that fails does not look like one that was stopped."""

    async def fail() -> None:
        raise Unavailable("temporal is not ready")

    with pytest.raises(Unavailable, match="temporal"):
        await or_stopped(fail(), asyncio.Event())
