"""Helpers of the drills: targets of their own on a real stack, steady users, and a release of a good and a bad version.

Each drill declares two `external` targets over the catalog's processes (v1 stable; v2 good, v3 bad), sends them users
through Envoy, and can kill whatever it likes while both releases are in a step.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from controller.embedded.stack import Stack
from controller.errors import Unavailable
from controller.model.lease import Observation
from controller.model.target import target_key
from controller.routing.remote import RemoteKeeper

BAD = b"this version loses one request in a while"
USERS_PER_S = 60
PLAN = {"name": "drill", "steps": [{"share": 50, "hold_s": 5, "deadline_s": 120}]}
POLICY = {"name": "drill", "judge": "threshold", "max_error_percent": 5, "min_requests": 40, "warmup_s": 4}
GATE = {"name": "gate", "steps": [{"share": 50, "hold_s": 1, "deadline_s": 120, "gate": True}]}


@dataclass(frozen=True, slots=True)
class Answered:
    """One user's request: when it was sent, and what came of it. Status 0: no answer."""

    at: float
    status: int
    is_canary_failure: bool


@dataclass
class Users:
    """Steady users of one host."""

    port: int
    host: str
    answered: list[Answered] = field(default_factory=list)

    async def run(self) -> None:
        limits = httpx.Limits(max_connections=30, max_keepalive_connections=30)
        async with httpx.AsyncClient(timeout=5, limits=limits) as client, asyncio.TaskGroup() as tasks:
            due = time.monotonic()
            while True:
                tasks.create_task(self._ask(client))
                due += 1 / USERS_PER_S
                await asyncio.sleep(max(due - time.monotonic(), 0))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        at = time.time()
        try:
            answer = await client.get(f"http://127.0.0.1:{self.port}/products", headers={"Host": self.host})
        except httpx.HTTPError:
            self.answered.append(Answered(at, 0, False))
        else:
            self.answered.append(Answered(at, answer.status_code, BAD in answer.content))

    def failures_of_stable(self) -> list[Answered]:
        """Requests that failed and were not the bad canary's."""
        return [
            each
            for each in self.answered
            if (each.status == 0 or each.status >= 500) and not each.is_canary_failure
        ]

    def canary_failures_after(self, at: float) -> int:
        return sum(each.is_canary_failure for each in self.answered if each.at > at)


class Drill:
    """A stack under test.

    Args:
        stack: Running and ready.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.keeper = RemoteKeeper(stack.settings.router_socket)

    async def _addresses(self) -> dict[str, list[str]]:
        """Return where the catalog's three versions answer; one that an earlier drill ended is started again."""
        for version in ("v2", "v3"):
            await self.stack.version_ready("catalog", version, within_s=30)
        return {
            str(each["name"]).partition(".")[2]: [str(each["address"])]
            for each in self.stack.versions.status()
            if str(each["name"]).startswith("catalog.")
        }

    async def declare(self, name: str) -> Users:
        """Declare a target and return its users."""
        await self.stack.api.send(
            "PUT",
            f"/targets/{name}",
            {
                "stable": "v1",
                "versions": await self._addresses(),
                "workloads": "external",
                "plan": PLAN,
                "policy": POLICY,
            },
        )
        return Users(self.stack.settings.envoy.port, f"{name}.localhost")

    async def start(self, target: str, version: str, **more: object) -> str:
        answer = await self.stack.api.send(
            "POST", "/releases", {"target": target, "version": version, **more}
        )
        return str(answer["id"])

    async def tell(self, release: str, command: str) -> Any:
        return await self.stack.api.send("POST", f"/releases/{release}/{command}", {})

    async def release(self, release: str) -> Any:
        return await self.stack.api.get(f"/releases/{release}")

    async def observe(self, target: str) -> Observation:
        return await self.keeper.observe(target_key("local", target))

    async def exposed(self, target: str, *, within_s: float = 20) -> None:
        """Wait until the target's canary has a share."""

        async def has_share() -> bool:
            return (await self.observe(target)).lease is not None

        await until(has_share, within_s=within_s, what=f"{target} gets a share")

    async def outcome(self, release: str, *, within_s: float = 60) -> Any:
        """Wait for the end of a release and return it."""

        async def has_ended() -> bool:
            return bool((await self.release(release))["outcome"])

        await until(has_ended, within_s=within_s, what=f"{release} ends")
        return await self.release(release)

    async def drained(self, release: str, *, within_s: float = 60) -> None:
        """Wait until a release has given its target free."""

        async def is_over() -> bool:
            return not (await self.release(release))["is_active"]

        await until(is_over, within_s=within_s, what=f"{release} is drained")

    @asynccontextmanager
    async def both(self, name: str) -> AsyncIterator[Both]:
        """Release a good and a bad version at once; yields when both have a share."""
        good, bad = f"{name}-good", f"{name}-bad"
        both = Both(await self.declare(good), await self.declare(bad))
        tasks = [asyncio.create_task(users.run()) for users in (both.good_users, both.bad_users)]
        try:
            both.good, both.bad = await asyncio.gather(self.start(good, "v2"), self.start(bad, "v3"))
            await asyncio.gather(self.exposed(good), self.exposed(bad))
            yield both
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Both:
    """A good and a bad release with their users."""

    good_users: Users
    bad_users: Users
    good: str = ""
    bad: str = ""


async def until(check: Callable[[], Awaitable[bool]], *, within_s: float, what: str) -> None:
    """Ask again until it is so; a part that does not answer meanwhile is asked again."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if await check():
                return
        except Unavailable:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {within_s:g} s: {what}")
