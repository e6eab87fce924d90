"""The fork server: one warm interpreter imports every service once, then forks a process for each instance.

Before it: the supervisor of `serinus up`, which decides what runs and starts again what died. After it: `services.serve`
in each child. Importing costs about a second of CPU, forking two milliseconds. The parent never has a thread, an
exporter or an event loop, so that forking it is safe.

Run as `python -m services.launcher --socket PATH`. The unix socket (mode 0600) appears when everything is imported and
speaks JSON lines, one answer a line, in order; an "id" in an order comes back in its answer:

    {"op": "start", "name": "catalog", "version": "v2", "port": 9002, "options": {...}}  ->  {"pid": 17, "port": 9002}
    {"op": "stop", "pid": 17, "grace_s": 5}  ->  {"stopping": 17}    SIGTERM now, SIGKILL when the grace is over
    {"op": "list"}                           ->  {"children": [{"pid": 17, "name": ..., "version": ..., "port": ...}]}
    anything wrong                           ->  {"error": "what was expected"}
    to every client, unasked, at each exit   ->  {"event": "exited", "pid": 17, "code": 0, "name": ..., ...}

A negative code is the signal that killed the child. Options: those of `services.instance` (otlp_url, edge_url,
catalog_host, environment), the faults of `services.faults`, and "log", a file for the child's output instead of the
launcher's own stderr. Nobody outlives its parent: the kernel kills children with the launcher, and the launcher goes
when whoever started it goes.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from services import serve
from services.instance import Instance, instance_of
from services.telemetry import configure_logs

LONGEST_LINE = 64 * 1024
LONGEST_GRACE_S = 60.0
_STOP_ALL_S = 5.0
_TICK_S = 1.0
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


@dataclass(slots=True)
class Child:
    """One running instance."""

    pid: int
    name: str
    version: str
    port: int
    kill_at_s: float | None = None
    """When its grace is over, monotonic clock; None while it should run."""

    def facts(self) -> dict[str, object]:
        """Return what clients are told about it."""
        return {"pid": self.pid, "name": self.name, "version": self.version, "port": self.port}


class Launcher:
    """Forks, watches and stops children, at the word of its clients.

    Args:
        listener: The listening unix socket.
        wakeup: Readable when a signal came (see `signal.set_wakeup_fd`).
    """

    def __init__(self, *, listener: socket.socket, wakeup: socket.socket) -> None:
        self._listener = listener
        self._wakeup = wakeup
        self._clients: dict[socket.socket, bytearray] = {}
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(wakeup, selectors.EVENT_READ)
        self._parent = os.getppid()
        self._is_stopping = False

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or the death of the parent; then stop every child, within 5 s, and return."""
        while not (self._is_stopping and not self._children):
            for key, _ in self._selector.select(self._wait_s()):
                self._attend(key.fileobj)
            self._reap()
            self._kill_overdue()
            if os.getppid() != self._parent:
                self._stop_all()

    def _attend(self, ready: Any) -> None:
        if ready is self._listener:
            client, _ = self._listener.accept()
            client.settimeout(_TICK_S)
            self._clients[client] = bytearray()
            self._selector.register(client, selectors.EVENT_READ)
        elif ready is self._wakeup:
            if {signal.SIGTERM, signal.SIGINT} & set(self._wakeup.recv(4096)):
                self._stop_all()
        elif ready in self._clients:
            self._read(ready)

    def _wait_s(self) -> float:
        deadlines = [child.kill_at_s for child in self._children.values() if child.kill_at_s is not None]
        return max(0.0, min([_TICK_S, *(at - time.monotonic() for at in deadlines)]))

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(LONGEST_LINE)
        except OSError:
            data = b""
        buffer = self._clients[client]
        buffer += data
        if not data or len(buffer) > LONGEST_LINE:
            self._drop(client)
            return
        *lines, rest = bytes(buffer).split(b"\n")
        buffer[:] = rest
        for line in lines:
            self._tell(client, self._answer(line))

    def _answer(self, line: bytes) -> dict[str, object]:
        answer: dict[str, object] = {}
        try:
            order = json.loads(line)
            if not isinstance(order, dict):
                raise ValueError("expected one JSON object a line")
            if "id" in order:
                answer["id"] = order["id"]
            return answer | self._obey(order)
        except (ValueError, OSError, RecursionError) as error:
            return answer | {"error": str(error) or type(error).__name__}

    def _obey(self, order: dict[str, Any]) -> dict[str, object]:
        match order.get("op"):
            case "start":
                return self._start(order)
            case "stop":
                return self._stop(order)
            case "list":
                return {"children": [child.facts() for child in self._children.values()]}
            case _:
                raise ValueError("op: expected start, stop or list")

    def _start(self, order: dict[str, Any]) -> dict[str, object]:
        if self._is_stopping:
            raise ValueError("the launcher is stopping")
        name, version, port, options = _parts(order)
        log = options.pop("log", None)
        if log is not None and not isinstance(log, str):
            raise ValueError("log: expected a path")
        instance = instance_of(name, version, port, options)
        serve.check(instance)
        bound = serve.listen(port)
        try:
            child = Child(0, name, version, bound.getsockname()[1])
            child.pid = self._fork(instance, bound, log)
        finally:
            bound.close()
        self._children[child.pid] = child
        return {"pid": child.pid, "port": child.port}

    def _stop(self, order: dict[str, Any]) -> dict[str, object]:
        child = self._children.get(_whole(order, "pid"))
        if child is None:
            raise ValueError("pid: no such child")
        grace_s = order.get("grace_s", _STOP_ALL_S)
        if (
            isinstance(grace_s, bool)
            or not isinstance(grace_s, int | float)
            or not 0 <= grace_s <= LONGEST_GRACE_S
        ):
            raise ValueError(f"grace_s: expected 0 to {LONGEST_GRACE_S:g} seconds")
        self._end(child, grace_s)
        return {"stopping": child.pid}

    def _end(self, child: Child, grace_s: float) -> None:
        until_s = time.monotonic() + grace_s
        child.kill_at_s = until_s if child.kill_at_s is None else min(child.kill_at_s, until_s)
        os.kill(child.pid, signal.SIGTERM)

    def _stop_all(self) -> None:
        # A second signal means: now.
        grace_s = 0.0 if self._is_stopping else _STOP_ALL_S
        self._is_stopping = True
        for child in self._children.values():
            self._end(child, grace_s)

    def _kill_overdue(self) -> None:
        now_s = time.monotonic()
        for child in self._children.values():
            if child.kill_at_s is not None and child.kill_at_s <= now_s:
                os.kill(child.pid, signal.SIGKILL)
                child.kill_at_s = now_s + _TICK_S

    def _reap(self) -> None:
        for pid in tuple(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                child = self._children.pop(pid)
                event = {"event": "exited", **child.facts(), "code": os.waitstatus_to_exitcode(status)}
                for client in tuple(self._clients):
                    self._tell(client, event)

    def _tell(self, client: socket.socket, message: dict[str, object]) -> None:
        try:
            client.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        if self._clients.pop(client, None) is not None:
            self._selector.unregister(client)
            client.close()

    def _fork(self, instance: Instance, bound: socket.socket, log: str | None) -> int:
        if threading.active_count() != 1:
            raise RuntimeError("the launcher must not have threads: forking would not be safe")
        launcher = os.getpid()
        # Until the child has let go of the wakeup socket, a signal to it would be read as one to the launcher.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return pid
        code = 1
        try:
            self._leave(launcher)
            if log is not None:
                _write_to(log)
            code = serve.run(instance, bound)
        except Exception:
            structlog.get_logger().exception(
                "instance_crashed", service=instance.service, version=instance.version
            )
        finally:
            # Never back into the launcher's loop, and past every thread that still waits for a dead receiver.
            os._exit(code)

    def _leave(self, launcher: int) -> None:
        """Become a process of its own: die with the launcher, and hold nothing that is the launcher's."""
        die_with_parent(signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        self._selector.close()
        for held in (self._listener, self._wakeup, *self._clients):
            held.close()


def _parts(order: dict[str, Any]) -> tuple[str, str, int, dict[str, object]]:
    if unknown := sorted(order.keys() - {"op", "id", "name", "version", "port", "options"}):
        raise ValueError(f"unknown fields: {', '.join(unknown)}")
    name, version, options = order.get("name"), order.get("version"), order.get("options") or {}
    if not isinstance(name, str) or not isinstance(version, str):
        raise ValueError("name, version: expected text")
    if not isinstance(options, dict):
        raise ValueError("options: expected an object")
    return name, version, _whole(order, "port"), dict(options)


def _whole(order: dict[str, Any], name: str) -> int:
    value = order.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name}: expected a whole number")
    return value


def _write_to(path: str) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    os.close(opened)


def die_with_parent(number: signal.Signals) -> None:
    """Ask the kernel (Linux) for this signal when the parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number))


def listen(path: Path) -> socket.socket:
    """Open the unix socket with mode 0600; a dead launcher's left-over is replaced.

    Raises:
        SystemExit: A living launcher holds the socket.
        OSError: The path cannot be used.
    """
    if _is_held(path):
        raise SystemExit(f"another launcher listens on {path}")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(16)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _is_held(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_TICK_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def main() -> int:
    """Run the launcher from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m services.launcher", description="Fork server of the shop."
    )
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on")
    path = parser.parse_args().socket
    listener = listen(path)
    die_with_parent(signal.SIGTERM)
    configure_logs()
    woken, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    # What is imported is shared with every child; a collection in a child would copy its pages.
    gc.collect()
    gc.freeze()
    try:
        Launcher(listener=listener, wakeup=woken).run()
    finally:
        path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
