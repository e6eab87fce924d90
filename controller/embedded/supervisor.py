"""Keeps the parts of the embedded run alive: start, readiness, restart with back-off, an end in order.

Before it: `stack` says which parts there are. After it: `child` is one process. Everything that happens to a part is
an `Event`, told to whoever listens (the log, the terminal, the demo). A part that crashes is started again for as long
as the run lasts; a part that stops answering for `hung_after_s` is killed and then started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from controller.embedded import logs
from controller.embedded.backoff import Backoff
from controller.embedded.child import Child
from controller.embedded.probes import Probe, runs
from controller.errors import ConfigurationError, Unavailable

READY_EVERY_S = 0.05
LIVE_EVERY_S = 3.0
EXIT_CONFIGURATION = 78
"""sysexits.h EX_CONFIG, as our own processes use it."""


class Phase(StrEnum):
    """Where a part stands."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    """Crashed; the back-off runs."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Part:
    """One supervised program.

    Args:
        name: Unique; also the name of its log.
        command: Program and arguments; the program is a full path.
        environment: Complete, nothing is added.
        probe: Asked until it is ready, and then every 3 s.
        rank: Parts of the highest rank are stopped first; those of one rank together.
        grace_s: Between SIGTERM and SIGKILL, seconds.
        ready_within_s: A start that takes longer is a failed start, seconds.
        hung_after_s: Killed when it did not answer for so long, seconds; None for a part that serves nobody.
        prepare: Called before each start, for files that must be fresh.
        is_restarted: False for a part whose end is the end (the demo's load).
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    probe: Probe = runs
    rank: int = 0
    grace_s: float = 5.0
    ready_within_s: float = 60.0
    hung_after_s: float | None = 30.0
    prepare: Callable[[], None] | None = None
    is_restarted: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a part; `kind` is snake_case, past tense."""

    part: str
    kind: str
    text: str = ""
    is_trouble: bool = False


