"""Trace stores for the contract suite: each kind empty, with the way bodies get into it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from controller.ingest.app import create_app
from controller.model.trace import Span
from controller.traces.clickhouse.connection import Connection
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.settling import settle
from controller.traces.clickhouse.store import ClickHouseTraces
from controller.traces.memory import MemoryTraces
from controller.traces.port import TraceStore
from controller.traces.remote import RemoteTraces
from tests.contract.spans import bodies

TABLES = ("spans_v1", "resources_v1", "red10_v1", "edge10_v1", "mark10_v1", "settled10_v1", "attr_keys_v1")


@dataclass
class Bench:
    """A store, and the way bodies get into it."""

    store: TraceStore
    put: Callable[[Sequence[bytes]], Awaitable[None]]

    async def keep(self, *spans: Span) -> None:
        """Put spans, all in one body."""
        await self.put(bodies(spans))


class OpenClickHouse(ClickHouseTraces):
    """The real store, with what tests need of its inside."""

    async def clear(self) -> None:
        """Empty every table: much faster than a new folder."""

        def empty(connection: Connection) -> None:
            for table in TABLES:
                connection.fetch(f"TRUNCATE TABLE {table}")

        await self._crew.write(empty)

    @property
    def crew(self) -> Crew:
        """Its threads."""
        return self._crew

    async def fetch(self, statement: str) -> None:
        """Run a statement on the writer's connection."""
        await self._crew.write(lambda connection: connection.fetch(statement))

    async def count(self, table: str) -> int:
        """Count the rows of a table."""
        [[found]] = await self._crew.ask(f"SELECT count() FROM {table}")
        return int(found)

    async def rest(self) -> None:
        """Leave nothing behind on a loop that ends with its test."""
        await self._settling.aclose()

    async def settle(self) -> None:
        """Settle everything now."""
        while await settle(self._crew, quiet_s=0):
            pass


@contextlib.asynccontextmanager
async def served(store: TraceStore) -> AsyncIterator[str]:
    """Run a real ingest app on loopback; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        config = uvicorn.Config(
            create_app(store, max_body_bytes=1 << 20), log_config=None, lifespan="off", ws="none"
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server._serve([bound]))
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenClickHouse]:
    """One engine a module: a process can have one open, and opening it takes half a second."""
    store = OpenClickHouse(Path(tmp_path_factory.mktemp("traces")), deadline_s=60)
    yield store
    asyncio.run(store.aclose())


@pytest.fixture(params=["memory", "remote", "clickhouse"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Every kind of store."""
    if request.param == "clickhouse":
        engine: OpenClickHouse = request.getfixturevalue("clickhouse")
        await engine.clear()
        yield Bench(engine, engine.ingest)
        await engine.rest()
        return
    kept = MemoryTraces(1 << 22)
    if request.param == "memory":
        yield Bench(kept, kept.ingest)
        return
    async with served(kept) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:

        async def post(sent: Sequence[bytes]) -> None:
            for one in sent:
                answer = await http.post(
                    "/v1/traces", content=one, headers={"content-type": "application/x-protobuf"}
                )
                assert answer.status_code == 200

        remote = RemoteTraces(url)
        yield Bench(remote, post)
        await remote.aclose()
