"""Darkness: when it is said, that it is said of good canaries seldom, and what it is not said of."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.darkness import add_look, audience_part, begin_again, is_away, is_dark, longest_run
from controller.model.evidence import Darkness
from controller.model.share import EVERYTHING, NOTHING, BasisPoints

SHARE, ALPHA = BasisPoints(500), 0.01


def first_dark(*, share: BasisPoints, per_look: int, alpha: float = ALPHA) -> int:
    """Return after how many stable requests a canary without any is dark."""
    darkness, seen = Darkness(), 0
    while not is_dark(darkness, share=share, alpha=alpha):
        darkness, seen = add_look(darkness, stable=per_look, canary=0), seen + per_look
    return seen


def test_a_canary_at_five_per_cent_is_dark_after_210_stable_requests() -> None:
    """One run alone would need 182; the rest pays for every later run."""
    assert first_dark(share=SHARE, per_look=1) == 210
    assert math.ceil(math.log(1 / ALPHA) / -math.log(0.975)) == 182


def test_a_larger_share_is_missed_sooner() -> None:
    """At a half, 19 stable requests without one of the canary are enough; at a hundredth of a per cent, 105 964."""
    assert first_dark(share=BasisPoints(5000), per_look=1) == 19
    assert longest_run(Darkness(), share=BasisPoints(1), alpha=ALPHA) == 105_964


def test_a_quiet_service_has_no_dark_canary() -> None:
    """Looks without a request on either arm change nothing."""
    assert add_look(Darkness(run=100, restarts=3), stable=0, canary=0) == Darkness(run=100, restarts=3)


def test_one_request_of_the_canary_ends_the_run_and_makes_the_next_longer() -> None:
    """The bounds of all runs must add up to alpha."""
    after = add_look(Darkness(run=209), stable=50, canary=1)

    assert after == Darkness(run=0, restarts=1, canary=1, total=260)
    assert begin_again(after) == Darkness(run=0, restarts=2)
    assert (longest_run(after, share=SHARE, alpha=ALPHA) or 0) > 210


def test_a_canary_without_a_share_is_not_dark() -> None:
    """Nothing was asked for."""
    assert not is_dark(Darkness(run=10**9), share=NOTHING, alpha=ALPHA)


@pytest.mark.parametrize("share", [1, 100, 500, 5000, 9500, EVERYTHING])
@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.05])
def test_all_runs_together_seldom_accuse_a_canary_with_half_its_share(share: int, alpha: float) -> None:
    """The exact probability of each of 3 000 runs, one request a look, and the bound of all later ones: below alpha."""
    none = 1 - share / EVERYTHING / 2
    runs = (longest_run(Darkness(restarts=k), share=BasisPoints(share), alpha=alpha) for k in range(3000))

    assert sum(none ** (run or 0) for run in runs) + alpha / 3001 <= alpha


def test_simulated_canaries_with_half_their_share_are_seldom_accused() -> None:
    """800 releases of 300 looks with 0 to 3 requests at alpha = 20 %: at most 20 % are ever dark, at least 5 %."""
    rng, share, alpha, accused = random.Random(7), BasisPoints(4000), 0.2, 0
    limits = [longest_run(Darkness(restarts=k), share=share, alpha=alpha) or 0 for k in range(301)]
    for _ in range(800):
        darkness = Darkness()
        for _ in range(300):
            requests = rng.getrandbits(2)
            canary = sum(rng.random() < 0.2 for _ in range(requests))
            darkness = add_look(darkness, stable=requests - canary, canary=canary)
            if darkness.run >= limits[darkness.restarts]:
                accused += 1
                break

    assert 40 <= accused <= 160


@given(
    looks=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3)), max_size=30),
    share=st.integers(1, EVERYTHING),
)
def test_only_looks_without_a_canary_request_can_make_it_dark(
    looks: list[tuple[int, int]], share: int
) -> None:
    """Right after a canary request no canary is dark; a longer run never makes it lighter."""
    darkness = Darkness()
    for stable, canary in looks:
        before = is_dark(darkness, share=BasisPoints(share), alpha=ALPHA)
        darkness = add_look(darkness, stable=stable, canary=canary)
        after = is_dark(darkness, share=BasisPoints(share), alpha=ALPHA)
        assert after >= before if canary == 0 else not after


WHOLE = BasisPoints(10_000)


def first_away(darkness: Darkness, *, share: BasisPoints = WHOLE) -> int:
    """Return after how many stable requests without one of the canary an audience is said to be away."""
    seen = 0
    while not is_away(darkness, share=share, alpha=ALPHA):
        darkness, seen = add_look(darkness, stable=10, canary=0), seen + 10
    return seen


def test_an_audience_that_never_came_is_missed_after_ten_thousand_requests() -> None:
    """It may be a thousandth of the traffic; a tenth of its share is awaited ten times as long, no share not at all."""
    assert first_away(Darkness()) == 10_600
    assert first_away(Darkness(), share=BasisPoints(1_000)) == pytest.approx(106_000, rel=0.01)
    assert not is_away(Darkness(run=10**9), share=NOTHING, alpha=ALPHA)


def test_an_audience_that_came_is_missed_by_what_it_was() -> None:
    """A fifth of the traffic is missed after hundreds of requests, a thousandth after tens of thousands."""
    often, seldom = (add_look(Darkness(), stable=stable, canary=20) for stable in (80, 19_980))

    assert (audience_part(often), audience_part(seldom)) == (0.2, 0.001)
    assert audience_part(often, fewest=21) is None
    assert 200 <= first_away(often) <= 300
    assert 40_000 <= first_away(seldom) <= 60_000


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 20)), max_size=40))
def test_what_the_canary_had_is_counted_until_the_run_began(looks: list[tuple[int, int]]) -> None:
    """Its own requests and all requests up to its last one; never more than there were."""
    darkness = Darkness()
    for stable, canary in looks:
        darkness = add_look(darkness, stable=stable, canary=canary)

    assert darkness.canary == sum(canary for _, canary in looks)
    assert darkness.total + darkness.run == sum(map(sum, looks))
