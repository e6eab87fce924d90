"""What every `ReleaseRunner` promises, over the one in memory and the one on a real Temporal server."""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import pytest_asyncio
from temporalio.client import Client

from controller.errors import CommandRefused, NotFound, OrchestratorUnavailable, TargetBusy
from controller.model.machine import Phase, begin
from controller.model.release import Command, CommandKind, ReleaseOrder
from controller.runner.memory import MemoryRunner
from controller.runner.port import ReleaseRunner
from controller.settings import Temporal
from tests.workflows.dev_server import DevServer, a_server
from tests.workflows.orders import a_command, an_order
from tests.workflows.stage import SOON_S, Script, workers
from workflows.client import TemporalRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER_S = 5.0
"""The port's own limit for an answer."""


class Bench(ABC):
    """A runner with what a test needs to move the world under it."""

    runner: ReleaseRunner

    @abstractmethod
    async def step(self, order: ReleaseOrder) -> None:
        """Start an order and wait until its first step is judged."""

    @abstractmethod
    async def end(self, order: ReleaseOrder) -> None:
        """Let the release be over."""

    @abstractmethod
    def fail(self) -> None:
        """Let the orchestrator stop answering."""

    @abstractmethod
    def mend(self) -> None:
        """Let it answer again."""


class MemoryBench(Bench):
    """Everything in memory."""

    def __init__(self) -> None:
        self.runner: MemoryRunner = MemoryRunner()

    async def step(self, order: ReleaseOrder) -> None:
        await self.runner.start(order)
        self.runner.put(order.target.key, replace(begin(), phase=Phase.STEPPING))

    async def end(self, order: ReleaseOrder) -> None:
        self.runner.end(order.target.key)

    def fail(self) -> None:
        self.runner.is_down = True

    def mend(self) -> None:
        self.runner.is_down = False


class TemporalBench(Bench):
    """A real server and a worker whose activities play a script; a frozen server is the worst way to be away."""

    def __init__(self, server: DevServer, script: Script) -> None:
        self.runner = TemporalRunner(Temporal(address=server.address, rpc_timeout_s=1.0))
        self._server = server
        self._script = script

    async def step(self, order: ReleaseOrder) -> None:
        self._script.is_judging.clear()
        await self.runner.start(order)
        async with asyncio.timeout(SOON_S):
            await self._script.is_judging.wait()

    async def end(self, order: ReleaseOrder) -> None:
        await self.runner.tell(order.target.key, a_command(CommandKind.ABORT, release=order.id))
        async with asyncio.timeout(SOON_S):
            while await self.runner.runs(order.target.key, order.id):
                await asyncio.sleep(0.02)

    def fail(self) -> None:
        self._server.freeze()

    def mend(self) -> None:
        self._server.thaw()


