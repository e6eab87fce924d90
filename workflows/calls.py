"""How each activity is called: queue, time limits and retries, in one place so that the workflow reads as a story.

Before it: `workflows.release` decides what comes next. After it: `workflows.activities` on a worker. Every activity is
retried for ever with a short back-off as long as its error says that trying again can help (`workflows.failures`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from workflows.messages import CONTROL_QUEUE, IO_QUEUE, JUDGE_QUEUE, Activity

Out = TypeVar("Out")

HEARTBEAT_TIMEOUT = timedelta(seconds=5)
"""A killed worker is noticed after this; the lease term is as long, so that a take-over costs one short dip to stable."""
LONGEST_STEP = timedelta(days=30)
"""A gate may wait for people; the judge's heartbeat, not this limit, notices a dead worker."""
HANDOVER = timedelta(seconds=8)
"""How long an interrupted activity may take to answer: its cancellation travels with a heartbeat (1 s), and the
heartbeat of a dead worker runs out after 5 s."""
AGAIN = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=2),
)
DELIVER_AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=1)
)


@dataclass(frozen=True, slots=True)
class Call:
    """How one activity is called.

    Args:
        limit: Longest run of one attempt.
        queue: Where it runs.
        beats: It heartbeats, so that a dead worker and a cancellation are noticed within seconds.
        again: When it is tried again.
    """

    limit: timedelta
    queue: str = CONTROL_QUEUE
    beats: bool = False
    again: RetryPolicy = field(default_factory=lambda: AGAIN)


CALLS: dict[Activity, Call] = {
    Activity.PREFLIGHT: Call(timedelta(minutes=2), beats=True),
    Activity.START_VERSION: Call(timedelta(hours=2), beats=True),
    Activity.HOLD_STEP: Call(LONGEST_STEP, JUDGE_QUEUE, beats=True),
    Activity.PROMOTE: Call(timedelta(seconds=15)),
    Activity.CLOSE: Call(timedelta(seconds=10)),
    Activity.CONCLUDE: Call(timedelta(seconds=15)),
    Activity.RETIRE: Call(timedelta(minutes=5), beats=True),
    Activity.FINISH: Call(timedelta(seconds=15)),
    Activity.DELIVER_NEXT: Call(timedelta(seconds=45), IO_QUEUE, again=DELIVER_AGAIN),
}


def begin(activity: Activity, errand: Any, answer: type[Out]) -> workflow.ActivityHandle[Out]:
    """Schedule an activity and return its handle; the answer has the given type."""
    call = CALLS[activity]
    return workflow.start_activity(
        activity.value,
        errand,
        result_type=answer,
        task_queue=call.queue,
        start_to_close_timeout=call.limit,
        heartbeat_timeout=HEARTBEAT_TIMEOUT if call.beats else None,
        retry_policy=call.again,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )
