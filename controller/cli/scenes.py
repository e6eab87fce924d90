"""The options of `serinus simulate` that describe a world, and the scene they make.

Before it: what somebody typed; per cent, milliseconds and `AT:FOR`. After it: `controller.simulation.scene`, in parts of
one and in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from controller.errors import InvalidInput

if TYPE_CHECKING:
    from controller.simulation.latency import Latency, Slowness
    from controller.simulation.scene import Burst, Fault, Fleet, Outage

WORLD, CANARY, LATENCY, INSTANCES = "The world", "The canary", "Latency", "Instances"


def _per_cent(text: str, panel: str) -> object:
    return typer.Option(min=0, max=100, help=text, rich_help_panel=panel)


def _seconds(text: str, panel: str) -> object:
    return typer.Option(min=0, help=text, rich_help_panel=panel)


Rate = Annotated[
    float, typer.Option(help="Requests a second on both versions together.", rich_help_panel=WORLD)
]
StableErrors = Annotated[float, _per_cent("Per cent of stable's requests that fail.", WORLD)]
Group = Annotated[
    int, typer.Option(min=1, max=100, help="So many requests fail together.", rich_help_panel=WORLD)
]
Bursts = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AT:FOR:PERCENT", help="An incident of both versions; may be repeated.", rich_help_panel=WORLD
    ),
]
Outages = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AT:FOR", help="The source of evidence is down; may be repeated.", rich_help_panel=WORLD
    ),
]
Audience = Annotated[
    float,
    typer.Option(max=100, help="Per cent of the requests that fit a step's matches.", rich_help_panel=WORLD),
]
HistoryS = Annotated[float, _seconds("Seconds that stable has served before.", WORLD)]
LookEvery = Annotated[float, typer.Option(help="Seconds between two looks.", rich_help_panel=WORLD)]
CanaryErrors = Annotated[
    float | None, _per_cent("Per cent of the canary's that fail; as stable's when left out.", CANARY)
]
After = Annotated[float, _seconds("The canary is like stable for so many seconds.", CANARY)]
Ramp = Annotated[float, _seconds("Then its fault grows for so many seconds.", CANARY)]
DarkAfter = Annotated[float | None, _seconds("It gets no requests after so many seconds.", CANARY)]
HangAfter = Annotated[float | None, _seconds("It answers nothing after so many seconds.", CANARY)]
LatencyMs = Annotated[float | None, _seconds("Median of both versions; not measured when left out.", LATENCY)]
LatencySigma = Annotated[
    float, typer.Option(help="Standard deviation of its logarithm.", rich_help_panel=LATENCY)
]
Paused = Annotated[
    bool,
    typer.Option("--pauses", help="Each process stops for 200 ms about every 20 s.", rich_help_panel=LATENCY),
]
CanarySlower = Annotated[
    float, typer.Option(help="The canary takes so many times as long.", rich_help_panel=LATENCY)
]
CanarySigma = Annotated[
    float | None,
    typer.Option(help="Its own standard deviation of the logarithm.", rich_help_panel=LATENCY),
]
CanarySlowPart = Annotated[
    float, _per_cent("Per cent of the canary's requests that take --slow-ms longer.", LATENCY)
]
SlowMs = Annotated[float, _seconds("How much longer those take.", LATENCY)]
Instances = Annotated[
    str | None,
    typer.Option(
        metavar="STABLE:CANARY",
        help="How many carry each version; not told apart when left out.",
        rich_help_panel=INSTANCES,
    ),
]
Unlike = Annotated[
    float,
    typer.Option(
        help="Standard deviation of the logarithm of their failing parts.", rich_help_panel=INSTANCES
    ),
]
BadInstance = Annotated[
    float | None, _per_cent("Per cent of requests that one instance of the canary fails.", INSTANCES)
]
Generations = Annotated[
    int,
    typer.Option(min=0, help="Earlier versions whose instances are remembered.", rich_help_panel=INSTANCES),
]


def fault(
    errors: float, after_s: float, ramp_s: float, gone: tuple[float | None, float | None], slowness: Slowness
) -> Fault:
    """Return the canary's fault; `errors` in per cent, `gone` when it is dark and when it hangs, seconds."""
    from controller.simulation.scene import Fault

    dark_after_s, hangs_after_s = gone
    return Fault(errors / 100, after_s, ramp_s, slowness, dark_after_s, hangs_after_s)


def slowness(times: float, part: float, by_ms: float, sigma: float | None) -> Slowness:
    """Return how the canary is slower; `part` in per cent."""
    from controller.simulation.latency import Slowness

    return Slowness(times, part / 100, by_ms / 1000, sigma)


def latency(median_ms: float | None, sigma: float, *, has_pauses: bool, is_slower: bool) -> Latency | None:
    """Return the usual latency; None when it is not measured.

    Raises:
        InvalidInput: It is not measured, and the canary shall be slower or processes shall pause.
    """
    from controller.simulation.latency import Latency, Pauses

    if median_ms is None:
        if is_slower or has_pauses:
            raise InvalidInput(
                "expected a median, such as --latency-ms 50: slower than what?", field="latency_ms"
            )
        return None
    return Latency(median_ms / 1000, sigma, Pauses() if has_pauses else None)


def fleet(instances: str | None, unlike: float, bad: float | None, generations: int) -> Fleet | None:
    """Return the instances; `bad` in per cent; None when they are not told apart.

    Raises:
        InvalidInput: They are not written as two numbers, or left out while something is said of them.
    """
    from controller.simulation.scene import Fleet

    if instances is None:
        if unlike or bad is not None or generations:
            raise InvalidInput("expected how many there are, such as --instances 10:4", field="instances")
        return None
    try:
        stable, canary = (int(part) for part in instances.split(":"))
    except ValueError:
        raise InvalidInput("expected STABLE:CANARY, such as 10:4", field="instances") from None
    return Fleet(stable, canary, unlike, None if bad is None else bad / 100, generations)


def bursts(texts: Sequence[str]) -> tuple[Burst, ...]:
    """Return what hits both versions."""
    from controller.simulation.scene import Burst

    found = [_numbers(text, "burst", "AT:FOR:PERCENT, such as 60:10:30", 3) for text in texts]
    return tuple(Burst(at_s, for_s, percent / 100) for at_s, for_s, percent in found)


def outages(texts: Sequence[str]) -> tuple[Outage, ...]:
    """Return when the source is down."""
    from controller.simulation.scene import Outage

    return tuple(Outage(*_numbers(text, "source_down", "AT:FOR, such as 60:30", 2)) for text in texts)


def _numbers(text: str, field: str, expected: str, count: int) -> list[float]:
    try:
        found = [float(part) for part in text.split(":")]
    except ValueError:
        found = []
    if len(found) != count:
        raise InvalidInput(f"expected {expected}", field=field)
    return found
