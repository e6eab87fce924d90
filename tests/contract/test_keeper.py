"""What every lease keeper does: in the same process, and through the router's socket."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller.errors import (
    DataPlaneRefused,
    EpochConflict,
    InvalidInput,
    LeaseHeld,
    NotFound,
    ReleaseClosed,
    RouterUnavailable,
)
from controller.model.lease import Closure, ClosureKind, Observation, Renewal, Standing
from controller.model.look import SourceState
from controller.model.plan import Plan, Policy, Step
from controller.model.share import basis_points
from controller.model.target import Target, TargetKey
from controller.model.traffic import Asked, Match
from controller.model.verdict import Decision, Ground, Verdict
from controller.routing.keeper import Keeper
from controller.routing.port import LeaseKeeper
from controller.routing.remote import RemoteKeeper
from controller.routing.server import RouterServer
from tests.controller.routing.keeping import KEY, SHOP, Desk, asking, open_desk

VERDICT = Verdict(Decision.FAIL, Ground.ERROR_RATE, 100, 20, 900, 9, limit=0.05, window_s=12.5, look=7)


@dataclass(slots=True)
class Bench:
    """The keeper under test and the router behind it."""

    keeper: LeaseKeeper
    desk: Desk


@pytest.fixture(params=["keeper", "remote"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each way to reach a keeper; the shop is declared."""
    desk = await open_desk()
    await desk.keeper.declare(SHOP)
    if request.param == "keeper":
        yield Bench(desk.keeper, desk)
    else:
        folder = Path(tempfile.mkdtemp(prefix="srn"))
        server = RouterServer(keeper=desk.keeper, socket=folder / "r.sock")
        await server.start()
        remote = RemoteKeeper(folder / "r.sock")
        yield Bench(remote, desk)
        await remote.aclose()
        await server.aclose(grace_s=0)
        shutil.rmtree(folder)
    await desk.keeper.aclose()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A short folder for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="srn"))
    yield folder
    shutil.rmtree(folder)


async def test_a_declared_target_comes_back_whole(bench: Bench) -> None:
    """A target with plan and policy comes back as it was declared."""
    plan = Plan(name="two", steps=(Step(basis_points(500)), Step(basis_points(5_000), gate=True)))
    whole = replace(SHOP, name="orders", hosts=(), plan=plan, policy=Policy(name="strict"))
    await bench.keeper.declare(replace(whole, hosts=("orders.localhost",)))

    found = {target.key: target for target in await bench.keeper.targets()}

    assert found[KEY] == SHOP
    assert found[whole.key] == replace(whole, hosts=("orders.localhost",))


async def test_a_lease_keeps_its_audience(bench: Bench) -> None:
    """It is granted, observed, renewed and served with its matches; the next grant may have others."""
    inside, pilots = Match(headers={"x-internal": "1"}), Match(cookies={"group": "*"}, query={"beta": "yes"})

    lease = await bench.keeper.grant(replace(asking(share=10_000), matches=(inside, pilots)))
    await bench.keeper.renew([Renewal(KEY, "rel-1", 1)])
    observed = await bench.keeper.observe(KEY)

    assert lease.matches == (inside, pilots)
    assert observed.lease is not None
    assert (observed.lease.share, observed.lease.matches) == (10_000, (inside, pilots))
    bench.desk.plane.serve(KEY, 10)
    bench.desk.plane.serve(KEY, 20, asked=Asked(headers={"x-internal": "1"}))
    arms = bench.desk.plane.counters(SHOP).arms
    assert {version: arm.total for version, arm in arms.items() if arm.total} == {"v1": 10, "v2": 20}

    await bench.keeper.grant(asking(share=500, after=1))
    after = bench.desk.plane.share_of(KEY)
    assert after is not None
    assert (after.share, after.matches) == (500, ())


