"""The read side of the telemetry process: which questions are answered, and what becomes of the others."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from controller.errors import TracesUnavailable
from controller.ingest.app import create_app
from controller.model.insight import TracePage
from controller.model.searching import Page, Search
from controller.model.trace import Outline, Trace
from controller.traces.memory import MemoryTraces
from controller.traces.port import FIRST_PAGE, MOST_SPANS
from controller.traces.wire import QUESTIONS
from tests.controller.ingest.otlp import TRACE, many


def ask_about(store: MemoryTraces) -> httpx.AsyncClient:
    app = create_app(store, max_body_bytes=10_000)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:4318")


async def test_a_trace_comes_back_as_it_went_in() -> None:
    """Whole spans are answered in OTLP, outlines in JSON."""
    store = MemoryTraces()
    await store.ingest([many(2)])
    async with ask_about(store) as http:
        whole = await http.post("/internal/traces/get", json={"trace_id": TRACE.hex()})
        outline = await http.post("/internal/traces/outline", json={"trace_id": TRACE.hex(), "limit": 1})
        unknown = await http.post("/internal/traces/get", json={"trace_id": "ab" * 16})

    trace = QUESTIONS["get"].read(whole.content)
    assert isinstance(trace, Trace)
    assert [span.name for span in trace.spans] == ["x", "x"]
    assert (outline.json()["total"], len(outline.json()["spans"])) == (2, 1)
    assert (unknown.status_code, unknown.content) == (200, b"")


@pytest.mark.parametrize("question", ["", "find", "ingest", "prune", "aclose", "__init__"])
async def test_unknown_question_is_not_found(question: str) -> None:
    """Only the questions of the table exist; what changes the store is not among them."""
    async with ask_about(MemoryTraces()) as http:
        answer = await http.post(f"/internal/traces/{question}", json={})

    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("question", "arguments", "field"),
    [
        ("get", {}, "trace_id"),
        ("get", {"trace_id": 7}, "trace_id"),
        ("get", {"trace_id": "ab" * 16, "more": 1}, "more"),
        ("search", {"search": {"kind": "loud"}}, "kind"),
        ("search", {"search": {"where": "a ="}}, "where"),
        ("search", {"search": {}, "page": {"limit": 0}}, "limit"),
        ("search", {"search": {}, "page": {"limit": 201}}, "limit"),
        ("services", {"within": {"since_ns": -1}}, "since"),
        ("services", [], "body"),
    ],
)
async def test_bad_arguments_name_the_field(question: str, arguments: object, field: str) -> None:
    """422 says which argument is wrong, as the asker called it."""
    async with ask_about(MemoryTraces()) as http:
        answer = await http.post(f"/internal/traces/{question}", json=arguments)

    assert answer.status_code == 422
    assert answer.json()["field"].rpartition(".")[2] == field


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"trace_id": "' + b"x" * 70_000 + b'"}'])
async def test_bodies_that_are_no_question_are_refused(content: bytes) -> None:
    """Not JSON, or longer than any question: 422, and the process lives."""
    async with ask_about(MemoryTraces()) as http:
        answer = await http.post("/internal/traces/get", content=content)

    assert (answer.status_code, bool(answer.json()["field"])) == (422, True)


async def test_store_that_does_not_answer_is_said() -> None:
    """503 with the reason."""

    class Down(MemoryTraces):
        async def timeline(self, correlation_id: str, limit: int = MOST_SPANS) -> Outline:
            raise TracesUnavailable("the disk is gone")

    async with ask_about(Down()) as http:
        answer = await http.post("/internal/traces/timeline", json={"correlation_id": "c"})

    assert (answer.status_code, answer.json()) == (503, {"error": "the disk is gone"})


async def test_only_so_many_questions_are_answered_at_once() -> None:
    """Sixteen reach the store; the rest wait for their turn, and all are answered in the end."""
    at_once: list[int] = []
    go_on = asyncio.Event()

    class Slow(MemoryTraces):
        running = 0

        async def search(self, search: Search, page: Page = FIRST_PAGE) -> TracePage:
            self.running += 1
            at_once.append(self.running)
            await go_on.wait()
            self.running -= 1
            return await super().search(search, page)

    async with ask_about(Slow()) as http:
        asked = [
            asyncio.create_task(http.post("/internal/traces/search", content=json.dumps({"search": {}})))
            for _ in range(40)
        ]
        while len(at_once) < 16:
            await asyncio.sleep(0)
        go_on.set()
        answers = await asyncio.gather(*asked)

    assert [answer.status_code for answer in answers] == [200] * 40
    assert max(at_once) == 16
