"""How questions travel: arguments and answers come back as they went, others are refused by name."""

from __future__ import annotations

import inspect

import pytest

from controller.errors import InvalidInput
from controller.model.insight import Edge, RateRow, Red, ServiceMap, ServiceRow
from controller.model.searching import Page, Range, Search
from controller.traces.port import TraceStore
from controller.traces.wire import QUESTIONS


def test_every_question_of_the_port_can_travel() -> None:
    """A method that was forgotten here could not be asked of another process."""
    local = {"ingest", "prune", "capabilities", "aclose"}
    methods = {name for name, _ in inspect.getmembers(TraceStore, inspect.isfunction) if name[0] != "_"}

    assert set(QUESTIONS) == methods - local


def test_arguments_come_back_as_they_went() -> None:
    """Values of the port, defaults included."""
    question = QUESTIONS["search"]
    search = Search(service="a", where='x = "ä"', within=Range(5, 2**62))

    asked = question.unpack(question.pack({"search": search, "page": Page(3, "")}))

    assert asked == {"search": search, "page": Page(3, "")}
    assert QUESTIONS["services"].unpack(b"{}") == {"within": Range()}


def test_answers_come_back_as_they_went() -> None:
    """Tuples in tuples, with numbers of 64 bits."""
    red = Red(2**62, 1, 2, 3, 4, "ab" * 16)
    answer = ServiceMap((ServiceRow("a", "v1", red, 2**62),), (Edge("a", "v1", "b", "", "call", red),))
    rows = (RateRow(2**62, "a", "v1", "GET", "server", "", 1, 0, (0, 1)),)

    assert QUESTIONS["service_map"].read(QUESTIONS["service_map"].answer(answer)) == answer
    assert QUESTIONS["rates"].read(QUESTIONS["rates"].answer(rows)) == rows
    assert QUESTIONS["outline"].read(QUESTIONS["outline"].answer(None)) is None
    assert QUESTIONS["get"].read(QUESTIONS["get"].answer(None)) is None


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("get", b"{}", "trace_id"),
        ("get", b'{"trace_id": "a", "more": 1}', "more"),
        ("get", b"[]", "body"),
        ("get", b"nonsense", "body"),
        ("get", b"[" * 10_000, "body"),
        ("search", b'{"search": {"kind": "x"}}', "kind"),
        ("search", b'{"search": {"where": "a ="}}', "where"),
        ("search", b'{"search": {}, "page": {"limit": 1000}}', "limit"),
        ("services", b'{"within": {"since_ns": 5, "until_ns": 5}}', "until"),
    ],
)
def test_wrong_arguments_are_refused_by_name(name: str, body: bytes, field: str) -> None:
    """Whatever is sent, the answer is InvalidInput with the field."""
    with pytest.raises(InvalidInput) as caught:
        QUESTIONS[name].unpack(body)

    assert caught.value.field == field
