"""The shipped memory adapters behind the use cases and the API: the world of these tests, with a clock that stands still."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property

import httpx
from fastapi import FastAPI

from controller.api.app import create_app
from controller.api.events import Streaming
from controller.errors import RouterUnavailable
from controller.model.lease import Closure, ClosureKind, GrantRequest, Lease
from controller.model.look import History
from controller.model.release import Change, JournalEvent, Outcome, Release, State
from controller.model.share import BasisPoints
from controller.model.target import Target, TargetKey
from controller.model.verdict import Decision, Ground, Verdict
from controller.releases.request import Caller, StartRequest
from controller.releases.use_cases import assemble
from controller.routing.book import Book
from controller.routing.keeper import Keeper
from controller.routing.memory import MemoryPlane
from controller.runner.memory import MemoryRunner
from controller.settings import Api, Temporal
from controller.store.memory import MemoryStore
from controller.workloads.external import ExternalWorkloads
from controller.workloads.memory import MemoryWorkloads
from tests.controller.traces.recorded import Recorded

TOKEN = "a-token-that-only-the-tests-know"
KEY = TargetKey("local.catalog")
CATALOG = Target(
    name="catalog",
    stable="v1",
    versions={version: (f"127.0.0.1:900{place}",) for place, version in enumerate(("v1", "v2", "v3"))},
)
BAD_NEWS = Verdict(
    decision=Decision.FAIL,
    ground=Ground.RAIL_FAILING,
    canary_total=40,
    canary_failed=30,
    limit=0.5,
    window_s=4,
)


class CutKeeper(Keeper):
    """The keeper behind a wire that can be cut.

    Attributes:
        is_down: Every call raises `RouterUnavailable` while it is set.
        after_close: Called when a close has been answered: what happens right afterwards.
        known: What every target has served, instead of what the plane counted.
    """

    is_down = False
    known: History | None = None
    after_close: Callable[[], None] | None = None

    def _check(self) -> None:
        if self.is_down:
            raise RouterUnavailable("the wire to the router is cut")

    async def declare(self, target: Target) -> None:
        """Declare, if the wire is whole."""
        self._check()
        await super().declare(target)

    async def remove(self, target: TargetKey) -> None:
        """Remove, if the wire is whole."""
        self._check()
        await super().remove(target)

    async def targets(self) -> tuple[Target, ...]:
        """List, if the wire is whole."""
        self._check()
        return await super().targets()

    async def history(self, target: TargetKey, version: str, window_s: float) -> History:
        """Say what was served, if the wire is whole."""
        self._check()
        return self.known or await super().history(target, version, window_s)

    async def promote(self, target: TargetKey, release: str, version: str) -> Closure:
        """Promote, if the wire is whole."""
        self._check()
        return await super().promote(target, release, version)

    async def close(
        self, target: TargetKey, release: str, kind: ClosureKind, reason: str, verdict: Verdict | None = None
    ) -> Closure:
        """Close, if the wire is whole."""
        self._check()
        closure = await super().close(target, release, kind, reason, verdict)
        if self.after_close is not None:
            self.after_close()
        return closure


class World:
    """Everything that a test can look at or break."""

    def __init__(self, *, keeper: CutKeeper, plane: MemoryPlane, streaming: Streaming | None = None) -> None:
        self.now = 1_000.0
        self.keeper = keeper
        self.plane = plane
        self.store = MemoryStore()
        self.runner = MemoryRunner()
        self.traces = Recorded()
        self.embedded = MemoryWorkloads()
        ids = itertools.count(1)
        self.use_cases = assemble(
            store=self.store,
            keeper=keeper,
            runner=self.runner,
            traces=self.traces,
            workloads={"external": ExternalWorkloads(), "embedded": self.embedded},
            clock=lambda: self.now,
            new_id=lambda: f"id{next(ids)}",
        )
        self._streaming = streaming

    @cached_property
    def app(self) -> FastAPI:
        """The API over this world."""
        return create_app(
            use_cases=self.use_cases,
            traces=self.traces,
            token=TOKEN,
            settings=Api(),
            temporal=Temporal(),
            streaming=self._streaming,
            clock=lambda: self.now,
        )

    def client(self, *, token: str | None = TOKEN) -> httpx.AsyncClient:
        """Return a client of the API; errors that nobody caught are raised in the test."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://localhost:8640", headers=headers
        )

    async def start(self, version: str = "v2", *, key: str = "", target: str = "catalog") -> Release:
        """Order a release of the catalog."""
        return await self.use_cases.ordering.start(StartRequest(target=target, version=version), caller(key))

    async def lease(self, release: str, *, share: int = 1_000) -> Lease:
        """Give a release a share, as its judge would."""
        seen = await self.keeper.observe(KEY)
        return await self.keeper.grant(
            GrantRequest(
                target=KEY,
                release=release,
                version="v2",
                share=BasisPoints(share),
                term_s=5.0,
                after_epoch=seen.epoch,
            )
        )

    async def note(self, release: str, kind: str, change: Change | None = None, *, text: str = "") -> int:
        """Journal something, as the workflow would."""
        return await self.store.record(
            JournalEvent(
                id=f"{release}:{kind}:1", release=release, kind=kind, text=text or kind, at=self.now
            ),
            change,
        )

    async def conclude(self, release: str, outcome: Outcome, *, is_drained: bool = True) -> None:
        """Let a release end, as the workflow would."""
        change = Change(
            state=State.CLOSING, outcome=outcome, reason="because", ended_at=self.now, verdict=BAD_NEWS
        )
        await self.note(release, outcome.value, change)
        if is_drained:
            await self.note(release, "finished", Change(state=State.DONE))
            self.runner.end(KEY)


def caller(key: str = "") -> Caller:
    """Return somebody with the token."""
    return Caller(actor="tester", correlation_id="corr-1", key=key)


@asynccontextmanager
async def a_world(*, has_catalog: bool = True, streaming: Streaming | None = None) -> AsyncIterator[World]:
    """Open a world, with the catalog declared unless told otherwise."""
    plane = MemoryPlane()
    keeper = CutKeeper(
        plane=plane, book=Book.open(":memory:"), boot_clock=lambda: 0.0, wall_clock=lambda: 1_000.0
    )
    await keeper.start()
    try:
        world = World(keeper=keeper, plane=plane, streaming=streaming)
        if has_catalog:
            await world.use_cases.declaring.put(CATALOG)
        yield world
    finally:
        await keeper.aclose()
