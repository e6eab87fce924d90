"""The fork server as a real process: start, exits, stop, and that nobody outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.launcher import listen

pytestmark = pytest.mark.process


def wait_until(is_true: Callable[[], bool], seconds: float = 15) -> None:
    deadline_s = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.01)


class Client:
    """One connection to the launcher."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(15)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("r")
        self.events: list[dict[str, Any]] = []

    def tell(self, line: bytes) -> dict[str, Any]:
        self._socket.sendall(line + b"\n")
        while "event" in (answer := self.read()):
            self.events.append(answer)
        return answer

    def order(self, **order: Any) -> dict[str, Any]:
        return self.tell(json.dumps(order).encode())

    def start(self, version: str = "v1", **options: Any) -> dict[str, Any]:
        return self.order(op="start", name="catalog", version=version, port=0, options=options)

    def read(self) -> dict[str, Any]:
        answer = json.loads(self._lines.readline())
        assert isinstance(answer, dict)
        return answer

    def exit_of(self, pid: int) -> dict[str, Any]:
        while True:
            for event in self.events:
                if event["pid"] == pid:
                    return event
            self.events.append(self.read())

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def fetch(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)
    except (OSError, urllib.error.URLError):
        return 0


@contextlib.contextmanager
def launched(
    folder: Path, *, through: tuple[str, ...] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    path = folder / "l.sock"
    with (folder / "launcher.log").open("ab") as log:
        process = subprocess.Popen(
            [*through, sys.executable, "-m", "services.launcher", "--socket", str(path)],
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        wait_until(path.exists)
        yield process, path
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One launcher for the tests that leave it alive; ends by SIGTERM, which must be clean."""
    with launched(tmp_path_factory.mktemp("l")) as (process, path):
        yield path
        process.terminate()
        assert process.wait(10) == 0
        assert not path.exists()


@pytest.fixture
def client(warm: Path) -> Iterator[Client]:
    made = Client(warm)
    yield made
    made.close()


def test_version_starts_serves_and_stops(client: Client) -> None:
    """An order becomes a process that answers; a stop ends it with code 0, and everybody is told."""
    begun_s = time.monotonic()
    child = client.start("v2")
    wait_until(lambda: fetch(child["port"], "/ready") == 200)
    ready_s = time.monotonic() - begun_s
    listed = client.order(op="list")["children"]
    stopping = client.order(op="stop", pid=child["pid"], grace_s=5, id=9)
    event = client.exit_of(child["pid"])

    assert {"pid": child["pid"], "name": "catalog", "version": "v2", "port": child["port"]} in listed
    assert stopping == {"stopping": child["pid"], "id": 9}
    assert (event["event"], event["code"], event["version"]) == ("exited", 0, "v2")
    assert ready_s < 5
    assert fetch(child["port"], "/ready") == 0


def test_killed_child_is_reported_to_every_client(client: Client, warm: Path) -> None:
    """A child's death by signal reaches all connections, as the negative number of the signal."""
    other = Client(warm)
    child = client.start()
    other.order(op="list")

    os.kill(child["pid"], signal.SIGKILL)

    assert [one.exit_of(child["pid"])["code"] for one in (client, other)] == [-9, -9]
    other.close()


def test_crashing_version_is_reported_with_its_code(client: Client) -> None:
    """A version made to crash at its second request does, with the code that says so."""
    child = client.start("v1", crash_after_n=2)
    wait_until(lambda: fetch(child["port"], "/ready") == 200)

    statuses = [fetch(child["port"], "/products") for _ in range(2)]

    assert statuses == [200, 0]
    assert client.exit_of(child["pid"])["code"] == 86


def test_child_that_ignores_sigterm_is_killed_after_its_grace(client: Client) -> None:
    """A stopped (frozen) child cannot obey; when the grace is over it is killed."""
    child = client.start()
    wait_until(lambda: fetch(child["port"], "/ready") == 200)
    os.kill(child["pid"], signal.SIGSTOP)

    begun_s = time.monotonic()
    client.order(op="stop", pid=child["pid"], grace_s=0.2)
    code = client.exit_of(child["pid"])["code"]

    assert code == -9
    assert 0.2 <= time.monotonic() - begun_s < 3


def test_child_that_is_stopped_at_once_still_goes(client: Client) -> None:
    """A stop right behind the start is neither lost nor taken by the launcher for one of its own."""
    begun_s = time.monotonic()
    for _ in range(10):
        child = client.start()
        client.order(op="stop", pid=child["pid"], grace_s=20)
        client.exit_of(child["pid"])

    assert time.monotonic() - begun_s < 10
    assert "children" in client.order(op="list")


def test_output_goes_to_the_log_of_its_own(client: Client, tmp_path: Path) -> None:
    """With the option "log", a child's lines stand in that file, as JSON."""
    log = tmp_path / "catalog.log"
    child = client.start("v1", error_rate=1, log=str(log))
    wait_until(lambda: fetch(child["port"], "/ready") == 200)
    assert fetch(child["port"], "/products") == 500
    client.order(op="stop", pid=child["pid"], grace_s=5)
    client.exit_of(child["pid"])

    (line,) = [json.loads(line) for line in log.read_text().splitlines() if "request_failed" in line]
    assert (line["service"], line["status"], len(line["correlation_id"])) == ("catalog", 500, 32)
    assert len(line["trace_id"]) == 32
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.long
def test_black_hole_receiver_does_not_hold_a_stop(client: Client) -> None:
    """A child whose spans go nowhere serves, and still stops by itself within its 2 s."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        child = client.start(otlp_url=f"http://127.0.0.1:{hole.getsockname()[1]}")
        wait_until(lambda: fetch(child["port"], "/ready") == 200)
        statuses = [fetch(child["port"], "/products") for _ in range(5)]
        begun_s = time.monotonic()
        client.order(op="stop", pid=child["pid"], grace_s=20)
        code = client.exit_of(child["pid"])["code"]
        took_s = time.monotonic() - begun_s

    assert statuses == [200] * 5
    assert code == 0
    assert took_s < 3


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({}, "op"),
        ({"op": "burn"}, "op"),
        ({"op": "start", "name": "bank", "version": "v1", "port": 0}, "catalog, storefront"),
        ({"op": "start", "name": "catalog", "version": "v9", "port": 0}, "v1, v2, v3"),
        ({"op": "start", "name": "catalog", "version": "v1", "port": "x"}, "port"),
        ({"op": "start", "name": "catalog", "version": "v1", "port": 70_000}, "port"),
        ({"op": "start", "name": "catalog", "version": "v1", "options": {"error_rate": 2}}, "error_rate"),
        ({"op": "start", "name": "catalog", "version": "v1", "options": {"colour": 1}}, "colour"),
        ({"op": "start", "name": "catalog", "version": "v1", "options": []}, "op"),
        ({"op": "start", "name": "catalog", "version": "v1", "when": "now"}, "when"),
        ({"op": "stop", "pid": 1}, "no such child"),
        ({"op": "stop", "pid": "1"}, "pid"),
    ],
)
def test_wrong_orders_are_answered_not_obeyed(client: Client, order: dict[str, Any], expected: str) -> None:
    """Each mistake is named; nothing is started, and no process that is not ours is touched."""
    before = client.order(op="list")
    answer = client.order(**order)

    if "options" in order and order["options"] == []:
        assert "pid" in answer
        client.order(op="stop", pid=answer["pid"], grace_s=0)
        client.exit_of(answer["pid"])
    else:
        assert expected in answer["error"]
    assert client.order(op="list") == before


def test_taken_port_is_refused_before_the_fork(client: Client) -> None:
    """Somebody listens already: the order fails, and says why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = client.order(op="start", name="catalog", version="v1", port=taken.getsockname()[1])

    assert "in use" in answer["error"]


@pytest.mark.parametrize("line", [b"not json", b"[]", b"\xff\xfe", b"7", b"[" * 50_000])
def test_garbage_lines_are_answered(client: Client, line: bytes) -> None:
    """A line that is no order is an error answer; the connection and the launcher live on."""
    assert "error" in client.tell(line)
    assert "children" in client.order(op="list")


def test_client_that_floods_is_dropped(client: Client, warm: Path) -> None:
    """A line without end closes that connection, and no other."""
    flood = socket.socket(socket.AF_UNIX)
    flood.connect(str(warm))
    with contextlib.suppress(OSError):
        flood.sendall(b"x" * 200_000)
    flood.settimeout(10)

    with contextlib.suppress(ConnectionError):
        assert flood.recv(10) == b""
    flood.close()

    assert "children" in client.order(op="list")


def test_socket_is_private(warm: Path) -> None:
    """Only the owner of the launcher can give orders."""
    assert stat.S_IMODE(warm.stat().st_mode) == 0o600


def test_socket_is_held_by_one_and_left_overs_are_replaced(tmp_path: Path) -> None:
    """A second launcher gives up and touches nothing; what a dead one left is taken over."""
    path = tmp_path / "l.sock"
    first = listen(path)
    with pytest.raises(SystemExit, match="another launcher"):
        listen(path)
    was_there = path.exists()
    first.close()

    second = listen(path)

    assert was_there
    assert path.exists()
    second.close()


def test_killed_launcher_leaves_no_child(tmp_path: Path) -> None:
    """A launcher killed with -9 takes every child with it."""
    with launched(tmp_path) as (process, path):
        client = Client(path)
        pids = [client.start(version)["pid"] for version in ("v1", "v2")]
        process.kill()
        process.wait(10)

        wait_until(lambda: not any(map(is_alive, pids)), 5)
        client.close()


@pytest.mark.long
def test_launcher_goes_when_its_parent_goes(tmp_path: Path) -> None:
    """Whoever started the launcher is killed: the launcher and its children follow."""
    script = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
    with launched(tmp_path, through=(sys.executable, "-c", script)) as (parent, path):
        client = Client(path)
        child = client.start()["pid"]
        launcher = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
        parent.kill()
        parent.wait(10)

        wait_until(lambda: not is_alive(child) and not is_alive(launcher), 8)
        client.close()
