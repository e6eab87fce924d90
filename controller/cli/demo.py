"""`serinus demo`: the whole stack, the story on it, and the numbers.

Before it: `make demo`. After it: `controller.embedded.demo`. On a terminal the story is a live view (`stage`), elsewhere
plain lines. `--once --json` ends by itself; the last line on stdout is one JSON object then, everything else goes to
stderr.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller import settings
from controller.cli.reasons import why_lines
from controller.cli.stack import Narrator, addresses, escape, on_signals, or_stopped, to_file

if TYPE_CHECKING:
    from controller.cli.stage import Screen
    from controller.embedded.demo.receiver import Receiver
    from controller.embedded.demo.story import Told
    from controller.embedded.ports import Ports
    from controller.embedded.stack import Stack

EXIT_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    once: Annotated[bool, typer.Option("--once", help="End when the story is told.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers as one JSON line at the end.")
    ] = False,
    rate: Annotated[float, typer.Option(help="Requests a second.", min=10, max=5000)] = 300.0,
    started: Annotated[
        float | None, typer.Option(help="When the command was started, seconds since 1970.", hidden=True)
    ] = None,
) -> None:
    """Run the whole stack, release a good version and a bad one, and watch the bad one take itself back."""
    from controller.cli.stage import screen

    play = Play(screen(to_stderr=as_json), once=once, rate=rate, started_at=started or time.time())
    code = asyncio.run(play.run())
    if as_json and play.numbers is not None:
        typer.echo(json.dumps(play.numbers))
    if code:
        raise typer.Exit(code)


class Play:
    """One performance.

    Args:
        shown: What people see.
        once: End when the story is told.
        rate: Requests a second.
        started_at: When the command was started, seconds since 1970 (UTC).
    """

    def __init__(self, shown: Screen, *, once: bool, rate: float, started_at: float) -> None:
        self._shown = shown
        self._once = once
        self._rate = rate
        self._started_at = started_at
        self._is_told = False
        self.numbers: dict[str, Any] | None = None

    async def run(self) -> int:
        """Perform, and return the exit code."""
        from controller.embedded.demo.receiver import CHANNEL, Receiver
        from controller.embedded.stack import open_stack

        receivers: list[Receiver] = []

        def channels(ports: Ports) -> dict[str, settings.Channel]:
            receivers.append(Receiver(ports.take("demo-alerts")))
            return {CHANNEL: receivers[0].channel}

        loaded = settings.load()
        narrator = Narrator(self._shown.say)
        with to_file(loaded.state_dir, loaded.log_level), self._shown:
            async with open_stack(loaded, tell=narrator.tell, channels=channels) as stack:
                stop = on_signals(stack)
                async with receivers[0].open():
                    await or_stopped(self._perform(stack, receivers[0]), stop)
                self._shown.say("stopping ...")
        return 0 if self._is_told else EXIT_INTERRUPTED

    async def _perform(self, stack: Stack, receiver: Receiver) -> None:
        from controller.embedded.demo.story import Story, result
        from controller.embedded.demo.traffic import Traffic

        self._shown.watch(stack.supervisor.status)
        await stack.ready()
        self._shown.say(f"everything is up after {time.time() - self._started_at:.1f} s")
        traffic = Traffic(stack=stack, rate=self._rate)
        story = Story(stack=stack, receiver=receiver, stage=self._shown, traffic=traffic)
        told = await story.tell()
        for line in conclusion(told, stack):
            self._shown.say(line)
        if self._once:
            self.numbers = result(told, await story.count_users(), started_at=self._started_at)
        self._is_told = True
        if not self._once:
            self._shown.say("everything keeps running; Ctrl-C stops it")
            await story.stay()


def conclusion(told: Told, stack: Stack) -> tuple[str, ...]:
    """Return what people should remember of the story, and where they can go on looking."""
    where = f"{stack.urls.api}/v1/traces/{told.trace_id}"
    if not told.trace_id:  # Its spans are still on their way; they can be found by the request.
        where = f"{stack.urls.api}/v1/traces?correlation_id={told.failing}"
    return (
        "",
        f"[bold]{escape(told.reason)}[/bold]",
        f"  rolled back by itself {told.bad.detect_s:.1f} s after the first failed canary request; "
        f"the last request began on the canary {told.bad.close_ms:.0f} ms after the verdict",
        f"  alert                {escape(told.alert.title)}: {escape(told.alert.text)}",
        f"  one failing request  X-Correlation-ID {told.failing}",
        *(f"  {escape(line)}" for line in (why_lines(told.why) if told.why else ())),
        f'  its trace            curl -H "Authorization: Bearer $(cat {stack.settings.token_file})" "{where}"',
        *addresses(stack.urls),
        "",
    )
