"""Errors on their way through Temporal: ours become application errors with a stable type, and come back readable.

Before it: an activity raises a `SerinusError`, or something nobody expected. After it: Temporal retries what can help,
and the workflow turns the rest into an event of the state machine. Texts are clipped: they stay in histories for days.
"""

from __future__ import annotations

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from controller.errors import SerinusError

LONGEST_TEXT = 500
UNEXPECTED = "internal"
"""Type of an application error that stands for a defect of ours."""


def clip(text: str) -> str:
    """Return a text cut to a length that may stand in a history."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def crossing(error: SerinusError, *, retry: bool | None = None) -> ApplicationError:
    """Return the application error for one of ours: type = code, retryable as the error says unless told otherwise."""
    is_retryable = error.retryable if retry is None else retry
    # Benign: we say it in one line ourselves, where the SDK would print a stack trace at each try.
    category = ApplicationErrorCategory.BENIGN if is_retryable else ApplicationErrorCategory.UNSPECIFIED
    return ApplicationError(
        clip(error.message), type=error.code, non_retryable=not is_retryable, category=category
    )


def reason_of(error: BaseException) -> str:
    """Return the innermost readable text of what an activity failed with."""
    found = error
    while found.__cause__ is not None and not isinstance(found, ApplicationError):
        found = found.__cause__
    return clip(found.message if isinstance(found, ApplicationError) else str(found) or type(found).__name__)
