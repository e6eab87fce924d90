"""The story: a good version is promoted, a bad one takes itself back, and the alert goes out.

Before it: a stack that is ready. After it: the numbers, counted and not claimed (`accounting`). The plan and the policy
are made for the demo: three steps of at most three seconds, one second of warm-up, wide margins. Anything that does not
go as told here is a `StoryFailed` with the reason.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from controller.embedded import shop
from controller.embedded.demo.accounting import Users, close_ms, detect_s, exposure
from controller.embedded.demo.receiver import Alert, Receiver
from controller.embedded.demo.traffic import Traffic
from controller.embedded.stack import Stack
from controller.errors import NotFound, SerinusError, Unavailable
from controller.plans import ready
from controller.plans.schema import percent

GOOD, BAD = "v2", "v3"
TARGET = "catalog"
RULES = "demo"
"""Name of the ready-made plan and policy."""
ORDER_WITHIN_S = 20.0
RELEASE_WITHIN_S = 120.0
ALERT_WITHIN_S = 20.0
TRACE_WITHIN_S = 10.0
LEAST_USERS = 1000
LOOK_EVERY_S = 0.1
STAY_EVERY_S = 1.0
FLUSH_S = 0.4
"""Envoy writes its access log every 100 ms."""


class StoryFailed(SerinusError):
    """The demo did not go as it should; the message says where and why."""

    code = "demo_failed"


class Stage(ABC):
    """What shows the story to people. Nothing here may block."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Show one line that stays."""

    @abstractmethod
    def release(self, found: Mapping[str, Any]) -> None:
        """Show where a release stands; called several times a second."""

    @abstractmethod
    def traffic(self, report: Mapping[str, Any]) -> None:
        """Show what users see, empty before anything is known; called several times a second."""


@dataclass(frozen=True, slots=True)
class Good:
    """The release that was promoted; `seconds` from its order to its outcome."""

    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Bad:
    """The release that was taken back.

    Args:
        detect_s: From the beginning of the first failed canary request to the verdict.
        close_ms: From the verdict to the beginning of the last request on the canary.
        canary_requests: What the verdict stands on.
        canary_failures: Those of them that failed.
        alerts: Different alerts that were delivered.
    """

    outcome: str
    detect_s: float
    close_ms: float
    canary_requests: int
    canary_failures: int
    alerts: int


@dataclass(frozen=True, slots=True)
class Told:
    """What has happened, and what people can look at."""

    good: Good
    bad: Bad
    rolled_back_at: float
    reason: str
    alert: Alert
    failing: str
    trace_id: str
    why: Mapping[str, Any]
    """The answer of `GET /v1/releases/{id}/why`; empty when the telemetry process has not got the spans in time."""


