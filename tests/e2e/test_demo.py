"""`serinus demo --once --json` tells its whole story on real Envoy and real Temporal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """One run of the demo, from its command to its end."""
    state_dir = tmp_path_factory.mktemp("demo") / "state"
    return subprocess.run(
        [
            *(sys.executable, "-m", "tests.e2e.command", "demo", "--once", "--json", "--rate", "100"),
            *("--started", str(time.time())),
        ],
        env={**os.environ, "SERINUS_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )


def _numbers(told: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert told.returncode == 0, told.stderr[-3000:]
    found: dict[str, object] = json.loads(told.stdout.splitlines()[-1])
    return found


def test_the_good_release_is_promoted_and_the_bad_one_takes_itself_back(
    told: subprocess.CompletedProcess[str],
) -> None:
    """The last line of the output is one JSON object with exactly the promised numbers."""
    numbers = _numbers(told)

    good, bad = numbers["good"], numbers["bad"]

    assert isinstance(good, dict)
    assert isinstance(bad, dict)
    assert good.keys() == {"outcome", "seconds"}
    assert good["outcome"] == "promoted"
    assert bad.keys() == {
        "outcome",
        "detect_s",
        "close_ms",
        "canary_requests",
        "canary_failures",
        "alerts",
    }
    assert bad["outcome"] == "rolled_back"
    assert numbers.keys() == {
        "good",
        "bad",
        "first_rollback_s",
        "user_requests",
        "user_errors",
        "user_errors_outside_canary",
    }


def test_the_rollback_stands_on_counted_failures_and_one_alert(
    told: subprocess.CompletedProcess[str],
) -> None:
    """At least one canary failure is counted, and exactly one alert went out."""
    bad = _numbers(told)["bad"]

    assert isinstance(bad, dict)
    assert bad["canary_failures"] >= 1
    assert bad["canary_requests"] >= bad["canary_failures"]
    assert bad["alerts"] == 1
    assert bad["detect_s"] > 0
    assert bad["close_ms"] >= 0


def test_no_user_met_an_error_that_no_canary_made(told: subprocess.CompletedProcess[str]) -> None:
    """A thousand requests and more were sent; whoever saw an error had been on the canary."""
    numbers = _numbers(told)

    assert isinstance(numbers["user_requests"], int)
    assert numbers["user_requests"] >= 1000
    assert numbers["user_errors_outside_canary"] == 0


def test_the_rollback_is_seen_in_less_than_ninety_seconds(told: subprocess.CompletedProcess[str]) -> None:
    """From the command to the rollback it takes less than a minute and a half."""
    seconds = _numbers(told)["first_rollback_s"]

    assert isinstance(seconds, float)
    assert seconds < 90


def test_people_are_told_the_reason_the_alert_and_where_to_look(
    told: subprocess.CompletedProcess[str],
) -> None:
    """The words for people name the numbers, the alert, a failing request, and every address."""
    words = told.stderr

    assert "to 1 against a tolerable canary" in words
    assert "alert delivered, signature checked" in words
    assert "one failing request" in words
    assert "failing requests of v3, newest first" in words
    assert "new in v3: GET /products" in words
    for name in ("API with your token", "API docs", "Temporal", "the shop"):
        assert name in words


def test_nothing_of_the_run_is_left(told: subprocess.CompletedProcess[str]) -> None:
    """When the command has ended no process of it runs any more."""
    state = told.stderr.partition("$(cat ")[2].partition("/token)")[0]
    assert state

    left = [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and state in _environment(entry) + _command(entry)
    ]

    assert left == []


def _environment(entry: Path) -> str:
    try:
        return (entry / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
