"""Model values to wire messages and back, and errors to a trailer and back.

Before it: `remote` on the caller's side, `server` on the router's. Both use these functions, so that the two cannot
drift apart. Targets and verdicts travel as JSON, because the router only passes them through.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from controller.errors import InvalidInput, ReleaseClosed, SerinusError
from controller.model.lease import (
    Closure,
    ClosureKind,
    GrantRequest,
    Lease,
    Node,
    Observation,
    Renewal,
    RenewalAnswer,
    Standing,
)
from controller.model.look import Arm, Exceedance, History, Instance, Reading, SourceState
from controller.model.share import basis_points
from controller.model.target import Target, TargetKey
from controller.model.traffic import Match
from controller.model.verdict import Verdict
from controller.model.wealth import Tally
from controller.routing.proto import router_pb2 as wire

ERROR_TRAILER = "serinus-error-bin"
LONGEST_MESSAGE = 2_000
"""Characters of an error's message that cross."""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def target_to_json(target: Target) -> str:
    """Write a target as JSON."""
    return _adapter(Target).dump_json(target).decode()


def target_from_json(text: str) -> Target:
    """Read a target.

    Raises:
        ValueError: The text is not one.
    """
    target: Target = _adapter(Target).validate_json(text)
    return target


def verdict_to_json(verdict: Verdict | None) -> str:
    """Write a verdict as JSON; None is ""."""
    return "" if verdict is None else _adapter(Verdict).dump_json(verdict).decode()


def verdict_from_json(text: str) -> Verdict | None:
    """Read a verdict; "" is None.

    Raises:
        ValueError: The text is not one.
    """
    if not text:
        return None
    verdict: Verdict = _adapter(Verdict).validate_json(text)
    return verdict


def matches_to_json(matches: tuple[Match, ...]) -> str:
    """Write an audience as JSON; everybody is ""."""
    return "" if not matches else _adapter(tuple[Match, ...]).dump_json(matches).decode()


def matches_from_json(text: str) -> tuple[Match, ...]:
    """Read an audience; "" is everybody.

    Raises:
        ValueError: The text is not one.
    """
    if not text:
        return ()
    matches: tuple[Match, ...] = _adapter(tuple[Match, ...]).validate_json(text)
    return matches


def lease_to_wire(lease: Lease) -> wire.Lease:
    """Turn a lease into its message."""
    return wire.Lease(
        target=lease.target,
        release=lease.release,
        version=lease.version,
        epoch=lease.epoch,
        share=lease.share,
        term_s=lease.term_s,
        deadline_s=lease.deadline_s,
        matches_json=matches_to_json(lease.matches),
    )


def lease_from_wire(message: wire.Lease) -> Lease:
    """Turn a message into a lease."""
    return Lease(
        target=TargetKey(message.target),
        release=message.release,
        version=message.version,
        epoch=message.epoch,
        share=basis_points(message.share),
        term_s=message.term_s,
        deadline_s=message.deadline_s,
        matches=matches_from_json(message.matches_json),
    )


def request_to_wire(request: GrantRequest) -> wire.GrantRequest:
    """Turn a grant request into its message.

    The share for an audience has a field of its own: a router that does not know of audiences finds a share of 0 and
    refuses, instead of giving it to everybody.
    """
    share = {"audience_share" if request.matches else "share": request.share}
    return wire.GrantRequest(
        target=request.target,
        release=request.release,
        version=request.version,
        term_s=request.term_s,
        after_epoch=request.after_epoch,
        matches_json=matches_to_json(request.matches),
        **share,
    )


def request_from_wire(message: wire.GrantRequest) -> GrantRequest:
    """Turn a message into a grant request.

    Raises:
        InvalidInput: The share or the term is out of range, or the audience is not one.
    """
    try:
        matches = matches_from_json(message.matches_json)
    except ValueError as error:
        raise InvalidInput("expected matches as JSON", field="matches") from error
    return GrantRequest(
        target=TargetKey(message.target),
        release=message.release,
        version=message.version,
        share=basis_points(message.audience_share if matches else message.share),
        term_s=message.term_s,
        after_epoch=message.after_epoch,
        matches=matches,
    )


def closure_to_wire(closure: Closure) -> wire.Closure:
    """Turn a closure into its message."""
    return wire.Closure(
        target=closure.target,
        release=closure.release,
        kind=closure.kind.value,
        reason=closure.reason,
        at=closure.at,
        verdict_json=verdict_to_json(closure.verdict),
    )


def closure_from_wire(message: wire.Closure) -> Closure:
    """Turn a message into a closure.

    Raises:
        ValueError: The kind or the verdict is not known.
    """
    return Closure(
        target=TargetKey(message.target),
        release=message.release,
        kind=ClosureKind(message.kind),
        reason=message.reason,
        at=message.at,
        verdict=verdict_from_json(message.verdict_json),
    )


def renewal_from_wire(message: wire.Renewal) -> Renewal:
    """Turn a message into a renewal."""
    return Renewal(TargetKey(message.target), message.release, message.epoch)


def answer_to_wire(answer: RenewalAnswer) -> wire.RenewalAnswer:
    """Turn the answer to a renewal into its message."""
    closure = None if answer.closure is None else closure_to_wire(answer.closure)
    return wire.RenewalAnswer(
        target=answer.target, epoch=answer.epoch, standing=answer.standing.value, closure=closure
    )


def answer_from_wire(message: wire.RenewalAnswer) -> RenewalAnswer:
    """Turn a message into the answer to a renewal."""
    closure = closure_from_wire(message.closure) if message.HasField("closure") else None
    return RenewalAnswer(TargetKey(message.target), message.epoch, Standing(message.standing), closure)