class Story:
    """Tells it on a stack.

    Args:
        stack: Ready.
        receiver: Open; its channel is one of the stack's.
        stage: Shows it.
        traffic: Not begun yet.
    """

    def __init__(self, *, stack: Stack, receiver: Receiver, stage: Stage, traffic: Traffic) -> None:
        self._stack = stack
        self._receiver = receiver
        self._stage = stage
        self._traffic = traffic

    async def tell(self) -> Told:
        """Tell it from beginning to end; the users stay.

        Raises:
            StoryFailed: It went otherwise.
            Unavailable: A part did not come back.
        """
        await self._set_the_scene()
        good, _, seconds = await self._release(GOOD)
        self._expect(good, "promoted")
        self._stage.say(f"{TARGET} {GOOD} promoted after {seconds:.1f} s: {good['reason']}")
        bad, rolled_back_at, _ = await self._release(BAD)
        self._expect(bad, "rolled_back")
        self._stage.say(f"{TARGET} {BAD} rolled back by itself: {bad['reason']}")
        alerts = await self._receiver.wait(bad["id"], within_s=ALERT_WITHIN_S)
        if not alerts:
            raise StoryFailed(f"no alert about the rollback came within {ALERT_WITHIN_S:g} s")
        self._stage.say(f"alert delivered, signature checked: {alerts[0].title}")
        counted = await self._count(bad, alerts)
        failing = exposure(self._traffic.canary(bad["id"])).failing
        return Told(
            good=Good(good["outcome"], round(seconds, 1)),
            bad=counted,
            rolled_back_at=rolled_back_at,
            reason=bad["reason"],
            alert=alerts[0],
            failing=failing,
            trace_id=await self._trace(failing),
            why=await self._why(bad["id"]),
        )

    async def count_users(self) -> Users:
        """Wait until enough users have come, let them go, and sum up.

        Raises:
            StoryFailed: Too few came, or some got errors that no canary had a part in.
        """
        deadline_s = time.monotonic() + 2 * LEAST_USERS / self._traffic.rate
        while self._traffic.report().get("requests", 0) < LEAST_USERS:
            if time.monotonic() > deadline_s:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        await self._traffic.end()
        await asyncio.sleep(FLUSH_S)
        seen = self._traffic.users()
        if seen.requests < LEAST_USERS:
            raise StoryFailed(
                f"only {seen.requests} user requests were counted, at least {LEAST_USERS} must be"
            )
        if seen.errors_outside_canary:
            raise StoryFailed(
                f"{seen.errors_outside_canary} of {seen.requests} user requests failed though no canary had a part in "
                f"them; if this machine is too busy for {self._traffic.rate:g} requests/s, try a smaller --rate"
            )
        return seen

    async def stay(self) -> None:
        """Show what users see until cancelled."""
        while True:
            self._stage.traffic(self._traffic.report())
            await asyncio.sleep(STAY_EVERY_S)

    async def _set_the_scene(self) -> None:
        self._traffic.forget()
        running = (await self._stack.api.get(f"/releases?target={TARGET}&active=true"))["releases"]
        if running:
            await self._clear(running[0]["id"])
        if (await self._stack.api.get(f"/targets/{TARGET}"))["stable"] != shop.FIRST_STABLE:
            self._stage.say(f"{TARGET} goes back to {shop.FIRST_STABLE}, as in the first run")
            # Ready first: the API moves traffic at once, as it was told.
            await self._stack.version_ready(TARGET, shop.FIRST_STABLE, within_s=RELEASE_WITHIN_S)
            await shop.declare(self._stack.api, move_stable=True)
        self._traffic.begin()
        self._stage.say(
            f"{self._traffic.rate:g} requests a second come to the storefront, which calls the {TARGET}"
        )
        self._stage.say(about_the_rules())

    async def _clear(self, release: str) -> None:
        """End a release that an earlier run has left: it may have waited for a person since its users went."""
        self._stage.say(f"release {release} is in flight from an earlier run; aborting it, to begin anew")
        why = {"reason": "the demo begins anew"}
        await self._stack.api.send("POST", f"/releases/{release}/abort", why, {})
        await self._follow(release, until_done=True)

    async def _release(self, version: str) -> tuple[dict[str, Any], float, float]:
        """Order a release and follow it; returns it, when its outcome was seen, and how long that took."""
        began = time.monotonic()
        order = {"target": TARGET, "version": version, "plan": RULES, "policy": RULES}
        ordered = await self._order(order)
        self._stage.say(f"release {ordered['id']}: {TARGET} {ordered['stable']} -> {version}")
        found = await self._follow(ordered["id"], until_done=False)
        at, seconds = time.time(), time.monotonic() - began
        # The next release may begin when the loser is drained; what was written is read again then.
        return await self._follow(found["id"], until_done=True), at, seconds

    async def _order(self, order: Mapping[str, str]) -> Any:
        """Order once, however often it must be said: the key makes a repeat the same order."""
        key = {"Idempotency-Key": f"demo-{secrets.token_hex(8)}"}
        deadline_s = time.monotonic() + ORDER_WITHIN_S
        while True:
            try:
                return await self._stack.api.send("POST", "/releases", order, key)
            except Unavailable as error:
                if time.monotonic() > deadline_s:
                    raise
                self._stage.say(f"(the order was not taken, trying again: {error.message})")
            await asyncio.sleep(5 * LOOK_EVERY_S)

    async def _follow(self, release: str, *, until_done: bool) -> dict[str, Any]:
        deadline_s = time.monotonic() + RELEASE_WITHIN_S
        found: dict[str, Any] = {}
        while time.monotonic() < deadline_s:
            # Raises when the users are gone: without them nothing can be judged.
            self._stage.traffic(self._traffic.report())
            try:
                found = await self._stack.api.get(f"/releases/{release}")
            except Unavailable as error:
                self._stage.say(f"(the API does not answer; it is being started again: {error.message})")
            else:
                self._stage.release(found)
                if not found["is_active"] or (found["outcome"] is not None and not until_done):
                    return found
            await asyncio.sleep(LOOK_EVERY_S)
        stands = f"{found.get('state')}, {found.get('reason')}" if found else "unknown"
        raise StoryFailed(f"release {release} did not end within {RELEASE_WITHIN_S:g} s; it is: {stands}")

    def _expect(self, found: Mapping[str, Any], outcome: str) -> None:
        if found["outcome"] != outcome:
            raise StoryFailed(
                f"{TARGET} {found['version']} should have been {outcome.replace('_', ' ')}, but it is "
                f"{found['outcome']}: {found['reason']}"
            )

    async def _count(self, bad: Mapping[str, Any], alerts: tuple[Alert, ...]) -> Bad:
        await asyncio.sleep(FLUSH_S)
        seen = exposure(self._traffic.canary(bad["id"]))
        verdict_at = bad["facts"].get("verdict_at")
        numbers = (bad["verdict"] or {}).get("numbers", {})
        if verdict_at is None or seen.first_failure_at is None or not numbers.get("canary_failed"):
            raise StoryFailed(
                f"the rollback does not stand on a counted failure: {seen}, facts {bad['facts']}, verdict {numbers}"
            )
        return Bad(
            outcome=bad["outcome"],
            detect_s=detect_s(seen, verdict_at),
            close_ms=close_ms(seen, verdict_at),
            canary_requests=numbers["canary_total"],
            canary_failures=numbers["canary_failed"],
            alerts=len(alerts),
        )

    async def _why(self, release: str) -> Mapping[str, Any]:
        """Return why the release was rolled back, once its failing traces and the rest are there; else what there is."""
        found: Mapping[str, Any] = {}
        deadline_s = time.monotonic() + TRACE_WITHIN_S
        while time.monotonic() < deadline_s:
            with suppress(Unavailable, NotFound):
                found = await self._stack.api.get(f"/releases/{release}/why")
            if found.get("failing_traces") and found["traces"] == "ok":
                break
            await asyncio.sleep(STAY_EVERY_S)
        return found

    async def _trace(self, correlation_id: str) -> str:
        """Return the trace of a failed request; "" when the telemetry process has not got it in time."""
        deadline_s = time.monotonic() + TRACE_WITHIN_S
        while time.monotonic() < deadline_s:
            try:
                found = await self._stack.api.get(f"/traces?correlation_id={correlation_id}")
            except (Unavailable, NotFound):
                found = {}
            if traces := found.get("traces"):
                return str(traces[0]["trace_id"])
            await asyncio.sleep(5 * LOOK_EVERY_S)
        return ""


def about_the_rules() -> str:
    """Say by which plan and policy the demo releases, and that they are no example for real life."""
    plan, policy = ready.plan(RULES), ready.policy(RULES)
    ladder = ", ".join(f"{percent(step.share):g}" for step in plan.steps)
    return (
        f"both releases go by a plan and a policy made for the demo: {ladder} % of the traffic, each held for "
        f"{plan.steps[0].hold_s:g} s at most, {policy.warmup_s:g} s of warm-up, odds of "
        f"{1 / policy.tolerance.alpha:.0f} to 1 take it back; real ones take minutes"
    )


def result(told: Told, seen: Users, *, started_at: float) -> dict[str, Any]:
    """Return the numbers as `serinus demo --once --json` prints them.

    Args:
        told: The story.
        seen: The users.
        started_at: When the command was started, seconds since 1970 (UTC).
    """
    return {
        "good": asdict(told.good),
        "bad": asdict(told.bad),
        "first_rollback_s": round(told.rolled_back_at - started_at, 1),
        "user_requests": seen.requests,
        "user_errors": seen.errors,
        "user_errors_outside_canary": seen.errors_outside_canary,
    }
