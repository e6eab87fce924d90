"""Whether a version may be stopped, and stopping it: never on a desired share alone, never in the middle of requests.

Before it: the activity `retire`. After it: the ports. Every answer is a reason in words, and "" means that it is done.
"""

from __future__ import annotations

from controller.errors import NotFound, SerinusError, SourceUnavailable, Unavailable
from controller.model.look import Arm, SourceState
from workflows.ground import Ground
from workflows.messages import Retirement

POLL_S = 1.0
"""Pause between two looks: counters are read once a second."""
PATIENCE_S = 30.0
"""How long proxies may take to confirm, and requests in flight to end."""


async def in_the_way(ground: Ground, errand: Retirement) -> str:
    """Return why a version must keep running: it is stable, or the proxies may still send it everybody's traffic."""
    name = f"{errand.order.target.name} {errand.version}"
    until_s = ground.clock.boot_s() + PATIENCE_S
    while True:
        try:
            observed = await ground.keeper.observe(errand.order.target.key)
        except NotFound:
            return ""
        if observed.stable == errand.version:
            return f"{name} is what the router serves as stable, so it keeps running"
        if observed.is_applied:
            return ""
        if ground.clock.boot_s() >= until_s:
            break
        await ground.clock.sleep(POLL_S)
    if errand.is_replaced:
        return f"the proxies have not confirmed its successor, so {name} keeps running"
    return ""  # a canary's share ends by itself when its lease does, whatever the proxies confirm


async def stopped(ground: Ground, errand: Retirement) -> str:
    """Drain and stop a version; returns what is worth saying about it.

    Raises:
        Unavailable: Whoever has to be asked does not answer.
    """
    order = errand.order
    try:
        said = await _drained(ground, errand)
        await ground.workloads_of(order).retire(await ground.target(order), errand.version)
    except Unavailable:
        raise
    except SerinusError as error:
        return f"{order.target.name} {errand.version} could not be stopped: {error.message}"
    return said


async def _drained(ground: Ground, errand: Retirement) -> str:
    """Wait until nothing is in flight twice in a row, within bounds."""
    until_s = ground.clock.boot_s() + PATIENCE_S
    quiet, in_flight = 0, 0
    while True:
        try:
            reading = await ground.source.read(errand.order.target)
            in_flight = reading.arms.get(errand.version, Arm()).in_flight
            is_quiet = reading.source is SourceState.OK and in_flight == 0
        except SourceUnavailable:
            is_quiet = False
        quiet = quiet + 1 if is_quiet else 0
        if quiet == 2:
            return ""
        if ground.clock.boot_s() >= until_s:
            return f"{in_flight} requests were still in flight after {PATIENCE_S:g} s"
        await ground.clock.sleep(POLL_S)
