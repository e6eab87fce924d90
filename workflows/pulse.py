"""Heartbeats of an activity: a dead worker is noticed, a cancellation arrives, and the newest evidence is kept.

Before it: an activity that may take longer than a few seconds. After it: Temporal, which hands the newest details to
the next attempt. A judge that keeps no evidence for a long time is given up: the beat stops, and another one takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity
from temporalio.converter import value_to_type

from controller.model.evidence import Evidence
from controller.observability import logger

log = logger(__name__)

BEAT_S = 1.0
"""Time between two beats, and so the longest way of a cancellation; each costs the server some milliseconds."""
PATIENCE_S = 30.0
"""A judge looks every second and may wait some seconds for the router; silent for longer, it hangs."""


class Pulse:
    """The beat of one attempt.

    Args:
        evidence: What an earlier attempt kept last; None at the first.
        patience_s: How long the beat goes on without `keep`; None: as long as the activity runs.
    """

    def __init__(self, evidence: Evidence | None = None, *, patience_s: float | None = None) -> None:
        self.evidence = evidence
        self._patience_s = patience_s
        self._kept_at = asyncio.get_running_loop().time()
        self._has_beaten = False

    def keep(self, evidence: Evidence) -> None:
        """Keep the newest evidence for whoever takes over."""
        self.evidence = evidence
        self._kept_at = asyncio.get_running_loop().time()
        self.beat()

    def beat(self) -> None:
        """Send what there is."""
        self._has_beaten = True
        if self.evidence is None:
            activity.heartbeat()
        else:
            activity.heartbeat(self.evidence)

    async def go_on(self) -> None:
        """Beat until cancelled, or until patience ends."""
        while self._is_alive():
            if not self._has_beaten:
                self.beat()
            self._has_beaten = False
            await asyncio.sleep(BEAT_S)
        log.error("judge_hangs", silent_s=self._patience_s)

    def _is_alive(self) -> bool:
        silent_s = asyncio.get_running_loop().time() - self._kept_at
        return self._patience_s is None or silent_s < self._patience_s


@asynccontextmanager
async def beating(pulse: Pulse) -> AsyncIterator[Pulse]:
    """Beat while the block runs."""
    task = asyncio.create_task(pulse.go_on(), name="pulse")
    try:
        yield pulse
    finally:
        task.cancel()


def resumed(details: Sequence[Any]) -> Evidence | None:
    """Return the evidence in the details of an earlier attempt: Temporal hands them over without their type."""
    return value_to_type(Evidence, details[0]) if details else None
