"""`serinus up` as a process: what it leaves, who may run beside it, and how it ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.rig import Rig, descendants, is_alive, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

PARTS = {"temporal", "envoy", "router", "telemetry", "controller", "worker", "launcher"}


def _others_up(state_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.e2e.command", "up"],
        env={**os.environ, "SERINUS_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_second_run_on_the_same_folder_is_refused_in_one_line(rig: Rig) -> None:
    """The line names the pid of the first, and nothing of it is touched."""
    assert rig.process is not None
    before = rig.status()["parts"]

    second = _others_up(rig.state_dir)

    assert second.returncode == 78
    assert f"pid {rig.process.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert [part["pid"] for part in rig.status()["parts"]] == [part["pid"] for part in before]


def test_what_belongs_to_the_user_is_for_the_user_alone(rig: Rig) -> None:
    """Folders are 0700; the token, the settings, the address file and the sockets are 0600."""
    runtime = Path(rig.up["socket"]).parent

    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (
            *(rig.state_dir / name for name in ("token", "settings.json", "up.json")),
            *(path for path in runtime.iterdir() if path.is_socket()),
        )
    }

    assert stat.S_IMODE(rig.state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(modes, 0o600)
    assert len(str(runtime)) < 80


@pytest.mark.parametrize(
    "name",
    [part if part == "launcher" else pytest.param(part, marks=pytest.mark.long) for part in sorted(PARTS)],
)
def test_a_killed_part_comes_back(rig: Rig, name: str) -> None:
    """Kill -9 of any part is followed by a ready successor."""
    pid = rig.kill(name)

    assert rig.wait_replaced(name, pid) != pid


@pytest.mark.long
def test_a_second_stack_survives_its_supervisor_and_ends_without_a_trace(rig: Rig, own_rig: Rig) -> None:
    """Beside the first it takes other ports; kill -9 takes all its processes along; the next start has the same ports and
    goes on with the release in flight; after SIGTERM neither a process nor the address file is left.
    """
    own_rig.start()
    ports = own_rig.up["ports"]
    family = _family(own_rig)
    release = own_rig.release("v2")
    own_rig.follow(release, lambda found: found["state"] == "stepping")
    family |= _family(own_rig)

    own_rig.kill_all()
    until("the whole family is gone", lambda: not [pid for pid in family if is_alive(pid)], within_s=5)
    own_rig.start()
    found = own_rig.follow(release, lambda found: found["state"] == "stepping")
    canary = own_rig.pid("catalog.v2")
    own_rig.api("POST", f"/releases/{release}/abort", {})
    ended = own_rig.ended(release)
    successors = _family(own_rig)
    code = own_rig.stop(signal.SIGTERM)

    assert not set(ports.values()) & set(rig.up["ports"].values())
    assert len(family) > len(PARTS)
    assert ports.items() <= own_rig.up["ports"].items()
    assert (found["version"], canary is not None, ended["outcome"]) == ("v2", True, "aborted")
    assert code == 0
    assert not [pid for pid in successors if is_alive(pid)]
    assert not (own_rig.state_dir / "up.json").exists()


def _family(rig: Rig) -> set[int]:
    assert rig.process is not None
    return descendants(rig.process.pid)
