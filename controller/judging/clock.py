"""The judge's time, passed in so that a simulator can bring its own."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod


class Clock(ABC):
    """Two clocks and a way to wait."""

    @abstractmethod
    def boot_s(self) -> float:
        """Seconds on the boot clock (CLOCK_BOOTTIME): goes on during a suspend, never jumps."""

    @abstractmethod
    def wall_s(self) -> float:
        """Seconds since 1970 (UTC), for records only; may jump."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock(Clock):
    """The host's own clocks."""

    def boot_s(self) -> float:
        """Read CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        """Read the wall clock."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)
