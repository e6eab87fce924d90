"""Hypothesis plays judges, people, clocks and crashes against one keeper: what must hold, holds after every step."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controller.errors import SerinusError
from controller.model.lease import Closure, ClosureKind, Lease, Renewal
from tests.controller.routing.keeping import KEY, SHOP, Desk, HandClock, asking, open_desk

RELEASES = st.sampled_from(["rel-a", "rel-b", "rel-c"])
VERSIONS = st.sampled_from(["v1", "v2", "v3", "v4", "v9"])


class Routing(RuleBasedStateMachine):
    """One target, three releases, one disk, one clock that only moves forward."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="srn"))
        self.clock = HandClock()
        self.boots = 1
        self.desk: Desk
        self.granted: list[Lease] = []
        self.closed: dict[str, Closure] = {}

    def teardown(self) -> None:
        """End the last router."""
        self.runner.run(self.desk.keeper.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)

    async def _open(self) -> Desk:
        return await open_desk(self.folder / "book.db", boot=f"boot-{self.boots}", clock=self.clock)

    @initialize()
    def start(self) -> None:
        """A router that knows the shop."""
        self.desk = self.runner.run(self._open())
        self.runner.run(self.desk.keeper.declare(SHOP))

    @rule(
        release=RELEASES, version=VERSIONS, behind=st.integers(0, 1), term_s=st.sampled_from([1.0, 5.0, 30.0])
    )
    def grant(self, release: str, version: str, behind: int, term_s: float) -> None:
        """Somebody asks for a lease, sometimes with an old epoch."""
        newest = self.granted[-1].epoch if self.granted else 0
        request = asking(release, version, after=max(0, newest - behind), term_s=term_s)
        with suppress(SerinusError):
            self.granted.append(self.runner.run(self.desk.keeper.grant(request)))
            assert release not in self.closed

    @rule(release=RELEASES, behind=st.integers(0, 2))
    def renew(self, release: str, behind: int) -> None:
        """Somebody renews, perhaps an old holder."""
        newest = self.granted[-1].epoch if self.granted else 0
        self.runner.run(self.desk.keeper.renew([Renewal(KEY, release, max(0, newest - behind))]))

    @rule(release=RELEASES, kind=st.sampled_from([ClosureKind.FAILED, ClosureKind.ABORTED]))
    def close(self, release: str, kind: ClosureKind) -> None:
        """A judge or a person closes a release; the first closure is the one that is answered."""
        closure = self.runner.run(self.desk.keeper.close(KEY, release, kind, "because"))
        assert self.closed.setdefault(release, closure) == closure

    @rule(release=RELEASES, version=st.sampled_from(["v2", "v3"]))
    def promote(self, release: str, version: str) -> None:
        """A release is promoted, if nothing closed it before."""
        with suppress(SerinusError):
            closure = self.runner.run(self.desk.keeper.promote(KEY, release, version))
            assert self.closed.setdefault(release, closure) == closure

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.9, 5.0, 40.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by; the router may tick or not."""
        self.clock.now_s += seconds

    @rule()
    def tick(self) -> None:
        """The router ticks."""
        self.runner.run(self.desk.tick())

    @rule()
    def crash(self) -> None:
        """The router is killed and starts again from what is on disk."""
        dead, self.desk = self.desk, self.runner.run(self._open())
        self.runner.run(dead.book.aclose())

    @rule()
    def reboot(self) -> None:
        """The whole host starts again: another boot id, a clock that begins anew."""
        self.boots += 1
        self.clock.now_s = 1.0
        self.crash()

    @invariant()
    def only_one_holder(self) -> None:
        """Whoever has a share is the newest holder, unexpired as far as it was ever told, and not closed."""
        share = self.desk.keeper.shares().get(KEY)
        if share is None:
            return
        newest = self.granted[-1]
        assert (share.release, share.version, share.share) == (newest.release, newest.version, newest.share)
        assert share.release not in self.closed

    @invariant()
    def epochs_grow(self) -> None:
        """No epoch is given twice, whatever was restarted."""
        epochs = [lease.epoch for lease in self.granted]
        assert epochs == sorted(set(epochs))

    @invariant()
    def traffic_never_outlives_a_closure(self) -> None:
        """What the proxy applies belongs to no closed release."""
        applied = self.desk.plane.share_of(KEY)
        assert applied is None or applied.release not in self.closed


TestRouting = Routing.TestCase
TestRouting.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
