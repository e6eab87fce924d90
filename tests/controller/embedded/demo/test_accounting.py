"""The demo's numbers are counted: `controller.embedded.demo.accounting`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.embedded.demo.accounting import (
    CanaryLine,
    Exposure,
    Users,
    canary_lines,
    close_ms,
    detect_s,
    exposure,
    users,
)


def _line(at_ms: int, status: int, *, track: str = "canary", release: str = "rel-1", who: str = "a") -> str:
    return json.dumps(
        {"start_ms": str(at_ms), "status": status, "track": track, "release": release, "correlation_id": who}
    )


def test_only_lines_of_the_release_s_canary_count() -> None:
    """Stable's failures, other releases and torn lines are passed over."""
    log = [
        _line(1000, 200),
        _line(2000, 503, track="stable"),
        _line(3000, 500, release="rel-2"),
        '{"start_ms": "40',
        "[]",
        _line(5000, 500, who="b"),
    ]

    assert canary_lines(log, "rel-1") == [CanaryLine(1.0, "a", False), CanaryLine(5.0, "b", True)]
    assert len(canary_lines(log)) == 3


def test_a_request_without_an_answer_failed() -> None:
    """Status 0 is the proxy's word for a request that nobody answered."""
    assert canary_lines([_line(1, 0)])[0].failed


def test_a_request_that_stable_answered_after_the_canary_failed() -> None:
    """The shield asks twice at most: two attempts are a failure of the canary that the user did not see."""
    rescued = json.dumps({**json.loads(_line(1, 200)), "attempts": 2})

    assert canary_lines([rescued])[0].failed


def test_exposure_is_the_first_failure_and_the_last_request() -> None:
    """The order in the log does not matter: lines are written when requests end."""
    lines = [CanaryLine(3.0, "c", True), CanaryLine(1.0, "a", False), CanaryLine(2.0, "b", True)]

    assert exposure(lines) == Exposure(first_failure_at=2.0, last_at=3.0, failing="c")
    assert exposure([]) == Exposure(None, None, "")


def test_times_are_measured_against_the_verdict() -> None:
    """Detection runs from the first failure; closing to the last start, and is never negative."""
    seen = Exposure(first_failure_at=10.0, last_at=12.5, failing="c")

    assert detect_s(seen, 12.4) == pytest.approx(2.4)
    assert close_ms(seen, 12.4) == pytest.approx(100.0)
    assert close_ms(seen, 13.0) == 0.0
    assert close_ms(Exposure(None, None, ""), 13.0) == 0.0


def test_a_detection_without_a_failure_is_no_detection() -> None:
    """There is no number to give then."""
    with pytest.raises(ValueError, match="no failed canary request"):
        detect_s(Exposure(None, 1.0, ""), 2.0)


def test_errors_outside_the_canary_are_those_whose_request_never_touched_one() -> None:
    """A failed user request counts as outside when the log has no canary line with its correlation ID."""
    failures = [json.dumps({"correlation_id": who, "status": "502"}) for who in ("a", "b", "c")] + ["torn"]

    seen = users(
        {"requests": 10, "errors": 3}, failures, [CanaryLine(1.0, "a", True), CanaryLine(1.0, "z", True)]
    )

    assert seen == Users(requests=10, errors=3, errors_outside_canary=2)


@given(st.lists(st.text(max_size=60), max_size=30))
def test_whatever_stands_in_a_log_it_is_read_without_an_error(lines: list[str]) -> None:
    """Garbage in a file is passed over."""
    assert canary_lines(lines) == []
