"""One child process: born with a death signal, in a session of its own, stopped politely and then for certain.

Used by the supervisor for every part. The kernel sends SIGKILL to the child when the supervisor dies, however it dies
(PR_SET_PDEATHSIG), so that a killed run leaves nothing behind; a part that forks (the service launcher) does the same
for its own children. Exits are seen through a pidfd: no threads, and no signal can reach a recycled pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from controller.embedded.logs import open_log
from controller.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def bind_to_parent(parent: int) -> Callable[[], None]:
    """Return what a child runs between fork and exec so that it dies with its parent."""

    def die_with_parent() -> None:
        # Only async-signal-safe work happens here: a system call, and an exit if the parent is gone already.
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent


class Child:
    """A running process. Make one with `Child.start`, from the main thread's event loop.

    The death signal is tied to the thread that forks, so children are never started from a worker thread.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @classmethod
    def start(cls, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> Child:
        """Start a program; its output goes to a log file.

        Raises:
            ConfigurationError: The program cannot be executed.
        """
        output = open_log(log)
        try:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=bind_to_parent(os.getpid()),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigurationError(f"{command[0]} cannot be started: {error}") from error
        finally:
            os.close(output)
        return cls(process)

    @property
    def pid(self) -> int:
        """Process id, also the id of its process group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not exited."""
        return not self._exit.done()

    async def wait(self) -> int:
        """Return the exit code once it exits; minus the signal number when a signal ended it."""
        return await asyncio.shield(self._exit)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and to whatever it started in its group. Does nothing after the exit."""
        if self.is_alive:
            os.killpg(self.pid, number)

    async def stop(self, *, grace_s: float) -> int:
        """End it: SIGTERM, and SIGKILL for the whole group after `grace_s` seconds. Idempotent."""
        if self.is_alive:
            # Only the process itself is asked: it ends its own children in its own order.
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
            # A frozen process takes SIGTERM only once it runs again.
            signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)
        try:
            async with asyncio.timeout(grace_s):
                return await self.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()

    def _on_exit(self) -> None:
        # Not reaped yet: the pid still names this very group, so that stragglers in it can be killed safely.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._exit.set_result(self._process.wait())
