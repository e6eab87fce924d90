"""What happens to a try that failed: the rule of each kind of request. Pure.

Before it: `routes` knows whether a request goes to a canary and whether it may be sent twice. After it: Envoy.
"""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from controller.routing.envoy.proto import resources_pb2
from controller.routing.envoy.resources import pack

NEVER_SENT = "connect-failure,refused-stream,reset-before-request"
"""What never reached the service: safe to repeat for every method."""
ANY_FAILURE = f"5xx,reset,{NEVER_SENT}"
"""What can be repeated only where asking twice does nothing."""
RETRIES = 2
HOST_DRAWS = 16
"""How often a retry draws for a host that was not tried yet before it takes any."""
_RETRY = "type.googleapis.com/envoy.extensions.retry"


def another_instance() -> resources_pb2.RetryPolicy:
    """Try another host of the same version when the service was never reached."""
    other_host = resources_pb2.RetryPolicy.HostPredicate(
        name="envoy.retry_host_predicates.previous_hosts",
        typed_config=Any(type_url=f"{_RETRY}.host.previous_hosts.v3.PreviousHostsPredicate"),
    )
    policy = _policy(NEVER_SENT, RETRIES, base_ms=10)
    policy.retry_host_predicate.append(other_host)
    policy.host_selection_retry_max_attempts = HOST_DRAWS
    return policy


def rescue(*, is_safe: bool) -> resources_pb2.RetryPolicy:
    """Try once more, at the next priority of the aggregate: the canary is never asked twice.

    Args:
        is_safe: Asking twice does nothing, so every failure is taken over, an answer of 500 and above too.
    """
    # At once: it goes to somebody else, who has done nothing wrong.
    policy = _policy(ANY_FAILURE if is_safe else NEVER_SENT, 1, base_ms=1)
    policy.retry_priority.name = "envoy.retry_priorities.previous_priorities"
    policy.retry_priority.typed_config.CopyFrom(
        pack(
            f"{_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            resources_pb2.PreviousPriorities(update_frequency=1),
        )
    )
    return policy


def _policy(retry_on: str, retries: int, *, base_ms: int) -> resources_pb2.RetryPolicy:
    return resources_pb2.RetryPolicy(
        retry_on=retry_on,
        num_retries=UInt32Value(value=retries),
        retry_back_off=resources_pb2.RetryPolicy.BackOff(
            base_interval=Duration(nanos=base_ms * 1_000_000), max_interval=Duration(nanos=50_000_000)
        ),
    )
