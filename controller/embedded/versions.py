"""Runs the versions of the sample services: start, health, retire, and again after a crash.

Before it: the control socket (the workflow's wishes) and `shop` (what must run after a restart). After it: `launcher`.
Restarts of a version are counted, because a canary that crashes is a canary to be taken back; a death of the launcher
is not the version's fault and not counted. What runs is written down, so that the next run starts the same versions on
the same ports and a release in flight goes on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.embedded.backoff import Backoff
from controller.embedded.launcher import Forks, StartRefused
from controller.embedded.ports import LOOPBACK, Ports
from controller.embedded.supervisor import Event
from controller.embedded.wire import Address, call
from controller.errors import NotFound, Unavailable, WorkloadsUnavailable
from controller.workloads.port import Health

HEALTH_DEADLINE_S = 0.5
GRACE_S = 5.0
RETRY_S = 0.3


@dataclass(slots=True)
class _Instance:
    """One version that should run."""

    service: str
    version: str
    port: int
    pid: int | None = None
    restarts: int = 0
    began: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    is_wanted: bool = True
    refusal: str = ""

    @property
    def name(self) -> str:
        return f"{self.service}.{self.version}"


class Versions:
    """Every version that should run, and what is known of it.

    Args:
        forks: Makes the processes.
        ports: Gives each version its port.
        known: The services and their versions that can be started here.
        options: What a service is told at its start, by service name.
        memory: JSON file that keeps which versions run.
        tell: Hears every event; must not block.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        forks: Forks,
        ports: Ports,
        known: Mapping[str, tuple[str, ...]],
        options: Callable[[str, str], Mapping[str, object]],
        memory: Path,
        tell: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._forks = forks
        self._ports = ports
        self._known = known
        self._options = options
        self._memory = memory
        self._tell = tell
        self._clock = clock
        self._instances: dict[str, _Instance] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        forks.watch(on_exit=self._on_exit, on_lost=self._on_lost)

    def remembered(self) -> tuple[tuple[str, str], ...]:
        """Return service and version of everything that ran when it was last written down."""
        try:
            found = json.loads(self._memory.read_text())
            pairs = [(str(service), str(version)) for service, version in found]
        except (OSError, ValueError, TypeError):
            return ()
        return tuple(pair for pair in pairs if pair[1] in self._known.get(pair[0], ()))

    def start(self, service: str, version: str) -> tuple[str, ...]:
        """See to it that a version runs, and return its addresses at once. Idempotent.

        Raises:
            NotFound: No such service or version can be started here.
        """
        if version not in self._known.get(service, ()):
            raise NotFound(f"no such version can be started here; known services: {', '.join(self._known)}")
        name = f"{service}.{version}"
        if name not in self._instances:
            instance = _Instance(service, version, self._ports.take(name))
            self._instances[name] = instance
            task = asyncio.create_task(self._keep(instance), name=f"version {name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._remember()
        return (self._address(self._instances[name]),)

    async def health(self, service: str, version: str) -> Health:
        """Say how a version is, within half a second."""
        instance = self._instances.get(f"{service}.{version}")
        if instance is None:
            return Health(False, None, "it is not started")
        if instance.pid is None:
            reason = instance.refusal or "its process does not run; it is being started again"
            return Health(False, instance.restarts, reason)
        try:
            answer = await call(Address(instance.port), "GET", "/ready", deadline_s=HEALTH_DEADLINE_S)
        except Unavailable as error:
            return Health(False, instance.restarts, error.message)
        reason = "" if answer.status == 200 else f"/ready answers {answer.status}"
        return Health(not reason, instance.restarts, reason)

    async def retire(self, service: str, version: str) -> None:
        """Stop a version gracefully; does nothing for one that does not run.

        Raises:
            WorkloadsUnavailable: The launcher does not answer; it is still running then, and still wanted.
        """
        name = f"{service}.{version}"
        instance = self._instances.get(name)
        if instance is None:
            return
        if instance.pid is not None:
            await self._forks.stop(instance.pid, grace_s=GRACE_S)
        # A start that is under way ends the process itself as soon as it knows its pid.
        instance.is_wanted = False
        instance.exited.set()
        del self._instances[name]
        self._remember()
        self._tell(Event(name, "retired"))

    def status(self) -> list[dict[str, object]]:
        """Return name, address, pid and restarts of every version, JSON-safe."""
        return [
            {"name": each.name, "address": self._address(each), "pid": each.pid, "restarts": each.restarts}
            for each in self._instances.values()
        ]

    async def aclose(self) -> None:
        """Stop looking after them; their processes end with the launcher. What ran stays written down."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _address(self, instance: _Instance) -> str:
        return f"{LOOPBACK}:{instance.port}"

    async def _keep(self, instance: _Instance) -> None:
        while instance.is_wanted:
            instance.exited.clear()
            try:
                pid = await self._start(instance)
            except WorkloadsUnavailable as error:
                self._say_once(instance, error)
                await asyncio.sleep(RETRY_S)
                continue
            if not instance.is_wanted:
                await self._forks.stop(pid, grace_s=GRACE_S)
                return
            instance.pid, instance.began, instance.refusal = pid, self._clock(), ""
            self._tell(Event(instance.name, "started", f"pid {pid}, port {instance.port}"))
            await instance.exited.wait()
            wait_s, instance.backoff = instance.backoff.after(self._clock() - instance.began)
            if instance.is_wanted:
                await asyncio.sleep(wait_s)

    async def _start(self, instance: _Instance) -> int:
        options = self._options(instance.service, instance.version)
        return await self._forks.start(instance.service, instance.version, instance.port, options)

    def _say_once(self, instance: _Instance, error: WorkloadsUnavailable) -> None:
        if error.message != instance.refusal:
            instance.refusal = error.message
            # A launcher that is not there (yet) is the supervisor's business, and is said by it.
            is_trouble = isinstance(error, StartRefused)
            self._tell(Event(instance.name, "not_started", error.message, is_trouble=is_trouble))

    def _on_exit(self, pid: int, code: int) -> None:
        for instance in self._instances.values():
            if instance.pid == pid:
                instance.pid = None
                instance.restarts += 1
                instance.exited.set()
                self._tell(Event(instance.name, "exited", f"exit code {code}", is_trouble=True))

    def _on_lost(self) -> None:
        for instance in self._instances.values():
            if instance.pid is not None:
                instance.pid = None
                instance.exited.set()

    def _remember(self) -> None:
        fresh = self._memory.with_suffix(".new")
        fresh.write_text(json.dumps([[each.service, each.version] for each in self._instances.values()]))
        fresh.replace(self._memory)
