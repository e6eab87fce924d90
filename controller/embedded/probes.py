"""How the supervisor finds out that a part can be used: a probe answers "" when it can, else the reason why not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from controller.embedded.wire import Address, call, connect
from controller.errors import Unavailable

Probe = Callable[[], Awaitable[str]]

PROBE_DEADLINE_S = 2.0


def listens(address: Address) -> Probe:
    """Ready when somebody accepts connections there.

    The kernel accepts them even for a process that hangs, so this alone says nothing about a part that was ready once.
    """

    async def probe() -> str:
        try:
            async with asyncio.timeout(PROBE_DEADLINE_S):
                _, writer = await connect(address)
        except (OSError, TimeoutError):
            return f"nobody listens on {address}"
        writer.close()
        return ""

    return probe


def all_of(*probes: Probe) -> Probe:
    """Ready when every one is; says the first reason why not."""

    async def probe() -> str:
        for one in probes:
            if reason := await one():
                return reason
        return ""

    return probe


def answers(address: Address, path: str) -> Probe:
    """Ready when GET on the path answers 200."""

    async def probe() -> str:
        try:
            answer = await call(address, "GET", path, deadline_s=PROBE_DEADLINE_S)
        except Unavailable as error:
            return error.message
        return "" if answer.status == 200 else f"{address}{path} answers {answer.status}"

    return probe


async def runs() -> str:
    """Ready as soon as it runs: for parts that serve nobody."""
    return ""
