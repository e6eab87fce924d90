"""The channel that keeps what it was given: for tests and the simulator, in place of a receiver."""

from __future__ import annotations

from controller.errors import DeliveryFailed
from controller.model.notice import Notice
from controller.notify.port import Notifier


class MemoryNotifier(Notifier):
    """Keeps the notices it took, in order, repeats included."""

    def __init__(self) -> None:
        self.sent: list[Notice] = []
        """What the channel took."""
        self.failures_left = 0
        """How many of the next deliveries fail."""

    def fail(self, times: int) -> None:
        """Let the next `times` deliveries fail."""
        self.failures_left = times

    async def send(self, notice: Notice) -> None:
        """Keep one notice; `DeliveryFailed` while failures are left."""
        if self.failures_left > 0:
            self.failures_left -= 1
            raise DeliveryFailed("the channel in memory was told to fail")
        self.sent.append(notice)
