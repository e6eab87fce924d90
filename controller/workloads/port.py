"""Port: who starts, watches and stops the versions of a target.

Used by the workflow's activities (start, retire) and by the judging loop (health).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from controller.model.target import Target


@dataclass(frozen=True, slots=True)
class Health:
    """How a version is, right now.

    Args:
        is_ready: It can take requests.
        restarts: How often it was started again since it was first started; None when nobody counts.
        reason: Why it is not ready; "" when it is.
    """

    is_ready: bool
    restarts: int | None = None
    reason: str = ""


class Workloads(ABC):
    """Starts, watches and stops versions. All calls are safe to repeat."""

    @abstractmethod
    async def start(self, target: Target, version: str) -> tuple[str, ...]:
        """Start a version if it does not run, and return its addresses (`host:port`) without waiting for readiness.

        Raises:
            NotFound: The version is not known, or has no address and cannot be started here.
            WorkloadsUnavailable: Whoever starts versions does not answer.
        """

    @abstractmethod
    async def health(self, target: Target, version: str) -> Health:
        """Say how a version is. Answers within one second.

        Raises:
            WorkloadsUnavailable: Whoever watches versions does not answer; says nothing about the version.
        """

    @abstractmethod
    async def retire(self, target: Target, version: str) -> None:
        """Stop a version gracefully. Does nothing for a version that does not run, or that is not ours to stop.

        The caller has made sure that no traffic reaches it.

        Raises:
            WorkloadsUnavailable: Whoever stops versions does not answer.
        """

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
