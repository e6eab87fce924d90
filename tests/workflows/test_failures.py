"""Errors leave an activity with our code and say whether a retry can help."""

from __future__ import annotations

import pytest
from temporalio.exceptions import ApplicationError

from controller.errors import LeaseHeld, NotFound, RouterUnavailable, SerinusError
from workflows.attempts import TRIES, attempt
from workflows.failures import LONGEST_TEXT, UNEXPECTED, crossing, reason_of


@pytest.mark.parametrize(
    ("error", "code", "is_final"),
    [
        (RouterUnavailable("away"), "router_unavailable", False),
        (LeaseHeld("held"), "lease_held", False),
        (NotFound("no such target"), "not_found", True),
    ],
)
def test_our_error_keeps_its_code_and_whether_it_is_worth_a_retry(
    error: SerinusError, code: str, is_final: bool
) -> None:
    """Temporal retries exactly what our errors call retryable."""
    with pytest.raises(ApplicationError) as crossed, attempt(1):
        raise error

    assert (crossed.value.type, crossed.value.non_retryable, crossed.value.message) == (
        code,
        is_final,
        error.message,
    )


@pytest.mark.parametrize(
    ("number", "is_final"), [(1, False), (TRIES - 1, False), (TRIES, True), (TRIES + 3, True)]
)
def test_an_unexpected_error_is_final_after_some_tries(number: int, is_final: bool) -> None:
    """A defect ends in a rollback instead of a release that hangs for ever."""
    with pytest.raises(ApplicationError) as crossed, attempt(number):
        raise KeyError("surprise")

    assert (crossed.value.type, crossed.value.non_retryable) == (UNEXPECTED, is_final)


def test_what_must_happen_is_never_given_up() -> None:
    """Taking a share back is tried for ever, whatever goes wrong."""
    with pytest.raises(ApplicationError) as ours, attempt(99, always_retry=True):
        raise NotFound("gone")
    with pytest.raises(ApplicationError) as unexpected, attempt(99, always_retry=True):
        raise KeyError("surprise")

    assert not ours.value.non_retryable
    assert not unexpected.value.non_retryable


def test_texts_are_clipped() -> None:
    """A message of any length leaves a short history."""
    assert len(crossing(NotFound("x" * 100_000)).message) == LONGEST_TEXT


def test_the_reason_is_the_innermost_text_that_people_can_read() -> None:
    """Temporal wraps our error; people see ours."""
    wrapped = RuntimeError("activity failed")
    wrapped.__cause__ = crossing(NotFound("no such version"))

    assert reason_of(wrapped) == "no such version"
    assert reason_of(KeyError()) == "KeyError"
