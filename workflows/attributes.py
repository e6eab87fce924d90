"""Search attributes of a release: what `temporal workflow list` and the Temporal UI can be asked for.

They must be registered on the server; a workflow that was started without them never touches them. Set at the start by
`workflows.client`, renewed on step edges by `workflows.release`: each renewal is one event of the history.
"""

from __future__ import annotations

from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)

from controller.model.release import ReleaseOrder, State

TARGET = SearchAttributeKey.for_keyword("SerinusTarget")
ENVIRONMENT = SearchAttributeKey.for_keyword("SerinusEnvironment")
VERSION = SearchAttributeKey.for_keyword("SerinusVersion")
STATE = SearchAttributeKey.for_keyword("SerinusState")
STEP = SearchAttributeKey.for_int("SerinusStep")
RELEASE = SearchAttributeKey.for_keyword("SerinusRelease")
CORRELATION_ID = SearchAttributeKey.for_keyword("SerinusCorrelationId")

KEYWORDS = (TARGET, ENVIRONMENT, VERSION, STATE, RELEASE, CORRELATION_ID)
NUMBERS = (STEP,)


def of(order: ReleaseOrder) -> TypedSearchAttributes:
    """Return the attributes a release starts with."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(TARGET, order.target.name),
            SearchAttributePair(ENVIRONMENT, order.target.environment),
            SearchAttributePair(VERSION, order.version),
            SearchAttributePair(STATE, State.STARTING.value),
            SearchAttributePair(STEP, 0),
            SearchAttributePair(RELEASE, order.id),
            SearchAttributePair(CORRELATION_ID, order.correlation_id),
        ]
    )


def are_known(attributes: TypedSearchAttributes) -> bool:
    """Whether a release was started with its attributes, so that they can be renewed."""
    return attributes.get(RELEASE) is not None


def moved(state: State, step: int) -> list[SearchAttributeUpdate[str] | SearchAttributeUpdate[int]]:
    """Return the renewal for a step edge."""
    return [STATE.value_set(state.value), STEP.value_set(step)]
