"""Which TCP port each part of the embedded run gets: the one it had, else the preferred one, else a free one.

A port is checked by binding it and reserved by a lock file for the whole run, so that two stacks that start at the
same moment never pick the same one. Free ports come from below the kernel's ephemeral range (32768 and up): an
outgoing connection can then never sit on a port that a crashed version needs back.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from controller.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
FREE_PORTS = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on a loopback port right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A server of ours that was just stopped leaves connections in TIME_WAIT; they do not stop the next one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
        return True


class Ports:
    """The ports of one run.

    Args:
        memory: JSON file that keeps name -> port from run to run.
        locks: Folder of reservations, shared by all stacks of one user.
        free: Where to look when neither the remembered nor the preferred port is free.
    """

    def __init__(self, *, memory: Path, locks: Path, free: range = FREE_PORTS) -> None:
        self._memory = memory
        self._locks = locks
        self._free = free
        self._before = _remembered(memory)
        self._taken: dict[str, int] = {}
        self._held: dict[int, int] = {}

    def take(self, name: str, preferred: int | None = None) -> int:
        """Return the port of a part, the same one for the whole run.

        Args:
            name: The part, such as `api` or `catalog.v2`.
            preferred: Tried after the port of the last run.

        Raises:
            ConfigurationError: No port is free.
        """
        if name in self._taken:
            return self._taken[name]
        for port in self._candidates(name, preferred):
            if self._reserve(port):
                self._taken[name] = port
                self._remember()
                return port
        raise ConfigurationError(
            f"no free port for {name} on {LOOPBACK}: {self._free.start} to {self._free.stop - 1} are all in use"
        )

    def taken(self) -> dict[str, int]:
        """Return the ports of this run by name."""
        return dict(self._taken)

    def close(self) -> None:
        """Give up every reservation. Idempotent."""
        while self._held:
            _, lock = self._held.popitem()
            os.close(lock)

    def _candidates(self, name: str, preferred: int | None) -> Iterator[int]:
        if name in self._before:
            yield self._before[name]
        if preferred is not None:
            yield preferred
        yield from self._free

    def _reserve(self, port: int) -> bool:
        if port in self._held:
            return False
        lock = os.open(self._locks / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        if not is_free(port):
            os.close(lock)
            return False
        self._held[port] = lock
        return True

    def _remember(self) -> None:
        fresh = self._memory.with_suffix(".new")
        try:
            fresh.write_text(json.dumps({**self._before, **self._taken}, indent=1, sort_keys=True))
            fresh.replace(self._memory)
        except OSError:
            # No room, say. The ports hold for this run all the same; the next one may get others.
            fresh.unlink(missing_ok=True)


def _remembered(memory: Path) -> dict[str, int]:
    try:
        found = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}  # The first run, or a torn file: the ports are then chosen anew and said aloud like any others.
    if not isinstance(found, dict):
        return {}
    return {str(name): port for name, port in found.items() if isinstance(port, int) and 0 < port < 65_536}
