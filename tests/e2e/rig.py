"""A real stack under test: `serinus up` as a process of its own, with handles to steer and kill.

Used by the fixtures in `conftest`. Everything goes the way a person would go: the API with its token, the supervisor's
socket for process ids, and signals.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

Value = TypeVar("Value")

PLAN: Mapping[str, Any] = {"name": "slow", "steps": [{"share": 50, "hold_s": 4, "deadline_s": 120}]}
POLICY: Mapping[str, Any] = {"name": "any", "warmup_s": 0.5}
"""Nobody sends requests in these tests, so that a step lasts until a person ends it."""


def until(
    what: str, ask: Callable[[], Value | None], *, within_s: float = 30.0, every_s: float = 0.05
) -> Value:
    """Return the first answer that is true; fails with `what` when none came in time."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        if found := ask():
            return found
        time.sleep(every_s)
    raise AssertionError(f"not within {within_s:g} s: {what}")


def descendants(pid: int) -> set[int]:
    """Return the ids of all processes below one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: set[int] = set()
    open_ones = [pid]
    while open_ones:
        for child in children.get(open_ones.pop(), ()):
            found.add(child)
            open_ones.append(child)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Rig:
    """One running stack.

    Args:
        state_dir: Its own.
        environment: Further settings, by variable.
    """

    def __init__(self, state_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self._environment = {**os.environ, "SERINUS_STATE_DIR": str(state_dir), **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.up: dict[str, Any] = {}

    def start(self, *, within_s: float = 55.0) -> None:
        """Start `serinus up` and return when everything is ready."""
        (self.state_dir.parent / f"{self.state_dir.name}.out").unlink(missing_ok=True)
        with (self.state_dir.parent / f"{self.state_dir.name}.out").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.command", "up"],
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until(f"the stack is up; it said: {self.said()}", self._is_up, within_s=within_s)

    def said(self) -> str:
        """Return the end of what `serinus up` printed."""
        path = self.state_dir.parent / f"{self.state_dir.name}.out"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = 25.0) -> int:
        """Signal `serinus up` and return its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            return self.process.wait(within_s)
        finally:
            self.process.kill()
            self.process.wait()
            self.process = None

    def kill_all(self) -> None:
        """Kill the supervisor with SIGKILL; what happens to its family is the kernel's doing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def token(self) -> str:
        """Of the API."""
        return (self.state_dir / "token").read_text().strip()

    def api(self, method: str, path: str, payload: object = None, **headers: str) -> httpx.Response:
        """Call our API under /v1; a controller that is down is tried again for ten seconds."""
        return until(
            f"the API answers {method} {path}",
            lambda: self._call(method, path, payload, headers),
            within_s=10,
        )

    def status(self) -> dict[str, Any]:
        """Return what the supervisor says of parts and versions."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=self.up["socket"]), timeout=5) as client:
            found: dict[str, Any] = client.get("http://supervisor/status").json()
        return found

    def pid(self, name: str) -> int | None:
        """Return the process id of a part (`router`) or of a version (`catalog.v2`), None while it does not run."""
        status = self.status()
        found = {each["name"]: each["pid"] for each in [*status["parts"], *status["versions"]]}
        pid: int | None = found.get(name)
        return pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a part or a version, and return the process id that got it."""
        pid = until(f"{name} runs", lambda: self.pid(name))
        os.kill(pid, number)
        return pid

    def wait_replaced(self, name: str, pid: int, *, within_s: float = 30.0) -> int:
        """Return the process id of a part's successor as soon as it is ready."""

        def successor() -> int | None:
            for each in self.status()["parts"]:
                if each["name"] == name and each["phase"] == "ready" and each["pid"] not in (None, pid):
                    return int(each["pid"])
            return None

        return until(f"{name} is back", successor, within_s=within_s)

    def release(self, version: str) -> str:
        """Order a release of the catalog and return its id."""
        order = {"target": "catalog", "version": version, "plan": PLAN, "policy": POLICY}
        answer = self.api("POST", "/releases", order)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def follow(
        self, release: str, true: Callable[[dict[str, Any]], bool], *, within_s: float = 40.0
    ) -> dict[str, Any]:
        """Return the release as soon as something is true of it."""

        def ask() -> dict[str, Any] | None:
            found: dict[str, Any] = self.api("GET", f"/releases/{release}").json()
            return found if true(found) else None

        return until(f"release {release} gets there", ask, within_s=within_s)

    def ended(self, release: str, *, within_s: float = 40.0) -> dict[str, Any]:
        """Return the release as soon as it has an outcome."""
        return self.follow(release, lambda found: found["outcome"] is not None, within_s=within_s)

    def _call(
        self, method: str, path: str, payload: object, headers: Mapping[str, str]
    ) -> httpx.Response | None:
        try:
            return httpx.request(
                method,
                f"{self.up['api']}/v1{path}",
                json=payload,
                headers={"Authorization": f"Bearer {self.token}", **headers},
                timeout=10,
            )
        except httpx.TransportError:
            return None

    def _is_up(self) -> bool:
        path = self.state_dir / "up.json"
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"serinus up ended: {self.said()}")
        if "Ctrl-C stops everything" not in self.said() or not path.exists():
            return False
        self.up = json.loads(path.read_text())
        return True