async def test_declaring_again_keeps_the_stable_version(bench: Bench) -> None:
    """Only a promotion moves stable: a second declaration with another one does not."""
    await bench.keeper.declare(replace(SHOP, stable="v3"))

    assert (await bench.keeper.observe(KEY)).stable == "v1"


async def test_the_stable_version_must_stay_declared(bench: Bench) -> None:
    """A declaration without the version that serves everybody is refused."""
    without = replace(SHOP, stable="v2", versions={"v2": ("127.0.0.1:7002",)})

    with pytest.raises(InvalidInput) as caught:
        await bench.keeper.declare(without)

    assert caught.value.field == "versions"


async def test_two_targets_cannot_own_one_host(bench: Bench) -> None:
    """A host that belongs to another target is refused and named as the field."""
    with pytest.raises(InvalidInput) as caught:
        await bench.keeper.declare(replace(SHOP, name="orders"))

    assert caught.value.field == "hosts"
    assert len(await bench.keeper.targets()) == 1


async def test_a_refused_declaration_changes_nothing(bench: Bench) -> None:
    """When a proxy says no, the error carries its words and the target is what it was."""
    bench.desk.plane.mischief.refusal = "no such cluster"

    with pytest.raises(DataPlaneRefused, match="no such cluster"):
        await bench.keeper.declare(SHOP.at("v2", ("127.0.0.1:9999",)))

    assert await bench.keeper.targets() == (SHOP,)


async def test_a_grant_sets_the_share_and_the_next_epoch(bench: Bench) -> None:
    """A lease has the next epoch, counts from the call, and traffic sees its share."""
    lease = await bench.keeper.grant(asking(share=1_234, term_s=5.0))

    seen = await bench.keeper.observe(KEY)
    assert (lease.epoch, lease.share, lease.deadline_s) == (1, 1_234, bench.desk.clock.now_s + 5.0)
    assert (seen.lease, seen.epoch, seen.is_applied) == (lease, 1, True)
    assert bench.desk.share() == 1_234


async def test_a_grant_needs_a_known_version_with_an_address(bench: Bench) -> None:
    """Unknown targets and versions, versions without an address and the stable one get no lease."""
    for request in (asking(target=TargetKey("local.nobody")), asking(version="v9"), asking(version="v4")):
        with pytest.raises(NotFound):
            await bench.keeper.grant(request)
    with pytest.raises(InvalidInput):
        await bench.keeper.grant(asking(version="v1"))

    assert (await bench.keeper.observe(KEY)).epoch == 0


async def test_another_release_waits_for_the_lease_to_end(bench: Bench) -> None:
    """A live lease keeps others out; when it has lapsed they come in with the next epoch."""
    await bench.keeper.grant(asking("rel-1"))

    with pytest.raises(LeaseHeld):
        await bench.keeper.grant(asking("rel-2", after=1))
    bench.desk.clock.now_s += 5.0

    assert (await bench.keeper.grant(asking("rel-2", "v3", after=1))).epoch == 2


async def test_a_stale_epoch_gets_no_lease(bench: Bench) -> None:
    """Compare-and-set: a judge that has not seen the newest epoch is refused."""
    await bench.keeper.grant(asking("rel-1"))

    with pytest.raises(EpochConflict):
        await bench.keeper.grant(asking("rel-1", share=5_000, after=0))

    assert bench.desk.share() == 1_000


