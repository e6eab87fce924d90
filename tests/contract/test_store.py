"""The contract of the ledger: every adapter keeps it unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import CommandRefused, InvalidInput, KeyReused, NotFound, TargetBusy
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
from controller.model.share import NOTHING, BasisPoints
from controller.model.target import Target
from controller.model.verdict import Decision, Ground, Part, Verdict
from controller.store.memory import MemoryStore
from controller.store.port import Store
from controller.store.sql import SqlStore

PLAN = Plan("short", (Step(BasisPoints(500), gate=True), Step(BasisPoints(9_500), hold_s=0.5)))
POLICY = Policy("calm", max_error_rate=0.01)
FAIL = Verdict(
    Decision.FAIL,
    Ground.ERROR_RATE,
    canary_total=60,
    canary_failed=12,
    stable_total=900,
    limit=0.01,
    window_s=7.5,
)


@pytest.fixture(params=["memory", "sql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A fresh ledger of each kind."""
    ledger = (
        MemoryStore() if request.param == "memory" else await SqlStore.open(f"sqlite:///{tmp_path}/ledger.db")
    )
    yield ledger
    await ledger.aclose()


def target(name: str = "catalog", **changes: object) -> Target:
    """A target with two versions."""
    made = Target(
        name=name, stable="v1", versions={"v1": ("127.0.0.1:9001",), "v2": ("127.0.0.1:9002",)}, plan=PLAN
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def order(release: str = "rel-1", name: str = "catalog", **changes: object) -> ReleaseOrder:
    """An order of v2."""
    made = ReleaseOrder(release, target(name), "v2", PLAN, POLICY, "ada", "corr-1", 1_000.25)
    return replace(made, **changes)  # type: ignore[arg-type]


def start(release: str = "rel-1", key: str | None = None, digest: str = "d") -> Command:
    """The START of a release."""
    return Command(key or f"start-{release}", release, CommandKind.START, "ada", 1_000.25, digest=digest)


def told(
    key: str, release: str = "rel-1", kind: CommandKind = CommandKind.ABORT, digest: str = "d"
) -> Command:
    """A later command."""
    return Command(
        key, release, kind, "bob", 1_010.5, reason="too slow", correlation_id="corr-2", digest=digest
    )


def happened(what: str, release: str = "rel-1", n: int = 1) -> JournalEvent:
    """An event of a release."""
    details: dict[str, str | int | float | bool | None] = {
        "requests": 60,
        "rate": 0.2,
        "final": True,
        "note": "ok",
        "limit": None,
    }
    return JournalEvent(f"{release}:{what}:{n}", release, what, f"{what} happened", 1_020.0, details=details)


def notice(channel: str = "hook", release: str = "rel-1", what: str = "rolled_back") -> Notice:
    """An alert of a release."""
    return Notice(
        f"{release}.{what}",
        channel,
        f"release.{what}",
        release,
        "Rolled back",
        "12 of 60",
        1_030.0,
        {"share": 5.0},
    )


def progress(release: str = "rel-1", at: float = 5.0, step: int = 0, share: int = 500) -> Progress:
    """A judge's report."""
    return Progress(release, step, BasisPoints(share), FAIL, at)


async def begin(store: Store, release: str = "rel-1", name: str = "catalog") -> None:
    """Order a release."""
    await store.order(order(release, name), start(release))


async def end(store: Store, release: str = "rel-1") -> None:
    """Let a release go of its target."""
    await store.record(
        happened("done", release), Change(state=State.DONE, outcome=Outcome.PROMOTED, ended_at=1_040.0)
    )


async def test_store_target_comes_back_as_it_was(store: Store) -> None:
    """A declared target is returned equal, and only its first declaration is new."""
    declared = target(policy=POLICY, hosts=("a.test", "b.test"), protocol="http2")

    first = await store.put_target(declared)
    again = await store.put_target(declared)

    assert (first, again) == (True, False)
    assert await store.get_target("local", "catalog") == declared


async def test_store_target_is_replaced_whole(store: Store) -> None:
    """A replaced target keeps nothing of the old declaration."""
    await store.put_target(target(policy=POLICY))

    await store.put_target(target(plan=None))

    assert await store.get_target("local", "catalog") == target(plan=None)


async def test_store_targets_are_listed_by_environment_and_name(store: Store) -> None:
    """Targets come sorted by environment, then name, as bytes."""
    for environment, name in (("stage", "a"), ("local", "b"), ("local", "a-b"), ("local", "a")):
        await store.put_target(target(name, environment=environment))

    found = [f"{each.environment}.{each.name}" for each in await store.list_targets()]

    assert found == ["local.a", "local.a-b", "local.b", "stage.a"]


async def test_store_unknown_target_is_not_found(store: Store) -> None:
    """A target of another environment is another target."""
    await store.put_target(target())

    with pytest.raises(NotFound):
        await store.get_target("stage", "catalog")
    with pytest.raises(NotFound):
        await store.delete_target("stage", "catalog")


async def test_store_target_with_active_release_cannot_be_deleted(store: Store) -> None:
    """A target can be deleted only after its release has let go of it; its releases stay."""
    await store.put_target(target())
    await begin(store)

    with pytest.raises(TargetBusy) as refusal:
        await store.delete_target("local", "catalog")
    await end(store)
    await store.delete_target("local", "catalog")

    assert refusal.value.release == "rel-1"
    assert await store.list_targets() == ()
    assert (await store.get_release("rel-1")).state is State.DONE


async def test_store_order_writes_release_and_event(store: Store) -> None:
    """An order makes a release that starts, with its first event and no pending command."""
    ordered = await store.order(order(), start())

    release = await store.get_release("rel-1")
    events = await store.events("rel-1")

    assert ordered.is_new
    assert ordered.release == release
    assert (release.order, release.state, release.share, release.outcome) == (
        order(),
        State.STARTING,
        NOTHING,
        None,
    )
    assert [(event.id, event.kind, event.actor, event.correlation_id) for event in events] == [
        ("rel-1:ordered", "ordered", "ada", "corr-1")
    ]
    assert await store.pending_commands() == ()


async def test_store_same_key_returns_the_same_release(store: Store) -> None:
    """A repeated order with the same key returns what the first one made, even after the release has moved on."""
    await store.order(order(), start(key="k"))
    await store.record(happened("began"), Change(state=State.STEPPING))

    again = await store.order(order("rel-2"), start("rel-2", key="k"))

    assert not again.is_new
    assert (again.release.order.id, again.release.state) == ("rel-1", State.STEPPING)
    assert [release.order.id for release in await store.list_releases()] == ["rel-1"]


async def test_store_same_key_for_another_request_is_refused(store: Store) -> None:
    """One key never stands for two requests, whichever of them came first."""
    await store.order(order(), start(key="k"))
    await store.add_command(told("abort-1"))

    with pytest.raises(KeyReused):
        await store.order(order("rel-2"), start("rel-2", key="k", digest="other"))
    with pytest.raises(KeyReused):
        await store.order(order("rel-2", "orders"), start("rel-2", key="abort-1"))
    with pytest.raises(KeyReused):
        await store.add_command(told("k"))
    with pytest.raises(KeyReused):
        await store.add_command(told("abort-1", digest="other"))
    with pytest.raises(KeyReused):
        await store.add_command(told("abort-1", kind=CommandKind.PAUSE))


async def test_store_busy_target_names_the_running_release(store: Store) -> None:
    """A second order of a target is refused with the id of the first, until that one is done."""
    await begin(store)

    with pytest.raises(TargetBusy) as refusal:
        await store.order(order("rel-2"), start("rel-2"))
    await end(store)
    later = await store.order(order("rel-3"), start("rel-3"))

    assert refusal.value.release == "rel-1"
    assert later.is_new
    with pytest.raises(NotFound):
        await store.get_release("rel-2")


async def test_store_same_name_elsewhere_is_free(store: Store) -> None:
    """The lock is one target of one environment."""
    await begin(store)

    other = await store.order(order("rel-2", target=target(environment="stage")), start("rel-2"))

    assert other.is_new


async def test_store_draining_release_still_holds_its_target(store: Store) -> None:
    """A final outcome does not free the target; only the end of the drain does."""
    await begin(store)
    await store.record(happened("rolled_back"), Change(state=State.DRAINING, outcome=Outcome.ROLLED_BACK))

    with pytest.raises(TargetBusy):
        await store.order(order("rel-2"), start("rel-2"))


async def test_store_of_twenty_orders_at_once_one_wins(store: Store) -> None:
    """Of many orders for one target at once exactly one wins, and the others learn its id."""
    answers = await asyncio.gather(
        *(store.order(order(f"rel-{n}"), start(f"rel-{n}")) for n in range(20)), return_exceptions=True
    )

    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    lost = [answer for answer in answers if isinstance(answer, TargetBusy)]
    assert (len(won), len(lost)) == (1, 19)
    assert {refusal.release for refusal in lost} == {won[0].release.order.id}
    assert [release.order.id for release in await store.list_releases()] == [won[0].release.order.id]


async def test_store_order_needs_its_own_start(store: Store) -> None:
    """An order whose command is another release's, or no START, is refused and leaves nothing."""
    with pytest.raises(InvalidInput):
        await store.order(order(), start("rel-2"))
    with pytest.raises(InvalidInput):
        await store.order(order(), told("k"))

    assert await store.list_releases() == ()


async def test_store_discarded_release_frees_target_and_key(store: Store) -> None:
    """After a discard the same key makes a new release; the journal still knows the first."""
    await store.order(order(), start(key="k"))

    await store.discard("rel-1")
    await store.discard("rel-1")
    again = await store.order(order("rel-2"), start("rel-2", key="k"))

    assert again.is_new
    assert [release.order.id for release in await store.list_releases()] == ["rel-2"]
    assert [event.kind for event in await store.events("rel-1")] == ["ordered"]
    with pytest.raises(NotFound):
        await store.get_release("rel-1")


async def test_store_release_that_began_cannot_be_discarded(store: Store) -> None:
    """A release to which something happened is never deleted."""
    await begin(store)
    await store.record(happened("preflight_passed"))

    with pytest.raises(CommandRefused):
        await store.discard("rel-1")

    assert (await store.get_release("rel-1")).state is State.STARTING


async def test_store_releases_come_newest_first_by_cursor(store: Store) -> None:
    """Pages by cursor hold every release once, newest first, also when new ones come in between."""
    for n in range(7):
        await begin(store, f"rel-{n}", f"shop-{n}")

    first = await store.list_releases(limit=3)
    await begin(store, "rel-7", "shop-7")
    second = await store.list_releases(limit=3, before=first[-1].order.id)
    third = await store.list_releases(limit=3, before=second[-1].order.id)
    after = await store.list_releases(before="rel-0")

    ids = [[release.order.id for release in page] for page in (first, second, third)]
    assert ids == [["rel-6", "rel-5", "rel-4"], ["rel-3", "rel-2", "rel-1"], ["rel-0"]]
    assert after == ()


async def test_store_releases_are_filtered(store: Store) -> None:
    """Releases are found by target and by whether they hold it."""
    await begin(store, "rel-1")
    await end(store, "rel-1")
    await begin(store, "rel-2")
    await begin(store, "rel-3", "orders")

    async def ids(target: str | None = None, active: bool | None = None) -> list[str]:
        return [each.order.id for each in await store.list_releases(target=target, active=active)]

    assert await ids("catalog") == ["rel-2", "rel-1"]
    assert await ids(active=True) == ["rel-3", "rel-2"]
    assert await ids(active=False) == ["rel-1"]
    assert await ids("catalog", active=False) == ["rel-1"]
    assert await ids("nothing") == []


@pytest.mark.parametrize("limit", [0, -1, 201, 10**9, True])
async def test_store_page_size_is_bounded(store: Store, limit: int) -> None:
    """A page has 1 to 200 releases."""
    with pytest.raises(InvalidInput) as refusal:
        await store.list_releases(limit=limit)

    assert refusal.value.field == "limit"


async def test_store_forged_cursor_is_refused(store: Store) -> None:
    """A cursor that is no release is wrong input, not an empty page."""
    with pytest.raises(InvalidInput) as refusal:
        await store.list_releases(before="' OR 1=1 --")

    assert refusal.value.field == "before"


async def test_store_record_writes_event_change_and_notices(store: Store) -> None:
    """An event, its change and its notices are all there afterwards, equal to what went in."""
    await begin(store)
    change = Change(
        state=State.CLOSING,
        step=1,
        share=NOTHING,
        outcome=Outcome.ROLLED_BACK,
        reason="12 of 60",
        verdict=FAIL,
        ended_at=1_030.5,
        facts={"verdict_at": 1_029.75},
    )

    seq = await store.record(happened("rolled_back"), change, [notice("hook"), notice("chat")])

    release = await store.get_release("rel-1")
    assert (release.state, release.step, release.share, release.outcome) == (
        State.CLOSING,
        1,
        NOTHING,
        Outcome.ROLLED_BACK,
    )
    assert (release.reason, release.verdict, release.ended_at) == ("12 of 60", FAIL, 1_030.5)
    assert (await store.events("rel-1"))[-1] == replace(happened("rolled_back"), seq=seq)
    assert await store.notices("rel-1") == ((notice("hook"), False), (notice("chat"), False))


async def test_store_change_leaves_the_rest_and_adds_facts(store: Store) -> None:
    """What a change does not name stays; facts are added, and a newer value of one wins."""
    await begin(store)
    await store.record(
        happened("a"), Change(state=State.STEPPING, reason="first", facts={"x": 1.0, "y": 2.0})
    )

    await store.record(happened("b"), Change(step=1, reason="", facts={"y": 3.5}))

    release = await store.get_release("rel-1")
    assert (release.state, release.step, release.reason) == (State.STEPPING, 1, "")
    assert release.facts == {"x": 1.0, "y": 3.5}


async def test_store_done_release_never_comes_back(store: Store) -> None:
    """A release that let go of its target never takes it again, whoever holds it now; nothing of the try is kept."""
    await begin(store, "rel-1")
    await end(store, "rel-1")
    await begin(store, "rel-2")

    with pytest.raises(CommandRefused):
        await store.record(happened("revived"), Change(state=State.STEPPING), [notice()])
    await store.record(happened("noted"), Change(state=State.DONE, reason="late"))

    active = await store.list_releases(active=True)
    assert [release.order.id for release in active] == ["rel-2"]
    assert [event.kind for event in await store.events("rel-1")] == ["ordered", "done", "noted"]
    assert await store.notices("rel-1") == ()


async def test_store_repeated_event_changes_nothing(store: Store) -> None:
    """An event id that is written already changes neither release nor outbox, and gives the old seq."""
    await begin(store)
    first = await store.record(happened("a"), Change(reason="first"), [notice("hook")])
    await store.record(happened("b"), Change(reason="second"))

    again = await store.record(happened("a"), Change(reason="third"), [notice("chat")])

    assert again == first
    assert (await store.get_release("rel-1")).reason == "second"
    assert await store.notices("rel-1") == ((notice("hook"), False),)
    assert [event.kind for event in await store.events("rel-1")] == ["ordered", "a", "b"]


async def test_store_event_of_unknown_release_leaves_nothing(store: Store) -> None:
    """An event of a release that is not there is refused whole."""
    with pytest.raises(NotFound):
        await store.record(happened("a", "rel-9"), Change(reason="x"), [notice(release="rel-9")])

    assert await store.events("rel-9") == ()
    assert await store.pending_channels() == ()


async def test_store_events_go_on_after_a_seq(store: Store) -> None:
    """Events come oldest first, above the seq that the reader has seen, and only of the one release."""
    await begin(store, "rel-1")
    await begin(store, "rel-2", "orders")
    seqs = [await store.record(happened("a", release, n)) for n in range(3) for release in ("rel-1", "rel-2")]

    page = await store.events("rel-1", after=seqs[0], limit=1)
    rest = await store.events("rel-1", after=page[-1].seq)

    assert seqs == sorted(set(seqs))
    assert [event.id for event in page + rest] == ["rel-1:a:1", "rel-1:a:2"]


@pytest.mark.parametrize("after", [10**18, 2**63 - 1, 10**30])
async def test_store_events_after_anything_are_empty(store: Store, after: int) -> None:
    """A seq beyond all that can be written is not an error."""
    await begin(store)

    assert await store.events("rel-1", after=after) == ()
    assert len(await store.events("rel-1", after=-after)) == 1


async def test_store_report_moves_a_running_release(store: Store) -> None:
    """A report shows where the judge is, without an event."""
    await begin(store)
    await store.record(happened("began"), Change(state=State.STEPPING))

    await store.report(progress(at=5.0, step=1, share=9_500))

    release = await store.get_release("rel-1")
    assert (release.step, release.share, release.verdict) == (1, 9_500, FAIL)
    assert [event.kind for event in await store.events("rel-1")] == ["ordered", "began"]


async def test_store_late_report_is_ignored(store: Store) -> None:
    """A report older than the newest, or of an earlier step, never takes its place; an unknown release is no error."""
    await begin(store)
    await store.report(progress(at=5.0, share=700))
    await store.report(progress(at=4.0, share=500))
    await store.record(happened("step_passed"), Change(state=State.STEPPING, step=1, share=BasisPoints(900)))

    await store.report(progress(at=6.0, step=0, share=700))
    await store.report(progress("rel-9"))

    release = await store.get_release("rel-1")
    assert (release.step, release.share) == (1, 900)


@pytest.mark.parametrize(
    "change",
    [
        Change(state=State.CLOSING),
        Change(state=State.DRAINING, outcome=Outcome.ABORTED),
        Change(state=State.DONE, outcome=Outcome.PROMOTED),
    ],
)
async def test_store_report_of_ended_release_is_ignored(store: Store, change: Change) -> None:
    """A judge that was frozen cannot give an ended release a share again."""
    await begin(store)
    await store.record(happened("ended"), replace(change, share=NOTHING))

    await store.report(progress(at=99.0))

    release = await store.get_release("rel-1")
    assert (release.share, release.verdict) == (NOTHING, None)


async def test_store_commands_wait_until_they_are_settled(store: Store) -> None:
    """Commands come oldest first, exactly as written, until they are accepted or refused."""
    await begin(store)
    commands = [told("c"), told("b", kind=CommandKind.PAUSE), told("a", kind=CommandKind.PROMOTE)]

    written = [await store.add_command(command) for command in (*commands, commands[0])]
    before = await store.pending_commands()
    await store.settle_command("b", is_accepted=True)
    await store.settle_command("c", is_accepted=False, note="it has ended")
    await store.settle_command("c", is_accepted=True)
    await store.settle_command("nobody", is_accepted=True)

    assert written == [True, True, True, False]
    assert before == tuple(commands)
    assert await store.pending_commands() == (commands[2],)
    assert await store.add_command(commands[1]) is False
    assert await store.pending_commands(limit=1) == (commands[2],)


async def test_store_command_needs_its_release(store: Store) -> None:
    """A command to a release that is not there is refused."""
    with pytest.raises(NotFound):
        await store.add_command(told("a", "rel-9"))

    assert await store.pending_commands() == ()


async def test_store_notices_wait_for_each_channel(store: Store) -> None:
    """Each channel has its own row of a notice: delivered on one, it still waits on the other."""
    await begin(store)
    await store.record(happened("a"), None, [notice("hook"), notice("chat")])

    await store.mark_notice("rel-1.rolled_back", "hook", is_delivered=True)
    await store.mark_notice("rel-1.rolled_back", "chat", is_delivered=False, note="answered 500")

    assert await store.pending_channels() == ("chat",)
    assert await store.pending_notices("hook") == ()
    assert await store.pending_notices("chat") == (replace(notice("chat"), attempts=1),)
    assert [(each.channel, is_delivered) for each, is_delivered in await store.notices("rel-1")] == [
        ("hook", True),
        ("chat", False),
    ]


async def test_store_delivered_notice_stays_delivered(store: Store) -> None:
    """After a delivery no later mark counts, in whatever order the answers come; an unknown notice is no error."""
    await begin(store)
    await store.record(happened("a"), None, [notice()])
    await store.mark_notice("rel-1.rolled_back", "hook", is_delivered=False)
    await store.mark_notice("rel-1.rolled_back", "hook", is_delivered=True)

    await store.mark_notice("rel-1.rolled_back", "hook", is_delivered=False)
    await store.mark_notice("rel-1.rolled_back", "hook", is_delivered=True)
    await store.mark_notice("nobody", "hook", is_delivered=True)

    assert await store.notices("rel-1") == ((replace(notice(), attempts=2), True),)


async def test_store_notice_is_written_once(store: Store) -> None:
    """A notice id that a second event brings to the same channel again is not sent again."""
    await begin(store)
    await store.record(happened("a"), None, [notice()])
    await store.mark_notice("rel-1.rolled_back", "hook", is_delivered=True)

    await store.record(happened("b"), None, [replace(notice(), text="other"), replace(notice(), attempts=7)])

    assert await store.notices("rel-1") == ((replace(notice(), attempts=1), True),)
    assert await store.pending_channels() == ()


async def test_store_notices_come_oldest_first(store: Store) -> None:
    """The outbox is a queue, and a page of it is bounded."""
    await begin(store)
    names = ["c", "a", "b"]
    for name in names:
        await store.record(happened(name), None, [notice(what=name)])

    found = await store.pending_notices("hook", limit=2)

    assert [each.id for each in found] == ["rel-1.c", "rel-1.a"]


async def test_store_notice_of_another_release_is_refused(store: Store) -> None:
    """An event brings notices of its own release only."""
    await begin(store)

    with pytest.raises(InvalidInput):
        await store.record(happened("a"), None, [notice(release="rel-2")])

    assert len(await store.events("rel-1")) == 1


@pytest.mark.parametrize("text", ["half \ud800", "nul \0"])
async def test_store_text_that_no_database_keeps_is_refused(store: Store, text: str) -> None:
    """NUL and half a surrogate pair are wrong input everywhere, and leave nothing behind."""
    await begin(store)

    with pytest.raises(InvalidInput):
        await store.record(replace(happened("a"), text=text))
    with pytest.raises(InvalidInput):
        await store.record(replace(happened("a"), details={"why": text}))
    with pytest.raises(InvalidInput):
        await store.add_command(replace(told("a"), reason=text))
    with pytest.raises(InvalidInput):
        await store.order(order("rel-2", "orders", actor=text), start("rel-2"))
    with pytest.raises((NotFound, InvalidInput)):
        await store.get_release(text)

    assert len(await store.events("rel-1")) == 1


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_store_number_that_is_none_is_refused(store: Store, number: float) -> None:
    """NaN and infinity never reach the ledger."""
    await begin(store)

    with pytest.raises(InvalidInput):
        await store.record(replace(happened("a"), details={"rate": number}))
    with pytest.raises(InvalidInput):
        await store.record(happened("a"), Change(facts={"closed_at": number}))
    with pytest.raises(InvalidInput):
        await store.record(happened("a"), Change(verdict=replace(FAIL, limit=number)))
    with pytest.raises(InvalidInput):
        await store.report(replace(progress(), verdict=replace(FAIL, window_s=number)))
    for wrong in (
        {"odds": number},
        {"proof": number},
        {"slower_than_s": number},
        {"parts": (Part("errors", number, 0.5),)},
        {"parts": (Part("errors", 2.0, number),)},
    ):
        with pytest.raises(InvalidInput):
            await store.report(replace(progress(), verdict=replace(FAIL, **wrong)))

    assert len(await store.events("rel-1")) == 1


async def test_store_keeps_what_a_verdict_is_made_of(store: Store) -> None:
    """Metric, bound, instance and the parts of the odds come back as they were; what no database keeps is refused."""
    await begin(store)
    parts = (Part("errors", 1.5, 0.25), Part("latency p99", 1e280, 0.75))
    verdict = replace(
        FAIL, odds=640.0, metric="latency p99", slower_than_s=0.25, instance="10.0.0.7:80", parts=parts
    )

    await store.record(happened("a"), Change(verdict=verdict))

    assert (await store.get_release("rel-1")).verdict == verdict
    with pytest.raises(InvalidInput):
        await store.record(happened("b"), Change(verdict=replace(verdict, instance="nul \0")))


async def test_store_strange_text_comes_back_as_it_was(store: Store) -> None:
    """Quotes, control letters, other scripts and emoji are kept letter for letter."""
    await begin(store)
    text = "'; DROP TABLE releases; -- \x1b[31m \u202e ١٢ \U0001f424 \r\n"

    await store.record(replace(happened("a"), text=text, details={text: text}))
    await store.add_command(replace(told("a"), reason=text))

    event = (await store.events("rel-1"))[-1]
    assert (event.text, event.details) == (text, {text: text})
    assert (await store.pending_commands())[0].reason == text


async def test_store_closes_twice(store: Store) -> None:
    """Closing a ledger again is not an error."""
    await store.aclose()
    await store.aclose()
