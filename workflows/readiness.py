"""Whether a release may begin, and whether its version is ready: looked at until it is, within limits.

Before it: the activities `preflight` and `start_version`. After it: the ports. Every answer is a reason in words, and ""
means that nothing is in the way.
"""

from __future__ import annotations

from controller.errors import NotFound, Unavailable, WorkloadsUnavailable
from controller.model.look import SourceState
from controller.model.release import ReleaseOrder
from controller.model.target import Target
from workflows.ground import Ground

POLL_S = 0.25
"""Pause between two looks."""
PATIENCE_S = 20.0
"""How long stable and its counters may be unwell before the release is called off: longer than a part's restart."""
HISTORY_S = 60.0
"""How far back one looks for base rate and traffic."""


async def ailment(ground: Ground, order: ReleaseOrder) -> str:
    """Return what keeps a release from beginning; a part that restarts is waited for."""
    reason = await _contradiction(ground, order)
    if reason:
        return reason
    until_s = ground.clock.boot_s() + PATIENCE_S
    while reason := await _unwell(ground, order):
        if ground.clock.boot_s() >= until_s:
            return reason
        await ground.clock.sleep(POLL_S)
    return ""


async def history(ground: Ground, order: ReleaseOrder) -> str:
    """Say what stable has served lately, for people who compare later; "" when nobody knows."""
    try:
        past = await ground.source.history(order.target, order.target.stable, HISTORY_S)
    except Unavailable:
        return ""
    rate = f"{past.requests_per_s:.1f} requests/s over {past.window_s:.0f} s"
    return f"{rate}, {past.failed} of {past.total} failed"


async def until_ready(ground: Ground, order: ReleaseOrder, target: Target) -> str:
    """Wait for the canary; returns why it is not ready within the plan's limit.

    Raises:
        WorkloadsUnavailable: Nobody could say at the limit; that is not the canary's fault.
    """
    limit_s = order.plan.ready_timeout_s
    until_s = ground.clock.boot_s() + limit_s
    while True:
        unknown: WorkloadsUnavailable | None = None
        reason = ""
        try:
            health = await ground.workloads_of(order).health(target, order.version)
            if health.is_ready:
                return ""
            reason = health.reason or "no reason given"
        except WorkloadsUnavailable as error:
            unknown = error
        if ground.clock.boot_s() >= until_s:
            break
        await ground.clock.sleep(POLL_S)
    if unknown is not None:
        raise unknown
    return f"{target.name} {order.version} was not ready within {limit_s:g} s: {reason}"


async def _contradiction(ground: Ground, order: ReleaseOrder) -> str:
    """See that the router knows the target, with the stable version that a rollback would return to."""
    try:
        observed = await ground.keeper.observe(order.target.key)
    except NotFound:
        await ground.keeper.declare(await ground.target(order))
        observed = await ground.keeper.observe(order.target.key)
    if observed.stable == order.target.stable:
        return ""
    return (
        f"the router serves {order.target.name} {observed.stable} as stable, "
        f"but the release was ordered on top of {order.target.stable}; order it again"
    )


async def _unwell(ground: Ground, order: ReleaseOrder) -> str:
    """Look once at stable and at its counters."""
    target = await ground.target(order)
    try:
        health = await ground.workloads_of(order).health(target, order.target.stable)
        reading = await ground.source.read(target)
    except Unavailable as error:
        return error.message
    if not health.is_ready:
        reason = health.reason or "no reason given"
        return f"{target.name} {order.target.stable} is stable and not ready: {reason}"
    if reading.source is not SourceState.OK:
        return f"the counters of {target.name} are {reading.source}"
    return ""
