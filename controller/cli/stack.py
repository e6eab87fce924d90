"""`serinus up`: the whole stack on this machine, until Ctrl-C.

Before it: a person. After it: `controller.embedded.stack`. One line on the terminal for each thing that happens to a
part; the same as JSON in `<state_dir>/logs/up.log`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from controller import observability, settings

if TYPE_CHECKING:
    import typer

    from controller.embedded.stack import Stack, Urls
    from controller.embedded.supervisor import Event
    from controller.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up")(up)


def up() -> None:
    """Run everything on this machine: Temporal, Envoy, router, API, worker, telemetry and a small shop."""
    asyncio.run(_up(settings.load(), words(Terminal(highlight=False))))


async def _up(loaded: Settings, say: Callable[[str], None]) -> None:
    from controller.embedded.stack import open_stack

    began = time.monotonic()
    narrator = Narrator(say)
    with to_file(loaded.state_dir, loaded.log_level):
        async with open_stack(loaded, tell=narrator.tell) as stack:
            stop = on_signals(stack)
            if await or_stopped(stack.ready(), stop):
                say(f"[bold]ready after {time.monotonic() - began:.1f} s[/bold]")
                for line in addresses(stack.urls):
                    say(line)
                say("Ctrl-C stops everything.")
                await stop.wait()
            say("stopping ...")


def addresses(urls: Urls) -> tuple[str, ...]:
    """Return where people look, one line each."""
    return (
        f"  API with your token  {urls.console}",
        f"  API docs             {urls.docs}",
        f"  Temporal             {urls.temporal}",
        f"  the shop             {urls.storefront}",
        f"  OTLP, HTTP and gRPC  {urls.telemetry} {urls.telemetry_grpc}".rstrip(),
    )


class Narrator:
    """Tells events of parts to the log and, in words, to the terminal.

    Args:
        say: Prints one line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._log = observability.logger(__name__)
        self._ready: set[str] = set()

    def tell(self, event: Event) -> None:
        """Log an event; say it if people care."""
        write = self._log.warning if event.is_trouble else self._log.info
        write("part_" + event.kind, part=event.part, text=event.text)
        if event.is_trouble:
            self._say(f"[yellow]{event.part} {event.kind.replace('_', ' ')}[/yellow]: {escape(event.text)}")
        elif event.kind == "ready" and event.part not in self._ready:
            self._ready.add(event.part)
            self._say(f"[green]{event.part}[/green] ready {event.text}")


class _Patient(logging.StreamHandler[TextIO]):
    """Writes log lines while there is room for them; a full disk costs lines, and must not fill the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Let the line go."""


@contextmanager
def to_file(state_dir: Path, level: str) -> Iterator[None]:
    """Send the log of this process to `<state_dir>/logs/up.log`: the terminal is for people.

    Raises:
        ConfigurationError: The folder is not ours, or has no room.
    """
    from controller.embedded.folders import private_folder, require_room

    require_room(private_folder(state_dir.absolute()))
    path = private_folder(state_dir.absolute() / "logs") / "up.log"
    observability.configure("up", level)
    root = logging.getLogger()
    before = root.handlers[:]
    file = path.open("a", buffering=1)
    patient = _Patient(file)
    patient.setFormatter(before[0].formatter)
    root.handlers[:] = [patient]
    try:
        yield
    finally:
        root.handlers[:] = before
        with suppress(OSError):
            file.close()


class Terminal(Console):
    """Where people read. When they have gone (`serinus up | head`), the words end and the run goes on."""

    def on_broken_pipe(self) -> None:
        """Say no more."""
        self.quiet = True


def words(terminal: Terminal) -> Callable[[str], None]:
    """Return what prints one line; it is never cut in two, or a link in it could not be clicked or copied."""
    return lambda text: terminal.print(text, soft_wrap=True)


def escape(text: str) -> str:
    """Return text in which rich sees no markup."""
    return text.replace("[", r"\[")


def on_signals(stack: Stack) -> asyncio.Event:
    """Return an event that Ctrl-C, SIGTERM or a closed terminal sets; a second signal ends all parts at once."""
    stop = asyncio.Event()

    def end() -> None:
        if stop.is_set():
            stack.supervisor.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return stop


async def or_stopped(work: Awaitable[object], stop: asyncio.Event) -> bool:
    """Wait for work or for the stop, whichever comes first; True when the work is done. Its errors are raised."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
        return False
    working.result()
    return True
