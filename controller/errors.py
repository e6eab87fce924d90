"""Every error that Serinus raises on purpose, so that each edge maps it once.

    SerinusError
    ├── InvalidInput            a field of what the caller sent is wrong            422
    ├── NotFound                target, version, release or trace is not known      404
    ├── Unauthorized            no or wrong token                                   401
    ├── Conflict                                                                    409
    │   ├── TargetBusy          another release of the target is running
    │   ├── CommandRefused      the release is in a state that does not take it
    │   └── KeyReused           one Idempotency-Key, two different requests         422
    ├── LeaseRefused                                                                409
    │   ├── ReleaseClosed       the release is barred; carries the closure
    │   ├── LeaseHeld           another release holds an unexpired lease
    │   └── EpochConflict       somebody took a newer epoch
    ├── Unavailable             a part does not answer; trying again can help       503
    │   ├── RouterUnavailable, OrchestratorUnavailable, SourceUnavailable,
    │   └── StoreUnavailable, WorkloadsUnavailable, TracesUnavailable
    ├── DataPlaneRefused        the proxy rejected what it was given (NACK)         502
    ├── EgressRefused           an outgoing request is not allowed by the guard     422
    ├── DeliveryFailed          a channel did not take a notice                     502
    └── ConfigurationError      settings, an unknown adapter, a broken installation exit 78

Adapters turn library errors into these at the call (`raise ... from error`); nobody above an adapter sees httpx,
grpc or sqlalchemy. Messages name the thing, what was expected, what was found and the next step. They never hold a
secret and never echo a caller's value.
"""

from __future__ import annotations

from typing import ClassVar


class SerinusError(Exception):
    """Anything that Serinus raises on purpose."""

    code: ClassVar[str] = "internal"
    """Stable, snake_case; part of the API."""
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    """Whether the same call can succeed later without anybody changing it."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        """The input field the error is about, as a dotted path, or None."""


class InvalidInput(SerinusError, ValueError):
    """A field of what the caller sent is wrong."""

    code = "invalid_input"
    http_status = 422


class NotFound(SerinusError):
    """A target, version, release or trace is not known."""

    code = "not_found"
    http_status = 404


class Unauthorized(SerinusError):
    """The caller sent no token, or a wrong one."""

    code = "unauthorized"
    http_status = 401


class Conflict(SerinusError):
    """The request is fine, but not in the present state."""

    code = "conflict"
    http_status = 409


class TargetBusy(Conflict):
    """Another release of the same target is running.

    Args:
        release: The id of the running release, "" when only the orchestrator knows it.
    """

    code = "target_busy"

    def __init__(self, message: str, *, release: str) -> None:
        super().__init__(message, field="target")
        self.release = release


class CommandRefused(Conflict):
    """The release is in a state that does not take this command."""

    code = "command_refused"


class KeyReused(Conflict):
    """One Idempotency-Key was sent with two different requests."""

    code = "idempotency_key_reused"
    http_status = 422


class LeaseRefused(SerinusError):
    """The lease keeper did not grant or renew."""

    code = "lease_refused"
    http_status = 409


class ReleaseClosed(LeaseRefused):
    """The release is barred for ever.

    Args:
        closure: The `controller.model.lease.Closure` that bars it.
    """

    code = "release_closed"

    def __init__(self, message: str, *, closure: object) -> None:
        super().__init__(message)
        self.closure = closure


class LeaseHeld(LeaseRefused):
    """Another release holds an unexpired lease on the target."""

    code = "lease_held"
    retryable = True


class EpochConflict(LeaseRefused):
    """Somebody took a newer epoch between the caller's observation and its request."""

    code = "epoch_conflict"
    retryable = True


class Unavailable(SerinusError):
    """A part does not answer; the same call can succeed later."""

    code = "unavailable"
    http_status = 503
    retryable = True


class RouterUnavailable(Unavailable):
    """The router (lease keeper) does not answer."""

    code = "router_unavailable"


class OrchestratorUnavailable(Unavailable):
    """Temporal does not answer."""

    code = "orchestrator_unavailable"


class SourceUnavailable(Unavailable):
    """A metric source does not answer."""

    code = "source_unavailable"


class StoreUnavailable(Unavailable):
    """The ledger does not answer or cannot write."""

    code = "store_unavailable"


class WorkloadsUnavailable(Unavailable):
    """Whoever starts and stops versions does not answer."""

    code = "workloads_unavailable"


class TracesUnavailable(Unavailable):
    """The trace store does not answer."""

    code = "traces_unavailable"


class DataPlaneRefused(SerinusError):
    """The proxy rejected what it was given; it keeps the last good configuration."""

    code = "data_plane_refused"
    http_status = 502


class EgressRefused(SerinusError):
    """An outgoing request is not allowed by the guard."""

    code = "egress_refused"
    http_status = 422


class DeliveryFailed(SerinusError):
    """A channel did not take a notice; it will be tried again."""

    code = "delivery_failed"
    http_status = 502
    retryable = True


class ConfigurationError(SerinusError):
    """Settings, an unknown adapter name, or a broken installation."""

    code = "configuration"
