"""One attempt of an activity: whatever it raises leaves in a form that Temporal understands, and is said once.

Before it: an activity opens it around its body. After it: `workflows.failures` has the form; Temporal tries again what a
retry can help, and the workflow turns the rest into an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from controller.errors import SerinusError
from controller.observability import logger
from workflows.failures import UNEXPECTED, clip, crossing

log = logger(__name__)

TRIES = 5
"""How often an activity with an unexpected error is tried before it counts as final: it may be a passing state of the
machine, but a defect must end in a rollback and not in a release that hangs for ever."""


@contextmanager
def attempt(number: int, *, always_retry: bool = False) -> Iterator[None]:
    """Enclose the body of an activity.

    Args:
        number: Which attempt this is, from 1.
        always_retry: Never give up: for what must happen in the end, such as taking a share back.

    Raises:
        ApplicationError: Instead of anything else that the body raises.
    """
    try:
        yield
    except ApplicationError:
        raise
    except SerinusError as error:
        crossed = crossing(error, retry=True if always_retry else None)
        if not crossed.non_retryable:
            log.warning("activity_tried_again", code=error.code, reason=error.message, attempt=number)
        raise crossed from error
    except Exception as error:
        text = clip(f"{type(error).__name__}: {error}")
        is_final = number >= TRIES and not always_retry
        raise ApplicationError(text, type=UNEXPECTED, non_retryable=is_final) from error
