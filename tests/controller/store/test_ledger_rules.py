"""Whatever is asked of the ledger in whatever order, memory and SQL answer alike, and its promises hold."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controller.errors import SerinusError
from controller.model.notice import Notice
from controller.model.plan import Plan, Policy, Step
from controller.model.release import (
    Change,
    Command,
    CommandKind,
    JournalEvent,
    Outcome,
    Progress,
    ReleaseOrder,
    State,
)
from controller.model.share import BasisPoints
from controller.model.target import Target
from controller.model.verdict import Decision, Ground, Verdict
from controller.store.memory import MemoryStore
from controller.store.sql import SqlStore

PLAN = Plan("short", (Step(BasisPoints(500)), Step(BasisPoints(5_000))))
RELEASES = st.sampled_from(["rel-1", "rel-2", "rel-3", "rel-4"])
TARGETS = st.sampled_from(["a", "b"])
KEYS = st.sampled_from(["k1", "k2", "k3", "k4"])
DIGESTS = st.sampled_from(["same", "same", "other"])
CHANNELS = st.sampled_from(["hook", "chat"])
KINDS = st.sampled_from([kind for kind in CommandKind if kind is not CommandKind.START])
VERDICTS = st.builds(
    Verdict,
    st.sampled_from(Decision),
    st.sampled_from(Ground),
    canary_total=st.integers(0, 2**40),
    limit=st.none() | st.floats(0, 1),
    window_s=st.floats(0, 1e9),
)
CHANGES = st.none() | st.builds(
    Change,
    state=st.none() | st.sampled_from(State),
    step=st.none() | st.integers(0, 1),
    share=st.none() | st.sampled_from([BasisPoints(0), BasisPoints(500)]),
    outcome=st.none() | st.sampled_from(Outcome),
    reason=st.none()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    verdict=st.none() | VERDICTS,
    ended_at=st.none() | st.floats(0, 4e9),
    facts=st.dictionaries(st.sampled_from(["verdict_at", "closed_at"]), st.floats(0, 4e9)),
)


class Ledgers(RuleBasedStateMachine):
    """Two ledgers that are told the same."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.memory = MemoryStore()
        self.acknowledged: set[str] = set()

    @initialize()
    def open_sql(self) -> None:
        """Begin with nothing."""
        self.sql = self.loop.run(SqlStore.open(f"sqlite:///{self.folder}/ledger.db"))

    def both(self, name: str, *args: object, **options: object) -> object:
        """Ask both the same; an error of ours counts as an answer. Returns what memory said."""
        answers = [self.ask(getattr(store, name)(*args, **options)) for store in (self.memory, self.sql)]
        assert answers[0] == answers[1], (name, answers)
        return answers[0]

    def ask(self, call: Coroutine[Any, Any, object]) -> object:
        """The answer, or the error as a value that can be compared."""

        async def run() -> object:
            return await call

        try:
            return self.loop.run(run())
        except SerinusError as error:
            return type(error), error.message, error.field, getattr(error, "release", None)

    @rule(release=RELEASES, name=TARGETS, key=KEYS, digest=DIGESTS)
    def order(self, release: str, name: str, key: str, digest: str) -> None:
        """Order a release."""
        shop = Target(name=name, stable="v1", versions={"v1": (), "v2": ("h:1",)})
        made = ReleaseOrder(release, shop, "v2", PLAN, Policy("calm"), "ada", "corr", 1.5)
        self.both("order", made, Command(key, release, CommandKind.START, "ada", 1.5, digest=digest))

    @rule(release=RELEASES)
    def discard(self, release: str) -> None:
        """Take an order back."""
        self.both("discard", release)

    @rule(
        release=RELEASES,
        what=st.integers(0, 5),
        change=CHANGES,
        channels=st.sets(CHANNELS),
        alert=st.sampled_from("xy"),
    )
    def record(self, release: str, what: int, change: Change | None, channels: set[str], alert: str) -> None:
        """Write an event; few ids, so that repeats are common."""
        event = JournalEvent(f"{release}:e:{what}", release, f"e{what}", "text", 2.5, details={"n": what})
        notices = [
            Notice(f"{release}.{alert}", each, alert, release, "t", "text", 3.5) for each in sorted(channels)
        ]
        answer = self.both("record", event, change, notices)
        if isinstance(answer, int):
            self.acknowledged.add(event.id)

    @rule(release=RELEASES, n=st.integers(0, 1))
    def finish(self, release: str, n: int) -> None:
        """Let a release go of its target, so that the next can have it."""
        change = Change(state=State.DONE, outcome=Outcome.ABORTED, ended_at=5.5)
        self.both("record", JournalEvent(f"{release}:done:{n}", release, "done", "text", 5.5), change)

    @rule(release=RELEASES, step=st.integers(0, 1), verdict=VERDICTS, at=st.floats(0, 100))
    def report(self, release: str, step: int, verdict: Verdict, at: float) -> None:
        """Let a judge report."""
        self.both("report", Progress(release, step, BasisPoints(700), verdict, at))

    @rule(release=RELEASES, key=KEYS, kind=KINDS, digest=DIGESTS)
    def tell(self, release: str, key: str, kind: CommandKind, digest: str) -> None:
        """Send a command."""
        self.both("add_command", Command(key, release, kind, "bob", 4.5, digest=digest))

    @rule(key=KEYS, is_accepted=st.booleans())
    def settle(self, key: str, is_accepted: bool) -> None:
        """Let the orchestrator answer a command."""
        self.both("settle_command", key, is_accepted=is_accepted, note="note")

    @rule(release=RELEASES, alert=st.sampled_from("xy"), channel=CHANNELS, is_delivered=st.booleans())
    def mark(self, release: str, alert: str, channel: str, is_delivered: bool) -> None:
        """Try a delivery."""
        self.both("mark_notice", f"{release}.{alert}", channel, is_delivered=is_delivered)

    @rule(name=TARGETS, stable=st.sampled_from(["v1", "v2"]), is_deleted=st.booleans())
    def declare(self, name: str, stable: str, is_deleted: bool) -> None:
        """Declare or delete a target."""
        if is_deleted:
            self.both("delete_target", "local", name)
        else:
            self.both("put_target", Target(name=name, stable=stable, versions={"v1": (), "v2": ()}))

    @rule(
        name=st.none() | TARGETS,
        active=st.none() | st.booleans(),
        before=st.none() | RELEASES,
        limit=st.integers(0, 3),
        after=st.integers(-1, 30),
        release=RELEASES,
    )
    def look(
        self,
        name: str | None,
        active: bool | None,
        before: str | None,
        limit: int,
        after: int,
        release: str,
    ) -> None:
        """Ask for pages."""
        self.both("list_releases", target=name, active=active, before=before, limit=limit)
        self.both("events", release, after=after, limit=limit)
        self.both("pending_commands", limit=limit)
        self.both("pending_notices", "hook", limit=limit)

    @rule()
    def restart(self) -> None:
        """Close the SQL ledger and open it again; nothing is lost."""
        self.loop.run(self.sql.aclose())
        self.open_sql()

    @invariant()
    def at_most_one_active_release_a_target(self) -> None:
        """A target is never held twice."""
        active = self.loop.run(self.memory.list_releases(active=True))
        held = [release.order.target.key for release in active]
        assert len(held) == len(set(held))

    @rule()
    def compare(self) -> None:
        """Everything that can be asked for is equal in both, and nothing that was acknowledged is missing."""
        for name in ("list_targets", "list_releases", "pending_commands", "pending_channels"):
            self.both(name)
        for channel in ("hook", "chat"):
            self.both("pending_notices", channel)
        written: list[JournalEvent] = []
        for release in ("rel-1", "rel-2", "rel-3", "rel-4"):
            self.both("get_release", release)
            self.both("notices", release)
            events = self.both("events", release)
            assert isinstance(events, tuple)
            assert [event.seq for event in events] == sorted({event.seq for event in events})
            written += events
        assert self.acknowledged <= {event.id for event in written}
        assert len({event.seq for event in written}) == len(written)

    def teardown(self) -> None:
        """Compare once more, and leave nothing behind."""
        try:
            if hasattr(self, "sql"):
                self.compare()
                self.loop.run(self.sql.aclose())
        finally:
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)


UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck))


class ManyLedgers(Ledgers):
    """The same for the long form: hypothesis makes one test of one machine."""


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(UNHURRIED, max_examples=10, stateful_step_count=30)

TestManyLedgers = pytest.mark.long(pytest.mark.timeout(900)(ManyLedgers.TestCase))
TestManyLedgers.settings = settings(UNHURRIED, max_examples=150, stateful_step_count=40)