async def test_renewals_are_answered_line_by_line(bench: Bench) -> None:
    """One batch may hold a renewed, a superseded, a lapsed and a closed line; none of them raises."""
    orders = replace(SHOP, name="orders", hosts=("orders.localhost",))
    quotes = replace(SHOP, name="quotes", hosts=("quotes.localhost",))
    for target in (orders, quotes):
        await bench.keeper.declare(target)
    await bench.keeper.grant(asking("rel-1"))
    await bench.keeper.grant(asking("rel-2", target=orders.key, term_s=1.0))
    await bench.keeper.grant(asking("rel-3", target=quotes.key))
    closure = await bench.keeper.close(quotes.key, "rel-3", ClosureKind.ABORTED, "enough")
    bench.desk.clock.now_s += 2.0

    answers = await bench.keeper.renew(
        [
            Renewal(KEY, "rel-1", 1),
            Renewal(KEY, "rel-0", 0),
            Renewal(orders.key, "rel-2", 1),
            Renewal(quotes.key, "rel-3", 1),
            Renewal(TargetKey("local.nobody"), "rel-9", 4),
        ]
    )

    assert [answer.standing for answer in answers] == [
        Standing.RENEWED,
        Standing.SUPERSEDED,
        Standing.LAPSED,
        Standing.CLOSED,
        Standing.SUPERSEDED,
    ]
    assert answers[3].closure == closure


async def test_a_renewed_lease_lives_another_term(bench: Bench) -> None:
    """Each renewal counts from its own call."""
    await bench.keeper.grant(asking(term_s=5.0))
    bench.desk.clock.now_s += 4.0
    await bench.keeper.renew([Renewal(KEY, "rel-1", 1)])

    bench.desk.clock.now_s += 4.0
    await bench.desk.tick()

    assert bench.desk.share() == 1_000


async def test_a_lapsed_lease_leaves_the_proxies_and_stays_lapsed(bench: Bench) -> None:
    """What lapsed is dropped at the next tick; only a grant with a new epoch brings it back."""
    await bench.keeper.grant(asking(term_s=5.0))
    bench.desk.clock.now_s += 5.0
    await bench.desk.tick()

    (answer,) = await bench.keeper.renew([Renewal(KEY, "rel-1", 1)])

    assert (answer.standing, bench.desk.share()) == (Standing.LAPSED, 0)
    assert (await bench.keeper.grant(asking(after=1))).epoch == 2
    assert bench.desk.share() == 1_000


async def test_close_is_final_and_carries_the_verdict(bench: Bench) -> None:
    """A closed release loses its share at once and every later grant meets the closure with its numbers."""
    await bench.keeper.grant(asking())

    closure = await bench.keeper.close(KEY, "rel-1", ClosureKind.FAILED, "20 % failed", VERDICT)

    assert closure == Closure(
        KEY, "rel-1", ClosureKind.FAILED, "20 % failed", bench.desk.clock.wall_s(), VERDICT
    )
    assert bench.desk.share() == 0
    with pytest.raises(ReleaseClosed) as caught:
        await bench.keeper.grant(asking(after=1))
    assert caught.value.closure == closure


async def test_the_first_closure_stands(bench: Bench) -> None:
    """Closing again returns what was said first, whoever asks and for whatever reason."""
    first = await bench.keeper.close(KEY, "rel-1", ClosureKind.FAILED, "first", VERDICT)
    bench.desk.clock.now_s += 60

    again = await bench.keeper.close(KEY, "rel-1", ClosureKind.ABORTED, "second")

    assert again == first


async def test_a_release_nobody_knows_can_be_closed(bench: Bench) -> None:
    """An abort works in every state: before the first lease, and for a target that was never declared."""
    await bench.keeper.close(KEY, "rel-7", ClosureKind.ABORTED, "too late")
    nobody = await bench.keeper.close(TargetKey("local.nobody"), "rel-8", ClosureKind.ABORTED, "gone")

    with pytest.raises(ReleaseClosed):
        await bench.keeper.grant(asking("rel-7"))
    assert nobody.reason == "gone"


async def test_a_close_leaves_another_release_alone(bench: Bench) -> None:
    """Closing an old release does not touch the lease of the present one."""
    await bench.keeper.grant(asking("rel-2"))

    await bench.keeper.close(KEY, "rel-1", ClosureKind.ABORTED, "old")
    await bench.keeper.renew([Renewal(KEY, "rel-1", 1)])

    assert bench.desk.share() == 1_000
    assert (await bench.keeper.renew([Renewal(KEY, "rel-2", 1)]))[0].standing is Standing.RENEWED


