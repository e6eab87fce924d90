"""Cursors and summaries of found traces."""

from __future__ import annotations

import contextlib
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.model.searching import Page, Search
from controller.model.trace import Span
from controller.traces import selecting
from tests.contract.spans import span, span_sets


@given(
    span_sets(), st.integers(1, 3), st.sampled_from([Search(), Search(status="error"), Search(service="a")])
)
def test_pages_neither_lose_nor_repeat(spans: list[Span], limit: int, search: Search) -> None:
    """Pages of any length hold together exactly the traces with a span that fits, newest first."""
    traces: dict[str, list[Span]] = defaultdict(list)
    for one in spans:
        traces[one.trace_id].append(one)
    expected = {one.trace_id: 0 for one in spans if selecting.fits(search, one)}
    for one in spans:
        if selecting.fits(search, one):
            expected[one.trace_id] = max(expected[one.trace_id], one.start_ns)
    seen: list[str] = []
    cursor = ""

    while True:
        page = selecting.page_of(traces, search, Page(limit, cursor))
        seen += [one.trace_id for one in page.traces]
        assert len(page.traces) <= limit
        cursor = page.cursor
        if not cursor:
            break

    assert seen == sorted(expected, key=lambda one: (expected[one], one), reverse=True)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=16, max_size=16))
def test_a_cursor_is_read_as_it_was_written(start_ns: int, trace: bytes) -> None:
    """Any place in the order."""
    assert selecting.read_cursor(selecting.write_cursor((start_ns, trace.hex()))) == (start_ns, trace.hex())


@given(st.text(max_size=60))
def test_another_text_is_no_cursor(text: str) -> None:
    """It is refused, or is written the same again but for zeros in front."""
    with contextlib.suppress(InvalidInput):
        key = selecting.read_cursor(text)
        assert text.lstrip("0") == selecting.write_cursor(key).lstrip("0")


@pytest.mark.parametrize(
    ("failed", "attributes", "error"),
    [
        (False, {"error.type": "x"}, ""),
        (True, {"error.type": "Timeout"}, "Timeout"),
        (True, {"error.type": 500}, "went wrong"),
        (True, {}, "went wrong"),
    ],
)
def test_an_error_is_said_in_few_words(failed: bool, attributes: dict[str, str | int], error: str) -> None:
    """`error.type` when it is text, else the message; nothing of what did not fail."""
    one = span(1, failed=failed, attributes=dict(attributes), message="went wrong")

    assert selecting.error_of(one) == error
