"""What must be done now and then while the stack runs: logs of all parts bounded, Envoy's access log turned over.

Run by `stack` beside the supervisor. Nothing here is needed for a right answer; everything here is needed after a week.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from controller.embedded import logs
from controller.embedded.wire import Address, call
from controller.observability import logger
from controller.settings import Settings

EVERY_S = 2.0
LARGEST_ACCESS_LOG_BYTES = 32 * 1024 * 1024

log = logger(__name__)


class Housekeeping:
    """Does its round every two seconds.

    Args:
        settings: Of the run.
        logs_folder: Holds the logs of all parts and versions.
    """

    def __init__(self, *, settings: Settings, logs_folder: Path) -> None:
        self._settings = settings
        self._logs = logs_folder

    async def run(self) -> None:
        """Go round until cancelled; a round that goes wrong is logged and followed by the next."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.round()
            except Exception:
                log.exception("housekeeping_failed")

    async def round(self) -> None:
        """Do everything once."""
        for path in self._logs.glob("*.log"):
            logs.rotate(path)
        await self._turn_access_log()

    async def _turn_access_log(self) -> None:
        path = self._settings.access_log
        if not path.exists() or path.stat().st_size <= LARGEST_ACCESS_LOG_BYTES:
            return
        path.replace(path.with_name(path.name + ".1"))
        await call(Address(socket=self._settings.admin_socket), "POST", "/reopen_logs")
        log.info("access_log_turned", path=str(path))
