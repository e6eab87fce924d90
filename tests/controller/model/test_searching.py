"""Bounds of what can be asked of a trace store."""

from __future__ import annotations

import pytest

from controller.errors import InvalidInput
from controller.model.searching import LATEST_NS, LONGEST_TEXT, Page, Range, Search


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"service": "x" * (LONGEST_TEXT + 1)}, "service"),
        ({"correlation_id": "x" * (LONGEST_TEXT + 1)}, "correlation_id"),
        ({"kind": "Server"}, "kind"),
        ({"status": "bad"}, "status"),
        ({"min_ns": -1}, "min_ns or max_ns"),
        ({"max_ns": LATEST_NS + 1}, "min_ns or max_ns"),
        ({"min_ns": 5, "max_ns": 4}, "max_ns"),
        ({"where": "a ="}, "where"),
    ],
)
def test_a_wrong_search_names_the_field(asked: dict[str, object], field: str) -> None:
    """Nothing reaches a store that is out of its bounds."""
    with pytest.raises(InvalidInput) as caught:
        Search(**asked)  # type: ignore[arg-type]

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("since_ns", "until_ns", "field"),
    [(-1, 5, "since"), (LATEST_NS + 1, LATEST_NS + 2, "since"), (5, 5, "until"), (0, LATEST_NS + 1, "until")],
)
def test_a_wrong_range_names_the_end(since_ns: int, until_ns: int, field: str) -> None:
    """A range has a begin before its end, and both can be kept."""
    with pytest.raises(InvalidInput) as caught:
        Range(since_ns, until_ns)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("limit", "cursor", "field"),
    [(0, "", "limit"), (201, "", "limit"), (1, "x" * (LONGEST_TEXT + 1), "cursor")],
)
def test_a_wrong_page_names_the_field(limit: int, cursor: str, field: str) -> None:
    """A page has 1 to 200 traces."""
    with pytest.raises(InvalidInput) as caught:
        Page(limit, cursor)

    assert caught.value.field == field


def test_the_condition_is_the_parsed_expression() -> None:
    """None when there is none."""
    assert Search().condition is None
    assert Search(where="a = 1").condition is not None
