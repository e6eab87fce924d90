"""Port: who runs a release. Temporal's adapter is `workflows.client`, reached by name only.

Before it: the use cases in `controller.releases`. The ledger has the release already when `start` is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from controller.model.release import Command, ReleaseOrder
from controller.model.target import TargetKey


class ReleaseRunner(ABC):
    """Starts releases, passes commands on, wakes deliveries. All calls are safe to repeat with the same ids."""

    @abstractmethod
    async def start(self, order: ReleaseOrder) -> None:
        """Start running an order. Repeating it for the same release does nothing.

        Raises:
            TargetBusy: Another release of the same target still runs there.
            OrchestratorUnavailable: Nothing is known to have started; ends within 5 s.
        """

    @abstractmethod
    async def tell(self, target: TargetKey, command: Command) -> None:
        """Pass a command (pause, resume, promote, abort) to a running release. A repeat with the same id does nothing.

        Returns when it is durable there (abort) or taken by the release (the others).

        Raises:
            CommandRefused: The release does not take it in its state.
            NotFound: No such release runs (any more).
            OrchestratorUnavailable: Not known to be taken; ends within 5 s.
        """

    @abstractmethod
    async def runs(self, target: TargetKey, release: str) -> bool:
        """Say whether the release runs there now.

        Raises:
            OrchestratorUnavailable: No answer within 5 s.
        """

    @abstractmethod
    async def wake(self, channel: str) -> None:
        """See to it that somebody drains the outbox of a channel.

        Raises:
            OrchestratorUnavailable: No answer within 5 s.
        """

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
