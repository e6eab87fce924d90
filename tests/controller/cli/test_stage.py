"""What people see of the demo: `controller.cli.stage`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from controller.cli.stage import LiveScreen, Screen, users

RELEASE: Mapping[str, Any] = {
    "id": "rel-1",
    "target": "catalog",
    "version": "v3",
    "stable": "v2",
    "state": "stepping",
    "step": 0,
    "steps": 3,
    "share_percent": 10.0,
    "reason": "",
    "verdict": {
        "sentence": "catalog v3 failed 7 of 39 requests",
        "numbers": {"canary_total": 39, "canary_failed": 7, "stable_total": 401, "stable_failed": 0},
    },
}
REPORT = {"requests": 1200, "rate": 300.0, "errors": 7, "p50_ms": 3.1, "p99_ms": 17.6}


def _console(*, is_terminal: bool) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, force_terminal=is_terminal, width=120, highlight=False), written


def test_without_a_terminal_a_release_is_a_line_whenever_it_moves() -> None:
    """The same place is said once; another share is another line."""
    console, written = _console(is_terminal=False)

    with Screen(console) as screen:
        screen.release(RELEASE)
        screen.release(RELEASE)
        screen.release({**RELEASE, "share_percent": 30.0, "step": 1})

    assert [line.partition("(")[2].partition(")")[0] for line in written.getvalue().splitlines()] == [
        "step 1 of 3, 10 %",
        "step 2 of 3, 30 %",
    ]


def test_plain_lines_hold_no_control_characters() -> None:
    """What goes into a file can be read in one."""
    console, written = _console(is_terminal=False)

    with Screen(console) as screen:
        screen.say("[green]router[/green] ready")
        screen.traffic(REPORT)

    assert "\x1b" not in written.getvalue()
    assert "router ready" in written.getvalue()
    assert "1200 requests at 300/s, 7 errors" in written.getvalue()


def test_a_machine_that_cannot_keep_up_is_said() -> None:
    """Errors of an overloaded machine are not the canary's: people learn why, and what to do."""
    assert "--rate" not in users({**REPORT, "dropped": 0})

    said = users({**REPORT, "dropped": 41, "p50_ms": 792.193})

    assert "p50 792.2 ms" in said
    assert "41 not sent" in said
    assert "--rate" in said


def test_on_a_terminal_parts_traffic_and_counts_of_both_versions_are_drawn() -> None:
    """The live region shows who is up, what users see, the split, and the numbers of the verdict."""
    console, written = _console(is_terminal=True)

    with LiveScreen(console) as screen:
        screen.watch(lambda: [{"name": "router", "phase": "ready"}, {"name": "worker", "phase": "waiting"}])
        screen.traffic(REPORT)
        screen.release(RELEASE)
        screen.say("a line that stays")

    drawn = written.getvalue()
    for text in (
        "router",
        "worker",
        "1200 requests",
        "39 requests",
        "7 failed",
        "401 requests",
        "a line that stays",
    ):
        assert text in drawn


def test_a_release_that_has_just_been_ordered_can_be_shown() -> None:
    """There is no verdict yet, and nothing known of the users."""
    console, _ = _console(is_terminal=True)

    with LiveScreen(console) as screen:
        screen.traffic({})
        screen.release({**RELEASE, "verdict": None, "share_percent": 0.0})
