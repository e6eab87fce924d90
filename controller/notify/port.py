"""Port: one channel to people. The outbox in the ledger decides what is sent; a notifier only sends it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from controller.model.notice import Notice


class Notifier(ABC):
    """Delivers notices to one channel, at least once; the notice's id lets the receiver drop a repeat."""

    @abstractmethod
    async def send(self, notice: Notice) -> None:
        """Deliver one notice. Returns when the receiver took it; ends within 10 s.

        Raises:
            DeliveryFailed: The receiver did not take it; trying again can help.
            EgressRefused: The guard does not allow the address; trying again cannot help.
        """

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