async def test_promotion_moves_stable_and_bars_the_release(bench: Bench) -> None:
    """The version serves everybody, the lease is over, and asking again changes nothing."""
    await bench.keeper.grant(asking())

    closure = await bench.keeper.promote(KEY, "rel-1", "v2")

    seen = await bench.keeper.observe(KEY)
    assert (closure.kind, seen.stable, seen.lease, bench.desk.share()) == (
        ClosureKind.PROMOTED,
        "v2",
        None,
        0,
    )
    assert await bench.keeper.promote(KEY, "rel-1", "v2") == closure
    assert await bench.keeper.close(KEY, "rel-1", ClosureKind.ABORTED, "late") == closure


async def test_a_closed_release_is_not_promoted(bench: Bench) -> None:
    """An abort that came first wins: stable stays where it is."""
    closure = await bench.keeper.close(KEY, "rel-1", ClosureKind.ABORTED, "no")

    with pytest.raises(ReleaseClosed) as caught:
        await bench.keeper.promote(KEY, "rel-1", "v2")

    assert caught.value.closure == closure
    assert (await bench.keeper.observe(KEY)).stable == "v1"


async def test_promotion_needs_a_version_with_an_address(bench: Bench) -> None:
    """Nothing that cannot answer becomes stable."""
    for target, version in ((KEY, "v9"), (KEY, "v4"), (TargetKey("local.nobody"), "v2")):
        with pytest.raises(NotFound):
            await bench.keeper.promote(target, "rel-1", version)

    assert (await bench.keeper.observe(KEY)).stable == "v1"


async def test_a_target_with_a_live_lease_is_not_removed(bench: Bench) -> None:
    """Its release must be closed first; afterwards it goes, and going twice is fine."""
    await bench.keeper.grant(asking())
    with pytest.raises(LeaseHeld):
        await bench.keeper.remove(KEY)
    await bench.keeper.close(KEY, "rel-1", ClosureKind.ABORTED, "no")

    await bench.keeper.remove(KEY)
    await bench.keeper.remove(KEY)

    assert await bench.keeper.targets() == ()
    with pytest.raises(NotFound):
        await bench.keeper.observe(KEY)


async def test_a_target_that_comes_back_goes_on_with_its_epochs(bench: Bench) -> None:
    """Removing a target does not let an old holder or a closed release in again."""
    await bench.keeper.grant(asking())
    await bench.keeper.close(KEY, "rel-1", ClosureKind.FAILED, "bad")
    await bench.keeper.remove(KEY)

    await bench.keeper.declare(SHOP)

    assert (await bench.keeper.observe(KEY)).epoch == 1
    with pytest.raises(ReleaseClosed):
        await bench.keeper.grant(asking(after=1))


async def test_counters_come_apart_by_version(bench: Bench) -> None:
    """What the proxy counted arrives whole, with its generation and its age."""
    await bench.keeper.grant(asking(share=2_500))
    bench.desk.plane.serve(KEY, 400, lambda version: version == "v1")
    bench.desk.plane.mischief.age_s = 4.0
    bench.desk.plane.mischief.source = SourceState.STALE

    reading = await bench.keeper.counters(KEY)

    assert reading == bench.desk.plane.counters(SHOP)
    assert (reading.arms["v2"].total, reading.arms["v2"].failed, reading.arms["v1"].total) == (100, 100, 300)
    assert (reading.source, reading.age_s) == (SourceState.STALE, 4.0)


async def test_history_says_how_long_it_knows(bench: Bench) -> None:
    """A shorter window than asked for is answered with its own length."""
    bench.desk.plane.serve(KEY, 100)
    bench.desk.clock.now_s += 10
    bench.desk.plane.serve(KEY, 50, lambda version: False)

    history = await bench.keeper.history(KEY, "v1", 600.0)

    assert (history.window_s, history.total, history.failed, history.requests_per_s) == (10.0, 50, 50, 5.0)


