"""What callers ask for, as values, and how a repeat of the same request is recognised.

Before it: the API's schemas. After it: the use cases. A request's digest is what it means, not how it was written: one
Idempotency-Key with two digests is two different requests.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from controller.model.plan import Plan, Policy
from controller.model.release import CommandKind
from controller.model.target import DEFAULT_ENVIRONMENT


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and under which ids.

    Args:
        actor: Who; from the authentication, never from the body.
        correlation_id: Of the request.
        key: The Idempotency-Key, "" when none was sent.
    """

    actor: str
    correlation_id: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A wish for a release.

    Args:
        target: Name of the target.
        version: The version that shall become stable.
        environment: Of the target.
        plan: None takes the target's own, then `standard`.
        policy: The same.
    """

    target: str
    version: str
    environment: str = DEFAULT_ENVIRONMENT
    plan: Plan | None = None
    policy: Policy | None = None


def start_digest(request: StartRequest) -> str:
    """Return the SHA-256 of what a start request means."""
    return _digest({"kind": CommandKind.START.value, **asdict(request)})


def command_digest(release: str, kind: CommandKind, reason: str) -> str:
    """Return the SHA-256 of what a command means."""
    return _digest({"kind": kind.value, "release": release, "reason": reason})


def release_id(caller: Caller, fresh: str) -> str:
    """Return the id of a release to be ordered.

    It comes out of the Idempotency-Key where there is one, so that a repeat finds its release even when the target
    has moved on meanwhile, and so that an order that was taken back is made again under the same id.

    Args:
        caller: With or without a key.
        fresh: Random text, used without a key.
    """
    if not caller.key:
        return f"rel-{fresh}"
    return f"rel-{hashlib.sha256(caller.key.encode()).hexdigest()[:20]}"


def _digest(meaning: dict[str, object]) -> str:
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
