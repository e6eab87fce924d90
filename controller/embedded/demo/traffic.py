"""The users of the demo: the load generator as a part, and what its files say."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.embedded import shop
from controller.embedded.demo.accounting import CanaryLine, Users, canary_lines, users
from controller.embedded.folders import private_folder
from controller.embedded.stack import Stack
from controller.embedded.supervisor import Part
from controller.errors import Unavailable

RANK = 90
"""Users leave before anything that serves them."""
GRACE_S = 8.0
"""Longer than a user waits for an answer (5 s): the last ones are counted before the final report is written."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The load of one run.

    Args:
        stack: What it runs on.
        rate: Requests a second.
    """

    stack: Stack
    rate: float

    @property
    def _folder(self) -> Path:
        return private_folder(self.stack.settings.state_dir / "demo")

    @property
    def _report(self) -> Path:
        return self._folder / "report.json"

    @property
    def _failures(self) -> Path:
        return self._folder / "failures.jsonl"

    def forget(self) -> None:
        """Remove what the users of an earlier run left: it must not be shown or counted as this run's."""
        for left in (self._report, self._failures):
            left.unlink(missing_ok=True)

    def begin(self) -> None:
        """Let the users come."""
        command = [
            *(sys.executable, "-m", "services.load"),
            *("--url", f"http://127.0.0.1:{self.stack.settings.envoy.port}"),
            *("--host", shop.host("storefront"), "--rate", f"{self.rate:g}"),
            *("--report", str(self._report), "--failures", str(self._failures)),
        ]
        self.stack.supervisor.add(
            Part(
                "load",
                tuple(command),
                self.stack.site.environment,
                probe=self._has_begun,
                rank=RANK,
                grace_s=GRACE_S,
                hung_after_s=None,
                is_restarted=False,
            )
        )

    async def end(self) -> None:
        """Let the open requests finish and no more come."""
        await self.stack.supervisor.stop(["load"])

    def report(self) -> dict[str, Any]:
        """Return the newest report, empty before the first.

        Raises:
            Unavailable: The generator has ended before its time.
        """
        if self.stack.supervisor.has_ended("load"):
            raise Unavailable(f"the load generator ended; see {self.stack.logs / 'load.log'}")
        return self._read()

    def users(self) -> Users:
        """Sum up what users saw; to be called after `end`.

        Raises:
            Unavailable: The generator was gone before it had counted its last users.
        """
        report = self._read()
        if not report.get("is_final"):
            raise Unavailable(f"the load generator wrote no final report; see {self.stack.logs / 'load.log'}")
        failures = self._failures.read_text().splitlines() if self._failures.exists() else []
        return users(report, failures, self.canary())

    def canary(self, release: str | None = None) -> list[CanaryLine]:
        """Return the canary requests in Envoy's access log, of one release or of all."""
        found: list[CanaryLine] = []
        log = self.stack.settings.access_log
        for path in (log.with_name(log.name + ".1"), log):
            if path.exists():
                found += canary_lines(path.read_text().splitlines(), release)
        return found

    async def _has_begun(self) -> str:
        return "" if self._report.exists() else "no report yet"

    def _read(self) -> dict[str, Any]:
        try:
            report = json.loads(self._report.read_text())
        except (OSError, ValueError):
            return {}
        return report if isinstance(report, dict) else {}
