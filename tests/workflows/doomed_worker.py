"""A worker process that a test kills: `python -m tests.workflows.doomed_worker <address>`.

Its judge looks for ever and prints the number of each look, so that the test knows what must not be lost.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from controller.model.evidence import Evidence, StepOrder, StepReport
from controller.settings import Settings, Temporal
from tests.workflows.orders import an_order
from tests.workflows.world import World, a_world
from workflows.worker import work


@dataclass(frozen=True, slots=True)
class PrintingJudge:
    """Says aloud what it keeps."""

    async def hold_step(
        self, order: StepOrder, *, resume: Evidence | None, checkpoint: Callable[[Evidence], None]
    ) -> StepReport:
        """Look for ever."""
        looks = 0
        while True:
            looks += 1
            checkpoint(Evidence(looks=looks))
            print(looks, flush=True)
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Parts:
    """A world with another judge."""

    world: World
    judge: PrintingJudge

    def __getattr__(self, name: str) -> object:
        return getattr(self.world, name)


async def main(address: str) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings(temporal=Temporal(address=address))
    async with a_world() as world:
        await world.order(an_order(steps=1))
        await work(settings, Parts(world, PrintingJudge()), stop=stop, clock=world.clock, meters=world.meters)  # type: ignore[arg-type]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