@dataclass(slots=True)
class _Run:
    """What is known of one part; owned by the supervisor."""

    part: Part
    phase: Phase = Phase.STARTING
    child: Child | None = None
    restarts: int = 0
    reason: str = ""
    is_misconfigured: bool = False
    """It ended with EX_CONFIG: starting it again changes nothing, unless it has worked before."""
    was_ready: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Supervisor:
    """Runs parts until it is stopped.

    Args:
        logs_folder: Where the output of each part goes.
        tell: Hears every event; must not block.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        logs_folder: Path,
        tell: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logs = logs_folder
        self._tell = tell
        self._clock = clock
        self._runs: dict[str, _Run] = {}

    def add(self, part: Part) -> None:
        """Start a part and keep it alive."""
        if part.name in self._runs:
            raise ConfigurationError(f"a part called {part.name} runs already")
        run = _Run(part)
        self._runs[part.name] = run
        run.task = asyncio.create_task(self._keep(run), name=f"part {part.name}")

    async def ready(self, names: Iterable[str] | None = None, *, within_s: float = 60.0) -> None:
        """Return when the named parts (all of them by default) are ready.

        Raises:
            Unavailable: One is not ready in time, or has ended; the message names it and the end of its log.
        """
        waited = [self._runs[name] for name in (names or self._runs)]
        try:
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(self._became_ready(run) for run in waited))
        except TimeoutError:
            late = next(run for run in waited if not run.ready.is_set())
            raise Unavailable(
                f"{late.part.name} is not ready after {within_s:g} s: {late.reason or 'no answer yet'}"
            ) from None

    def status(self) -> list[dict[str, object]]:
        """Return name, phase, pid, restarts and reason of every part, JSON-safe."""
        return [
            {
                "name": run.part.name,
                "phase": run.phase.value,
                "pid": run.child.pid if run.child and run.child.is_alive else None,
                "restarts": run.restarts,
                "reason": run.reason,
            }
            for run in self._runs.values()
        ]

    def has_ended(self, name: str) -> bool:
        """Whether a part has ended for good."""
        run = self._runs.get(name)
        return run is not None and run.phase is Phase.STOPPED

    def pid(self, name: str) -> int | None:
        """Return the process id of a part, None while it does not run."""
        child = self._runs[name].child
        return child.pid if child and child.is_alive else None

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a part and to what it started."""
        child = self._runs[name].child
        if child is not None:
            child.send(number)

    async def stop(self, names: Sequence[str] | None = None) -> None:
        """End the named parts (all of them by default), rank by rank, each within its grace. Idempotent."""
        chosen = [run for name, run in self._runs.items() if names is None or name in names]
        for rank in sorted({run.part.rank for run in chosen}, reverse=True):
            await asyncio.gather(*(self._end(run) for run in chosen if run.part.rank == rank))

    def kill(self) -> None:
        """End everything at once, for a person who does not want to wait; `stop` still collects what is left."""
        for run in self._runs.values():
            if run.child is not None:
                run.child.send(signal.SIGKILL)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    async def _became_ready(self, run: _Run) -> None:
        if run.task is None:
            return
        waiter = asyncio.create_task(run.ready.wait())
        try:
            await asyncio.wait({waiter, run.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        if not run.ready.is_set():
            raise Unavailable(f"{run.part.name} ended before it was ready: {run.reason}")

    async def _end(self, run: _Run) -> None:
        if run.task is not None:
            run.task.cancel()
            await asyncio.wait({run.task})
        if run.child is not None and run.child.is_alive:
            await run.child.stop(grace_s=run.part.grace_s)
        if run.phase is not Phase.STOPPED:
            run.phase = Phase.STOPPED
            run.ready.clear()
            self._tell(Event(run.part.name, "stopped"))

    async def _keep(self, run: _Run) -> None:
        backoff = Backoff()
        while True:
            began = self._clock()
            run.phase = Phase.STARTING
            run.reason = await self._run_once(run)
            run.ready.clear()
            self._tell(Event(run.part.name, "exited", run.reason, is_trouble=run.part.is_restarted))
            if not run.part.is_restarted or (run.is_misconfigured and not run.was_ready):
                run.phase = Phase.STOPPED
                return
            wait_s, backoff = backoff.after(self._clock() - began)
            run.phase = Phase.WAITING
            await asyncio.sleep(wait_s)
            run.restarts += 1

    async def _run_once(self, run: _Run) -> str:
        """Run it until it ends and say how it ended."""
        part = run.part
        try:
            if part.prepare is not None:
                part.prepare()
            run.child = Child.start(part.command, environment=part.environment, log=self._log(part.name))
        except (ConfigurationError, OSError) as error:
            return str(error)
        self._tell(Event(part.name, "started", f"pid {run.child.pid}"))
        watch = asyncio.create_task(self._watch(run, run.child))
        try:
            code = await run.child.wait()
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        run.is_misconfigured = code == EXIT_CONFIGURATION
        return _ending(code, logs.tail(self._log(part.name)))

    async def _watch(self, run: _Run, child: Child) -> None:
        """Wait for readiness, then look after it; a part that does not answer is killed."""
        began = self._clock()
        while reason := await run.part.probe():
            run.reason = reason
            if self._clock() - began > run.part.ready_within_s:
                self._give_up(run, child, f"not ready after {run.part.ready_within_s:g} s: {reason}")
                return
            await asyncio.sleep(READY_EVERY_S)
        run.phase, run.reason = Phase.READY, ""
        run.was_ready = True
        run.ready.set()
        self._tell(Event(run.part.name, "ready", f"after {self._clock() - began:.1f} s"))
        await self._look_after(run, child)

    async def _look_after(self, run: _Run, child: Child) -> None:
        if run.part.hung_after_s is None:
            return
        answered = self._clock()
        while True:
            await asyncio.sleep(LIVE_EVERY_S)
            run.reason = await run.part.probe()
            if not run.reason:
                answered = self._clock()
            elif self._clock() - answered > run.part.hung_after_s:
                self._give_up(run, child, f"no answer for {run.part.hung_after_s:g} s: {run.reason}")
                return

    def _give_up(self, run: _Run, child: Child, text: str) -> None:
        self._tell(Event(run.part.name, "killed", text, is_trouble=True))
        child.send(signal.SIGKILL)


def _ending(code: int, last_words: str) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"{how}; last words: {last_words}" if code != 0 and _explains(last_words) else how


def _explains(last_words: str) -> bool:
    """Say whether a line can tell why a part ended; a note of its ordinary work cannot."""
    try:
        found = json.loads(last_words)
    except ValueError:
        return bool(last_words)
    return not isinstance(found, dict) or found.get("level") not in ("debug", "info")