async def test_nothing_is_known_of_an_unknown_target(bench: Bench) -> None:
    """Questions about a target that was never declared are answered with NotFound."""
    nobody = TargetKey("local.nobody")

    for question in (
        bench.keeper.observe(nobody),
        bench.keeper.counters(nobody),
        bench.keeper.history(nobody, "v1", 60.0),
        bench.keeper.history(KEY, "v9", 60.0),
    ):
        with pytest.raises(NotFound):
            await question


async def test_an_observation_without_proxies_is_not_applied(bench: Bench) -> None:
    """Nobody serving is said, not hidden: a grant holds, but it is applied nowhere."""
    bench.desk.plane.mischief.is_away = True

    await bench.keeper.grant(asking())

    assert (await bench.keeper.observe(KEY)).is_applied is False


async def test_an_observation_says_how_often_a_proxy_lost_its_shares(bench: Bench) -> None:
    """While it has none it is not applied and says why; afterwards the number is still there for who looks late."""
    await bench.keeper.grant(asking())
    bench.desk.plane.mischief.has_lost_layer = True
    lost = await bench.keeper.observe(KEY)
    await bench.desk.tick()
    healed = await bench.keeper.observe(KEY)

    assert [(seen.is_applied, bool(seen.nodes[0].refusal)) for seen in (lost, healed)] == [
        (False, True),
        (True, False),
    ]
    assert (lost.nodes[0].lapses, healed.nodes[0].lapses) == (0, 1)


async def test_a_router_that_is_not_there_is_unavailable(short_path: Path) -> None:
    """Without a router every call ends as RouterUnavailable within its deadline, and can be repeated."""
    remote = RemoteKeeper(short_path / "nobody.sock")

    with pytest.raises(RouterUnavailable):
        await remote.targets()
    with pytest.raises(RouterUnavailable):
        await remote.renew([])

    await remote.aclose()


async def test_a_router_that_comes_back_is_found(short_path: Path) -> None:
    """The same client goes on with a restarted router on the same socket."""
    desk = await open_desk()
    await desk.keeper.declare(SHOP)
    remote = RemoteKeeper(short_path / "r.sock")
    first = RouterServer(keeper=desk.keeper, socket=short_path / "r.sock")
    await first.start()
    before = await remote.targets()
    await first.aclose(grace_s=0)
    with pytest.raises(RouterUnavailable):
        await remote.targets()
    second = RouterServer(keeper=desk.keeper, socket=short_path / "r.sock")
    await second.start()

    after: tuple[Target, ...] = ()
    async with asyncio.timeout(5):
        while not after:
            with suppress(RouterUnavailable):
                after = await remote.targets()
            await asyncio.sleep(0.01)  # the channel's own back-off is 0.1 s of real time

    await remote.aclose()
    await second.aclose(grace_s=0)
    await desk.keeper.aclose()
    assert before == after == (SHOP,)


class Broken(Keeper):
    """A keeper with a bug."""

    async def observe(self, target: TargetKey) -> Observation:
        """Fail with something that is no error of ours."""
        raise KeyError("a secret detail")


async def test_a_bug_behind_the_socket_keeps_its_details(short_path: Path) -> None:
    """A bug is logged by the router and reaches the caller as RouterUnavailable, without its text."""
    desk = await open_desk()
    broken = Broken(
        plane=desk.plane, book=desk.book, boot_clock=desk.clock.boot_s, wall_clock=desk.clock.wall_s
    )
    server = RouterServer(keeper=broken, socket=short_path / "r.sock")
    await server.start()
    remote = RemoteKeeper(short_path / "r.sock")

    with pytest.raises(RouterUnavailable) as caught:
        await remote.observe(KEY)

    assert "secret" not in caught.value.message
    await remote.aclose()
    await server.aclose(grace_s=0)
    await desk.keeper.aclose()
