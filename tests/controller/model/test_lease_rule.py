"""The rule of the lease, as pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import EpochConflict, InvalidInput, LeaseHeld, ReleaseClosed
from controller.model.lease import (
    Closure,
    ClosureKind,
    GrantRequest,
    Lease,
    Renewal,
    Standing,
    grant,
    renew,
)
from controller.model.share import BasisPoints
from controller.model.target import TargetKey

KEY = TargetKey("local.catalog")
CLOSED = Closure(KEY, "rel-1", ClosureKind.FAILED, "14 of 61", at=1.0)


def asks(release: str = "rel-1", after_epoch: int = 0) -> GrantRequest:
    return GrantRequest(KEY, release, "v2", BasisPoints(500), 5.0, after_epoch)


def holds(release: str = "rel-1", epoch: int = 1, deadline_s: float = 10.0) -> Lease:
    return Lease(KEY, release, "v2", epoch, BasisPoints(500), 5.0, deadline_s)


def test_a_grant_takes_the_next_epoch_and_its_term() -> None:
    """A free target gives epoch + 1 and now + term."""
    lease = grant(asks(after_epoch=4), current=None, epoch=4, closure=None, now_s=100.0)

    assert (lease.epoch, lease.deadline_s) == (5, 105.0)


def test_a_live_lease_of_another_release_refuses() -> None:
    """Two releases never hold one target."""
    with pytest.raises(LeaseHeld):
        grant(asks("rel-2", 1), current=holds(), epoch=1, closure=None, now_s=9.9)


def test_a_lapsed_lease_of_another_release_does_not_refuse() -> None:
    """At its deadline a lease has lapsed."""
    assert grant(asks("rel-2", 1), current=holds(), epoch=1, closure=None, now_s=10.0).release == "rel-2"


def test_the_same_release_takes_over_its_own_live_lease() -> None:
    """The next judge of a release need not wait for the lapse of the one before."""
    assert grant(asks(after_epoch=1), current=holds(), epoch=1, closure=None, now_s=1.0).epoch == 2


def test_an_epoch_that_was_overtaken_refuses() -> None:
    """Compare and set: who observed an old epoch must observe again."""
    with pytest.raises(EpochConflict):
        grant(asks(after_epoch=0), current=None, epoch=1, closure=None, now_s=0)


def test_a_closed_release_is_refused_with_its_closure() -> None:
    """Close is final, and says what for."""
    with pytest.raises(ReleaseClosed) as refused:
        grant(asks(), current=None, epoch=0, closure=CLOSED, now_s=0)

    assert refused.value.closure == CLOSED


@pytest.mark.parametrize(
    ("current", "epoch", "closure", "now_s", "standing"),
    [
        (holds(), 1, None, 9.0, Standing.RENEWED),
        (holds(), 1, None, 10.0, Standing.LAPSED),
        (None, 1, None, 9.0, Standing.LAPSED),
        (holds(epoch=2), 2, None, 9.0, Standing.SUPERSEDED),
        (holds("rel-2", 1), 1, None, 9.0, Standing.SUPERSEDED),
        (holds(), 1, CLOSED, 9.0, Standing.CLOSED),
    ],
)
def test_a_renewal_has_one_answer(
    current: Lease | None, epoch: int, closure: Closure | None, now_s: float, standing: Standing
) -> None:
    """Renewed, lapsed, superseded or closed."""
    answer, _ = renew(Renewal(KEY, "rel-1", 1), current=current, epoch=epoch, closure=closure, now_s=now_s)

    assert answer.standing is standing


@given(late_s=st.floats(0, 1e6))
def test_nothing_renews_a_lease_after_its_deadline(late_s: float) -> None:
    """However a renewal is delayed, a lapse stays a lapse."""
    _, kept = renew(Renewal(KEY, "rel-1", 1), current=holds(), epoch=1, closure=None, now_s=10.0 + late_s)

    assert kept is None


@pytest.mark.parametrize("share", [0, -1, 10_001, True, 5.5])
def test_a_wrong_share_cannot_be_asked_for(share: int) -> None:
    """A share out of range never reaches the keeper."""
    with pytest.raises(InvalidInput):
        GrantRequest(KEY, "rel-1", "v2", BasisPoints(share), 5.0, 0)
