"""What people see of the demo: a live region on a terminal, plain lines elsewhere.

Before it: the story and the events of parts. After it: the terminal. The live region is drawn when something is shown,
by nobody else: a thread that draws would be a thread in the process that forks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from controller.cli.stack import Terminal
from controller.embedded.demo.story import Stage

DRAWN_EVERY_S = 0.2
TRAFFIC_LINE_EVERY_S = 5.0
BAR_WIDTH = 40
PHASES = {
    "ready": ("●", "green"),
    "starting": ("○", "yellow"),
    "waiting": ("●", "red"),
    "stopped": ("○", "dim"),
}

Status = Callable[[], Sequence[Mapping[str, object]]]


class Screen(Stage):
    """A stage that is open for the length of a run; this one prints plain lines.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._shown: object = None
        self._traffic_at = 0.0

    def __enter__(self) -> Self:
        """Open it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    def watch(self, status: Status) -> None:
        """Show how the parts are from now on; lines say it already."""

    def say(self, text: str) -> None:
        """Print one line with the time since the start."""
        stamp = f"[dim]{time.monotonic() - self._began:6.1f} s[/dim]  " if text else ""
        self._console.print(stamp + text, soft_wrap=True)

    def release(self, found: Mapping[str, Any]) -> None:
        """Print a line when a release has moved."""
        place = (found["id"], found["state"], found["step"], found["share_percent"])
        if place != self._shown:
            self._shown = place
            self.say(f"  {standing(found)}")

    def traffic(self, report: Mapping[str, Any]) -> None:
        """Print a line every five seconds."""
        now = time.monotonic()
        if report and now - self._traffic_at >= TRAFFIC_LINE_EVERY_S:
            self._traffic_at = now
            self.say(f"  {users(report)}")


class LiveScreen(Screen):
    """A stage whose lower part is drawn anew: parts, traffic, the release with its numbers."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._status: Status = tuple
        self._release: Mapping[str, Any] = {}
        self._report: Mapping[str, Any] = {}
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the lines and take the drawing away."""
        self._live.stop()

    def watch(self, status: Status) -> None:
        """Draw how the parts are from now on."""
        self._status = status

    def say(self, text: str) -> None:
        """Print one line above the drawing, and draw."""
        super().say(text)
        self._draw(at_once=True)

    def release(self, found: Mapping[str, Any]) -> None:
        """Draw where a release stands."""
        self._release = found
        self._draw()

    def traffic(self, report: Mapping[str, Any]) -> None:
        """Draw what users see."""
        self._report = report or self._report
        self._draw()

    def _draw(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._drawn_at >= DRAWN_EVERY_S:
            self._drawn_at = now
            self._live.update(Group(*self._rows()), refresh=True)

    def _rows(self) -> list[RenderableType]:
        rows: list[RenderableType] = [Text(), _parts(self._status())]
        if self._report:
            rows.append(Text(users(self._report)))
        if self._release:
            rows += [_ladder(self._release), Text(standing(self._release)), _counts(self._release)]
        return rows


def screen(*, to_stderr: bool) -> Screen:
    """Return the stage that fits where the output goes."""
    console = Terminal(stderr=to_stderr, highlight=False)
    return LiveScreen(console) if console.is_terminal else Screen(console)


def standing(found: Mapping[str, Any]) -> str:
    """Say where a release stands in one line."""
    verdict = found["verdict"] or {}
    place = f"step {found['step'] + 1} of {found['steps']}, {found['share_percent']:g} %"
    words = found["reason"] or verdict.get("sentence") or ""
    return f"{found['target']} {found['version']} {found['state']} ({place}) {words}".rstrip()


def users(report: Mapping[str, Any]) -> str:
    """Say what users see in one line."""
    said = (
        f"users: {report['requests']} requests at {report['rate']:g}/s, {report['errors']} errors, "
        f"p50 {report['p50_ms']:.1f} ms, p99 {report['p99_ms']:.1f} ms"
    )
    if not report.get("dropped"):
        return said
    return f"{said}; this machine is too busy for {report['rate']:g}/s ({report['dropped']} not sent): try a smaller --rate"


def _parts(status: Sequence[Mapping[str, object]]) -> Text:
    line = Text()
    for part in status:
        sign, style = PHASES.get(str(part["phase"]), ("?", ""))
        line.append(f"{sign} ", style)
        line.append(f"{part['name']}  ")
    return line


def _ladder(found: Mapping[str, Any]) -> Text:
    share = float(found["share_percent"])
    canary = round(BAR_WIDTH * share / 100)
    bar = Text(f"{found['stable']} ")
    bar.append("█" * (BAR_WIDTH - canary), "green")
    bar.append("█" * canary, "yellow")
    bar.append(f" {found['version']}  {share:g} %")
    return bar


def _counts(found: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 3))
    numbers = (found["verdict"] or {}).get("numbers")
    if numbers:
        for arm, version in (("stable", found["stable"]), ("canary", found["version"])):
            total, failed = numbers[f"{arm}_total"], numbers[f"{arm}_failed"]
            table.add_row(arm, str(version), f"{total} requests", f"{failed} failed")
    return table
