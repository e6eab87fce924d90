"""Runs nothing, but takes orders and commands as Temporal would: for tests of everything above the runner.

Before it: the use cases in `controller.releases`. After it: nobody; a test moves a release by setting its position.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.errors import NotFound, OrchestratorUnavailable, TargetBusy
from controller.model.machine import Phase, Position, begin, check, command
from controller.model.release import Command, ReleaseOrder
from controller.model.target import TargetKey
from controller.runner.port import ReleaseRunner


@dataclass(frozen=True, slots=True)
class _Running:
    order: ReleaseOrder
    at: Position


class MemoryRunner(ReleaseRunner):
    """Remembers what it was told.

    Attributes:
        orders: Every order that was started, oldest first.
        told: Every command that was taken, oldest first, each id once.
        woken: Every channel that was woken, in order.
        is_down: Every call raises `OrchestratorUnavailable` while it is set.
        starts_unheard: Starts that happen although the caller is told that Temporal does not answer; counts down.
    """

    def __init__(self) -> None:
        self.orders: list[ReleaseOrder] = []
        self.told: list[Command] = []
        self.woken: list[str] = []
        self.is_down = False
        self.starts_unheard = 0
        self._running: dict[TargetKey, _Running] = {}

    async def start(self, order: ReleaseOrder) -> None:
        """Take an order; one a target."""
        self._check()
        running = self._running.get(order.target.key)
        if running is not None and running.order.id != order.id:
            raise TargetBusy(
                f"release {running.order.id} of {order.target.name} is running; wait for its end or abort it",
                release=running.order.id,
            )
        if running is None:
            self.orders.append(order)
            self._running[order.target.key] = _Running(order, begin())
        if self.starts_unheard > 0:
            self.starts_unheard -= 1
            raise OrchestratorUnavailable("the memory runner was told not to answer")

    async def tell(self, target: TargetKey, what: Command) -> None:
        """Take a command as the state machine would; a late abort is taken and changes nothing, as a signal would."""
        self._check()
        running = self._running.get(target)
        if running is None or running.order.id != what.release:
            raise NotFound(f"release {what.release} does not run (any more)", field="release")
        if any(earlier.id == what.id for earlier in self.told):
            return
        if not (what.kind.value == "abort" and running.at.phase in _PAST_ABORT):
            check(running.at, what.kind)
            after = command(running.order.plan, running.at, what.kind, reason=what.reason)
            self._running[target] = replace(running, at=after)
        self.told.append(what)

    async def runs(self, target: TargetKey, release: str) -> bool:
        """Say whether the release was started and not ended."""
        self._check()
        running = self._running.get(target)
        return running is not None and running.order.id == release

    async def wake(self, channel: str) -> None:
        """Remember the channel."""
        self._check()
        self.woken.append(channel)

    def put(self, target: TargetKey, at: Position) -> None:
        """Move the running release of a target to a position."""
        self._running[target] = replace(self._running[target], at=at)

    def end(self, target: TargetKey) -> None:
        """Let the running release of a target be over; nothing when there is none."""
        self._running.pop(target, None)

    def _check(self) -> None:
        if self.is_down:
            raise OrchestratorUnavailable("the memory runner was told to be down")


_PAST_ABORT = (Phase.CONCLUDING, Phase.RETIRING, Phase.FINISHING, Phase.DONE)