def observation_to_wire(seen: Observation) -> wire.Observation:
    """Turn an observation into its message."""
    return wire.Observation(
        target=seen.target,
        epoch=seen.epoch,
        stable=seen.stable,
        lease=None if seen.lease is None else lease_to_wire(seen.lease),
        nodes=[
            wire.Node(id=node.id, acknowledged=node.acknowledged, refusal=node.refusal, lapses=node.lapses)
            for node in seen.nodes
        ],
    )


def observation_from_wire(message: wire.Observation) -> Observation:
    """Turn a message into an observation."""
    return Observation(
        target=TargetKey(message.target),
        epoch=message.epoch,
        stable=message.stable,
        lease=lease_from_wire(message.lease) if message.HasField("lease") else None,
        nodes=tuple(Node(node.id, node.acknowledged, node.refusal, node.lapses) for node in message.nodes),
    )


def reading_to_wire(reading: Reading) -> wire.Reading:
    """Turn a reading into its message."""
    return wire.Reading(
        generation=reading.generation,
        source=reading.source.value,
        age_s=reading.age_s,
        arms={version: _arm_to_wire(arm) for version, arm in reading.arms.items()},
        bounds_s=reading.bounds_s,
    )


def reading_from_wire(message: wire.Reading) -> Reading:
    """Turn a message into a reading."""
    return Reading(
        generation=message.generation,
        source=SourceState(message.source),
        age_s=message.age_s,
        arms={version: _arm_from_wire(arm) for version, arm in message.arms.items()},
        bounds_s=tuple(message.bounds_s),
    )


def _arm_to_wire(arm: Arm) -> wire.Arm:
    return wire.Arm(
        total=arm.total,
        failed=arm.failed,
        over=None if arm.over is None else wire.Exceedance(n=arm.over.n, counts=arm.over.counts),
        in_flight=arm.in_flight,
        ready=arm.ready,
        restarts=arm.restarts,
        instances=[
            wire.Instance(
                id=one.id, total=one.total, failed=one.failed, in_flight=one.in_flight, ready=one.ready
            )
            for one in arm.instances
        ],
        buckets=arm.buckets,
    )


def _arm_from_wire(message: wire.Arm) -> Arm:
    over = message.over
    return Arm(
        total=message.total,
        failed=message.failed,
        over=Exceedance(over.n, tuple(over.counts)) if message.HasField("over") else None,
        in_flight=message.in_flight,
        ready=message.ready,
        restarts=message.restarts if message.HasField("restarts") else None,
        instances=tuple(
            Instance(
                one.id, one.total, one.failed, one.in_flight, one.ready if one.HasField("ready") else None
            )
            for one in message.instances
        ),
        buckets=tuple(message.buckets),
    )


def history_to_wire(history: History) -> wire.HistoryAnswer:
    """Turn a history into its message; its minutes become one row of numbers."""
    counted = [tally for minute in history.minutes for tally in minute]
    return wire.HistoryAnswer(
        window_s=history.window_s,
        total=history.total,
        failed=history.failed,
        instances=len(history.minutes[0]) if history.minutes else 0,
        minute_totals=[tally.total for tally in counted],
        minute_failures=[tally.failed for tally in counted],
        earlier_totals=[tally.total for tally in history.earlier],
        earlier_failures=[tally.failed for tally in history.earlier],
        bounds_s=history.bounds_s,
        minute_buckets=[count for minute in history.bucket_minutes for count in minute],
    )


def history_from_wire(message: wire.HistoryAnswer) -> History:
    """Turn a message into a history.

    Raises:
        ValueError: The numbers do not make whole minutes.
    """
    counted = _tallies(message.minute_totals, message.minute_failures)
    width = message.instances
    if counted and (not width or len(counted) % width):
        raise ValueError("expected as many numbers in each minute as there are instances")
    return History(
        window_s=message.window_s,
        total=message.total,
        failed=message.failed,
        minutes=tuple(counted[at : at + width] for at in range(0, len(counted), width or 1)),
        earlier=_tallies(message.earlier_totals, message.earlier_failures),
        bounds_s=tuple(message.bounds_s),
        bucket_minutes=tuple(_lines(message.minute_buckets, len(message.bounds_s) + 1)),
    )


def _lines(numbers: Sequence[int], width: int) -> Iterator[tuple[int, ...]]:
    if len(numbers) % width:
        raise ValueError("expected as many numbers in each minute as there are buckets")
    for at in range(0, len(numbers), width):
        yield tuple(numbers[at : at + width])


def _tallies(totals: Sequence[int], failures: Sequence[int]) -> tuple[Tally, ...]:
    return tuple(Tally(total, failed) for total, failed in zip(totals, failures, strict=True))


def error_to_bytes(error: SerinusError) -> bytes:
    """Write one of our errors for the trailer."""
    body = {"code": error.code, "message": error.message[:LONGEST_MESSAGE], "field": error.field}
    if isinstance(error, ReleaseClosed) and isinstance(error.closure, Closure):
        body["closure"] = closure_to_wire(error.closure).SerializeToString().hex()
    return json.dumps(body).encode()


def error_from_bytes(raw: bytes) -> SerinusError:
    """Rebuild one of our errors; a code that is not known becomes a plain `SerinusError`.

    Raises:
        ValueError: The bytes are not what `error_to_bytes` writes.
    """
    body = json.loads(raw)
    if "closure" in body:
        closure = closure_from_wire(wire.Closure.FromString(bytes.fromhex(body["closure"])))
        return ReleaseClosed(body["message"], closure=closure)
    kind = next((kind for kind in _kinds(SerinusError) if kind.code == body["code"]), SerinusError)
    return kind(body["message"], field=body["field"])


def _kinds(kind: type[SerinusError]) -> Iterator[type[SerinusError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _kinds(child)