class Stage:
    """One real server with one worker for the module; started by the first test that needs them."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._bench: TemporalBench | None = None

    async def bench(self) -> TemporalBench:
        """Return the runner of this server."""
        if self._bench is None:
            server, script = await self._stack.enter_async_context(a_server()), Script()
            client = await Client.connect(server.address)
            await self._stack.enter_async_context(
                workers(client, control=script.control, judge=script.hold_step)
            )
            self._bench = TemporalBench(server, script)
            self._stack.push_async_callback(self._bench.runner.aclose)
        return self._bench


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """Where the real runner plays."""
    async with AsyncExitStack() as stack:
        yield Stage(stack)


@pytest_asyncio.fixture(
    loop_scope="session", params=["memory", pytest.param("temporal", marks=pytest.mark.process)]
)
async def bench(request: pytest.FixtureRequest, stage: Stage) -> Bench:
    """Each runner in turn."""
    return MemoryBench() if request.param == "memory" else await stage.bench()


@pytest.fixture
def order() -> ReleaseOrder:
    """An order of a target that no other test uses."""
    name = f"catalog-{uuid.uuid4().hex[:8]}"
    plain = an_order(release=f"rel-{name}")
    return replace(plain, target=replace(plain.target, name=name, hosts=(f"{name}.localhost",)))


def told(order: ReleaseOrder, kind: CommandKind, key: str = "") -> Command:
    """A command for an order."""
    return a_command(kind, release=order.id, key=key)


async def test_a_started_release_runs(bench: Bench, order: ReleaseOrder) -> None:
    """It is known by target and id, and nothing else is."""
    await bench.runner.start(order)

    assert await bench.runner.runs(order.target.key, order.id)
    assert not await bench.runner.runs(order.target.key, "rel-other")
    assert not await bench.runner.runs(replace(order.target, name="nobody").key, order.id)


async def test_a_repeated_start_does_nothing(bench: Bench, order: ReleaseOrder) -> None:
    """A caller that did not hear the first answer may ask again."""
    await bench.step(order)

    await bench.runner.start(order)

    assert await bench.runner.runs(order.target.key, order.id)


async def test_a_busy_target_names_the_release_that_holds_it(bench: Bench, order: ReleaseOrder) -> None:
    """The second release of a target is refused with the id of the first."""
    await bench.runner.start(order)

    with pytest.raises(TargetBusy) as busy:
        await bench.runner.start(replace(order, id="rel-second"))

    assert busy.value.release == order.id


async def test_of_many_starts_at_once_exactly_one_wins(bench: Bench, order: ReleaseOrder) -> None:
    """The lock holds under a race, and every loser learns who won."""
    orders = [replace(order, id=f"{order.id}-{number}") for number in range(8)]

    answers = await asyncio.gather(*(bench.runner.start(each) for each in orders), return_exceptions=True)

    winners = [each.id for each, answer in zip(orders, answers, strict=True) if answer is None]
    losers = [answer.release for answer in answers if isinstance(answer, TargetBusy)]
    assert len(winners) == 1
    assert losers == winners * 7


async def test_a_target_is_free_after_the_end(bench: Bench, order: ReleaseOrder) -> None:
    """What is over does not run, takes no command, and blocks nobody."""
    await bench.step(order)
    await bench.end(order)

    assert not await bench.runner.runs(order.target.key, order.id)
    with pytest.raises(NotFound):
        await bench.runner.tell(order.target.key, told(order, CommandKind.PAUSE))
    await bench.runner.start(replace(order, id="rel-next"))
    assert await bench.runner.runs(order.target.key, "rel-next")


async def test_a_command_is_taken_once(bench: Bench, order: ReleaseOrder) -> None:
    """A repeat with the same id is no second command: the resume in between stays."""
    await bench.step(order)

    await bench.runner.tell(order.target.key, told(order, CommandKind.PAUSE, "key-1"))
    await bench.runner.tell(order.target.key, told(order, CommandKind.RESUME, "key-2"))
    await bench.runner.tell(order.target.key, told(order, CommandKind.PAUSE, "key-1"))

    with pytest.raises(CommandRefused):
        await bench.runner.tell(order.target.key, told(order, CommandKind.RESUME, "key-3"))


async def test_a_command_that_does_not_apply_is_refused_with_its_reason(
    bench: Bench, order: ReleaseOrder
) -> None:
    """The state machine's own words reach the caller."""
    await bench.step(order)

    with pytest.raises(CommandRefused, match="is not paused"):
        await bench.runner.tell(order.target.key, told(order, CommandKind.RESUME))


async def test_a_command_for_another_release_reaches_nobody(bench: Bench, order: ReleaseOrder) -> None:
    """A late abort of an old release must not end the target's next one."""
    await bench.step(order)

    for kind in (CommandKind.ABORT, CommandKind.PAUSE):
        with pytest.raises(NotFound):
            await bench.runner.tell(order.target.key, a_command(kind, release="rel-old"))

    assert await bench.runner.runs(order.target.key, order.id)


async def test_an_abort_may_be_repeated(bench: Bench, order: ReleaseOrder) -> None:
    """Nobody has to know whether the first one arrived, as long as the release runs."""
    await bench.step(order)

    await bench.runner.tell(order.target.key, told(order, CommandKind.ABORT))
    try:
        await bench.runner.tell(order.target.key, told(order, CommandKind.ABORT))
    except NotFound:
        assert not await bench.runner.runs(order.target.key, order.id)


async def test_a_channel_may_be_woken_again_and_again(bench: Bench) -> None:
    """A wake never fails because somebody is awake already."""
    channel = uuid.uuid4().hex

    for _ in range(3):
        await bench.runner.wake(channel)


async def test_an_orchestrator_that_hangs_is_said_in_time_and_used_again_later(
    bench: Bench, order: ReleaseOrder
) -> None:
    """Every call answers within the port's limit, and works again once it is back."""
    await bench.step(order)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: bench.runner.start(replace(order, id="rel-late")),
        lambda: bench.runner.tell(order.target.key, told(order, CommandKind.PAUSE)),
        lambda: bench.runner.tell(order.target.key, told(order, CommandKind.ABORT)),
        lambda: bench.runner.runs(order.target.key, order.id),
        lambda: bench.runner.wake("pager"),
    ]

    bench.fail()
    try:
        async with asyncio.timeout(ANSWER_S):
            answers = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    finally:
        bench.mend()

    assert [type(answer) for answer in answers] == [OrchestratorUnavailable] * len(calls)
    await bench.runner.wake("pager")
