"""Following one release to its end, on a terminal or in a pipeline, and the exit code that tells how it ended.

Before it: `serinus release watch` and `start --watch`. After it: the event stream of the API. It goes on over a restart
of the controller, from the last event it has seen.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.cli.client import Api, ControllerUnavailable, Event, Refusal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

PROMOTED = 0
ROLLED_BACK = 20
ABORTED = 21
SUPERSEDED = 22
NEEDS_A_HUMAN = 30
TIMED_OUT = 124
"""As `timeout(1)` says it."""

EXIT_CODES = {
    "promoted": PROMOTED,
    "rolled_back": ROLLED_BACK,
    "aborted": ABORTED,
    "superseded": SUPERSEDED,
    "failed": NEEDS_A_HUMAN,
}
AGAIN_S = 1.0
UNREACHABLE_S = 120.0
"""After this long without any controller a watch without a time limit gives up."""
SETTLE_S = 2.0
"""A release may be told to go on and still be shown as waiting for a moment."""


class View(ABC):
    """Where a watch is shown."""

    @abstractmethod
    def event(self, data: dict[str, Any]) -> None:
        """Show one journal event."""

    @abstractmethod
    def progress(self, data: dict[str, Any]) -> None:
        """Show where the release stands now."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Show a remark of the watch itself."""


@dataclass(frozen=True, slots=True)
class Watched:
    """How a watch ended.

    Args:
        code: The exit code.
        last: The newest state that was seen.
    """

    code: int
    last: dict[str, Any]


class Watch:
    """Follows one release.

    Args:
        api: The controller.
        release: Its id.
        view: Where it is shown.
        sleep: Waits; tests pass their own.
    """

    def __init__(
        self,
        *,
        api: Api,
        release: str,
        view: View,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._release = release
        self._view = view
        self._sleep = sleep
        self._seen = ""
        self._last: dict[str, Any] = {}

    async def run(self, timeout_s: float | None = None) -> Watched:
        """Follow it until it ends, waits for a person, or `timeout_s` (None: no limit) have passed.

        Raises:
            Refusal: The controller does not know the release, or the token.
            ControllerUnavailable: No controller answered for two minutes.
        """
        try:
            async with asyncio.timeout(timeout_s):
                code = await self._follow()
        except TimeoutError:
            self._view.say(f"not ended after {timeout_s:g} s; the release goes on")
            code = TIMED_OUT
        return Watched(code, self._last)

    async def _follow(self) -> int:
        missing_s = 0.0
        while True:
            try:
                before = self._last
                code = await self._listen()
                if code is not None:
                    return code
                missing_s = 0.0 if self._last is not before else missing_s
            except ControllerUnavailable:
                if missing_s >= UNREACHABLE_S:
                    raise
                if not missing_s:
                    self._view.say(
                        "the controller does not answer; trying again, the release goes on meanwhile"
                    )
            except Refusal as refusal:
                if refusal.status < 500:
                    raise
            await self._sleep(AGAIN_S)
            missing_s += AGAIN_S

    async def _listen(self) -> int | None:
        """Follow one stream; None when it ended before the release did."""
        path = f"/v1/releases/{self._release}/events"
        async with self._api.stream(path, last_event_id=self._seen) as events:
            async for event in events:
                code = await self._take(event)
                if code is not None:
                    return code
        return None

    async def _take(self, event: Event) -> int | None:
        if event.kind not in ("progress", "end"):
            self._seen = event.id or self._seen
            self._view.event(event.data)
            return None
        self._last = event.data
        self._view.progress(event.data)
        outcome = event.data.get("outcome")
        if outcome is not None or event.kind == "end":
            return EXIT_CODES.get(str(outcome), NEEDS_A_HUMAN)
        return await self._waiting() if event.data.get("state") == "waiting" else None

    async def _waiting(self) -> int | None:
        await self._sleep(SETTLE_S)
        now = await self._api.call("GET", f"/v1/releases/{self._release}")
        if now.get("state") != "waiting" or now.get("step") != self._last.get("step"):
            return None
        self._view.say("it waits for a person: `serinus release promote` goes on, `abort` takes it back")
        return NEEDS_A_HUMAN


class Lines(View):
    """Plain lines, for pipes and logs."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown = ""

    def event(self, data: dict[str, Any]) -> None:
        """Write one line."""
        self._write(f"{str(data.get('at', ''))[11:19]} {data.get('kind', ''):<21} {data.get('text', '')}")

    def progress(self, data: dict[str, Any]) -> None:
        """Write a line when state, step or share changed; the numbers alone would flood a log."""
        line = standing(data)
        if line != self._shown:
            self._shown = line
            self._write(line)

    def say(self, text: str) -> None:
        """Write the remark."""
        self._write(text)


class Board(View):
    """A table that stays in place, for terminals."""

    def __init__(self, *, release: dict[str, Any], live: Live, keep: int = 12) -> None:
        self._release = release
        self._live = live
        self._keep = keep
        self._events: list[dict[str, Any]] = []
        self._now: dict[str, Any] = {}
        self._remark = ""

    def event(self, data: dict[str, Any]) -> None:
        """Add a line to the newest events."""
        self._events = [*self._events, data][-self._keep :]
        self._live.update(self._table())

    def progress(self, data: dict[str, Any]) -> None:
        """Show the new numbers."""
        self._now, self._remark = data, ""
        self._live.update(self._table())

    def say(self, text: str) -> None:
        """Show the remark below the table."""
        self._remark = text
        self._live.update(self._table())

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        head = (
            f"{self._release.get('target')} {self._release.get('stable')} -> {self._release.get('version')}"
            f"   {standing(self._now)}"
        )
        table = Table(title=Text(head), caption=Text(self._remark or _sentence(self._now)), expand=True)
        for name in ("time", "event", "what happened"):
            table.add_column(name, no_wrap=name != "what happened")
        for data in self._events:
            table.add_row(
                str(data.get("at", ""))[11:19],
                Text(str(data.get("kind", ""))),
                Text(str(data.get("text", ""))),
            )
        return table


def standing(data: dict[str, Any]) -> str:
    """Say state, step and share in a few words."""
    if not data:
        return ""
    step = min(int(data.get("step", 0)) + 1, int(data.get("steps", 1)))
    share = f"{data.get('share_percent', 0):g} %" + (
        f" of {data['audience']}" if data.get("audience") else ""
    )
    return f"{data.get('state')}, step {step} of {data.get('steps')}, canary at {share}"


def ending(release: dict[str, Any]) -> str:
    """Say how a release ended (or stands), with the reason."""
    what = release.get("outcome") or release.get("state") or "not known"
    reason = release.get("reason") or _sentence(release)
    return f"{str(what).replace('_', ' ')}: {reason}" if reason else str(what).replace("_", " ")


def _sentence(data: dict[str, Any]) -> str:
    return str((data.get("verdict") or {}).get("sentence", ""))


async def follow(
    api: Api, release: dict[str, Any], *, console: Console, timeout_s: float | None = None
) -> Watched:
    """Watch a release on a console: a live table on a terminal, lines elsewhere."""
    if not console.is_terminal:
        view = Lines(lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))
        return await Watch(api=api, release=str(release["id"]), view=view).run(timeout_s)
    from rich.live import Live

    with Live(console=console, refresh_per_second=8) as live:
        board = Board(release=release, live=live)
        return await Watch(api=api, release=str(release["id"]), view=board).run(timeout_s)
