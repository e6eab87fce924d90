"""The rule of the lease: who may send traffic to a canary, how much, and until when.

A lease is granted for seconds and renewed while somebody judges; the keeper in the router applies these rules to its
book, and nobody else decides them. Close is final for its release; only a lapse may be re-acquired. All times are
seconds on the boot clock (CLOCK_BOOTTIME) of the router's host, which does not stop in a suspend or a SIGSTOP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from controller.errors import EpochConflict, InvalidInput, LeaseHeld, ReleaseClosed
from controller.model.share import BasisPoints, basis_points
from controller.model.target import TargetKey
from controller.model.traffic import Match
from controller.model.verdict import Verdict

LONGEST_TERM_S = 60.0


class ClosureKind(StrEnum):
    """Why a release can never hold a lease again."""

    FAILED = "failed"
    """The judge said FAIL."""
    ABORTED = "aborted"
    """A person, or the rollback of the workflow, closed it."""
    PROMOTED = "promoted"
    """Its version became stable."""


@dataclass(frozen=True, slots=True)
class Closure:
    """The bar of one release, written to the router's disk before anybody is told.

    Args:
        target: Whose release.
        release: Which release.
        kind: Why.
        reason: One sentence for people.
        verdict: The FAIL it stands on, if a judge closed it.
        at: When, seconds since 1970 (UTC).
    """

    target: TargetKey
    release: str
    kind: ClosureKind
    reason: str
    at: float
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission to have a share above 0.

    Args:
        target: Whose traffic.
        release: Which release holds it.
        version: The canary that gets the share.
        epoch: Grows with every new holder of the target.
        share: How much.
        term_s: How long one renewal lasts, seconds.
        deadline_s: When it lapses, boot clock.
        matches: Its audience: only requests that fit one of them may get the canary; empty lets all that the target does.
    """

    target: TargetKey
    release: str
    version: str
    epoch: int
    share: BasisPoints
    term_s: float
    deadline_s: float
    matches: tuple[Match, ...] = ()

    def is_live(self, now_s: float) -> bool:
        """Whether it has not lapsed at `now_s` on the boot clock."""
        return now_s < self.deadline_s


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """What a judge asks for.

    Args:
        after_epoch: The epoch the judge observed; the grant is refused if somebody took a newer one since.
        matches: As of `Lease`.
    """

    target: TargetKey
    release: str
    version: str
    share: BasisPoints
    term_s: float
    after_epoch: int
    matches: tuple[Match, ...] = ()

    def __post_init__(self) -> None:
        basis_points(self.share)
        if self.share == 0:
            raise InvalidInput("a lease is permission for a share above 0; close it instead", field="share")
        if not 0 < self.term_s <= LONGEST_TERM_S:
            raise InvalidInput(f"expected a term above 0 and at most {LONGEST_TERM_S:g} s", field="term_s")


@dataclass(frozen=True, slots=True)
class Renewal:
    """One line of a renewal batch: the holder names itself by target and epoch."""

    target: TargetKey
    release: str
    epoch: int


class Standing(StrEnum):
    """What became of a renewal."""

    RENEWED = "renewed"
    LAPSED = "lapsed"
    """It ran out first; acquire again with a new epoch."""
    SUPERSEDED = "superseded"
    """Somebody holds a newer epoch; stop."""
    CLOSED = "closed"
    """The release is barred; stop."""


@dataclass(frozen=True, slots=True)
class RenewalAnswer:
    """The answer to one line of a batch; `closure` is set when it is CLOSED."""

    target: TargetKey
    epoch: int
    standing: Standing
    closure: Closure | None = None


def grant(
    request: GrantRequest, *, current: Lease | None, epoch: int, closure: Closure | None, now_s: float
) -> Lease:
    """Decide a grant.

    Args:
        request: What the judge asks for.
        current: The target's lease, live or lapsed, if there is one.
        epoch: The highest epoch ever given for the target, 0 before the first.
        closure: The bar of the asking release, if it is closed.
        now_s: Boot clock.

    Raises:
        ReleaseClosed: The release is barred for ever.
        LeaseHeld: Another release holds an unexpired lease.
        EpochConflict: The epoch is not the one the judge observed.
    """
    if closure is not None:
        raise ReleaseClosed(
            f"release {request.release} is closed ({closure.kind}): {closure.reason}", closure=closure
        )
    if current is not None and current.release != request.release and current.is_live(now_s):
        raise LeaseHeld(
            f"release {current.release} holds the lease of {request.target}; wait for its end or abort it"
        )
    if request.after_epoch != epoch:
        raise EpochConflict(
            f"epoch of {request.target} is {epoch}, not {request.after_epoch}: observe and ask again"
        )
    return Lease(
        target=request.target,
        release=request.release,
        version=request.version,
        epoch=epoch + 1,
        share=request.share,
        term_s=request.term_s,
        deadline_s=now_s + request.term_s,
        matches=request.matches,
    )


def renew(
    renewal: Renewal, *, current: Lease | None, epoch: int, closure: Closure | None, now_s: float
) -> tuple[RenewalAnswer, Lease | None]:
    """Decide one renewal; returns the answer and the lease to keep (None when it did not live on)."""
    if closure is not None:
        return RenewalAnswer(renewal.target, renewal.epoch, Standing.CLOSED, closure), None
    if renewal.epoch != epoch or (current is not None and current.release != renewal.release):
        return RenewalAnswer(renewal.target, renewal.epoch, Standing.SUPERSEDED), current
    if current is None or not current.is_live(now_s):
        return RenewalAnswer(renewal.target, renewal.epoch, Standing.LAPSED), None
    return (
        RenewalAnswer(renewal.target, renewal.epoch, Standing.RENEWED),
        replace(current, deadline_s=now_s + current.term_s),
    )


@dataclass(frozen=True, slots=True)
class Node:
    """One connected proxy as the data plane sees it.

    Args:
        id: The proxy's own id.
        acknowledged: Whether it has accepted the newest configuration and shares.
        refusal: The text of its last refusal (NACK), or why it has no shares though a lease is live; "" when there is
            none since the last acceptance.
        lapses: How often it had no shares though a lease was live, since the router started. What was lost is sent
            again at once, so this is where it can still be seen.
    """

    id: str
    acknowledged: bool
    refusal: str = ""
    lapses: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """What the keeper and its data plane know about one target now.

    Args:
        epoch: The highest epoch ever given, 0 before the first.
        stable: The stable version in the route.
        lease: The unexpired lease, if any.
        nodes: Every connected proxy; empty means that nobody serves this target right now.
    """

    target: TargetKey
    epoch: int
    stable: str
    lease: Lease | None = None
    nodes: tuple[Node, ...] = ()

    @property
    def is_applied(self) -> bool:
        """Whether at least one proxy is connected and all of them have accepted the newest state."""
        return bool(self.nodes) and all(node.acknowledged for node in self.nodes)
