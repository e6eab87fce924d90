"""The bench's own arithmetic: reference values, exact bounds, and worlds that do what their line says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.analysis.luck import luck_of
from controller.model.wealth import Tally
from tests.bench.analysis import fleets, past, peers, worlds
from tests.bench.analysis.cells import IDENTICAL, NULLS, REPORTED_LADDER, Cell, all_cells
from tests.bench.analysis.chances import at_least, lower, upper
from tests.bench.analysis.oracle import wald_requests
from tests.bench.analysis.shapes import NEVER, Counts, Ladder

HOUR = np.array([[12, 30, 18, 22, 9, 41, 25, 17, 33, 20]])
SHORT = Ladder(shares=(0.1, 0.5), step_s=300)


def steady(nb: int, xb: int, nc: int, xc: int) -> Counts:
    """Return one rollout with the same counts at every look."""
    each = [np.full((1, SHORT.looks), count) for count in (nb, xb, nc, xc)]
    return Counts(*each)


def test_reference_values_of_the_spread_between_instances() -> None:
    """Ten instances with 3 600 requests each give 0.386735; six that differ by luck alone give 0."""
    assert past.spread(HOUR[:, None, :], 3600)[0][0] == pytest.approx(0.386735, abs=1e-6)
    assert past.spread(np.array([[[20, 21, 19, 22, 18, 20]]]), 3600)[0][0] == 0


def test_the_spread_in_blocks_equals_the_products() -> None:
    """An hour of twelve instances whose luck changes every ten minutes, also where instances show few failures."""
    rng = np.random.default_rng(7)
    for rate in (0.3, 3.0, 40.0):
        luck = np.exp(0.4 * rng.normal(size=(6, 12))).repeat(10, axis=0)
        failed = rng.poisson(rate * luck)
        mine = past.luck_spread(failed.sum(axis=0)[None, :], 60_000, failed[None], 1000)

        minutes = [[Tally(1000, int(x)) for x in row] for row in failed]
        product = luck_of([sum(column, Tally()) for column in zip(*minutes, strict=True)], minutes)

        assert mine[0] == pytest.approx(product.tau, abs=1e-9)


@pytest.mark.parametrize(
    ("canary", "stable", "tail", "expected"),
    [(1, 9, 0.00125, 5.94483), (3, 7, 0.00125, 3.31962), (6, 4, 0.00125, 3.09105), (2, 9, 0.025, 2.1796)],
)
def test_reference_values_of_the_margin_of_luck(
    canary: int, stable: int, tail: float, expected: float
) -> None:
    """The margin for those ten instances."""
    rho = past.luck_margin(past.spread(HOUR[:, None, :], 3600)[0], 10, canary, stable, tail)

    assert rho[0] == pytest.approx(expected, rel=1e-4)


def test_reference_values_of_the_dispersion() -> None:
    """Two blocks of four instances give 3.833333; ten blocks of single errors give 1."""
    groups = np.array([[[4, 0, 0, 0], [0, 4, 0, 4], [0, 0, 0, 0]]])
    alone = np.array([[[1, 1, 0, 1]] * 10])

    assert past.gated_dispersion(np.full_like(groups, 100), groups)[0] == pytest.approx(3.833333, abs=1e-6)
    assert past.gated_dispersion(np.full_like(alone, 100), alone)[0] == 1.0


def test_the_exact_bounds_are_clopper_and_pearson() -> None:
    """At the bound the tail is exactly what the confidence leaves; 0 of 2 000 is at most 0.18 %."""
    assert at_least(10, 1000, lower(10, 1000, 0.999)) == pytest.approx(0.001, rel=1e-3)
    assert lower(0, 2000, 0.999) == 0
    assert upper(0, 2000, 0.975) == pytest.approx(1 - 0.025 ** (1 / 2000), rel=1e-6)
    assert upper(5, 5, 0.975) == 1


def test_wald_needs_what_the_research_says() -> None:
    """5x of 0.5 % against the default margin: 273.1 canary requests; nothing sees a canary inside the margin."""
    assert wald_requests(0.005, 0.025, rho=1.1, delta=0.0005, alpha=0.01) == pytest.approx(273.1, abs=0.05)
    assert math.isinf(wald_requests(0.005, 0.005, rho=1.1, delta=0.0005, alpha=0.01))


def test_peers_decide_when_their_documents_say() -> None:
    """A canary that always fails: Argo at the fourth minute, Flagger one tick after the fifth, Kayenta at five."""
    found = peers.judge_all(steady(90, 0, 10, 10), SHORT)

    assert {name: int(at[0]) for name, at in found.items()} == {
        "Argo 95 %, limit 3": 240,
        "Argo 99 %, limit 3": 240,
        "Flagger 99 %, 5 checks": 360,
        "Kayenta": 300,
        "SRE burn 14.4x": 60,
        "naive z, 1 %": 5,
    }


def test_peers_roll_back_a_service_without_traffic() -> None:
    """No request at all: two of them count it as failing, as their sources do; the others see nothing."""
    found = peers.judge_all(steady(0, 0, 0, 0), SHORT)

    rolled_back = {name for name, at in found.items() if at[0] != NEVER}
    assert rolled_back == {"Argo 95 %, limit 3", "Argo 99 %, limit 3", "Flagger 99 %, 5 checks"}


@pytest.mark.parametrize("family", [IDENTICAL, *NULLS], ids=lambda family: family.name)
def test_a_world_has_the_rate_it_was_asked_for(family: worlds.Family) -> None:
    """Requests and failures of stable add up to what was expected, within five standard errors of the groups."""
    rng = np.random.default_rng(7)
    world = worlds.rates(family, None, REPORTED_LADDER, 40, 0.02, 20, rng)
    counts = worlds.counts(family, world, REPORTED_LADDER, rng)

    failing = float((world.load_b * world.pb).sum())
    assert counts.xb.sum() == pytest.approx(failing, abs=5 * max(family.sizes) * math.sqrt(failing) + 50)
    assert counts.nb.sum() == pytest.approx(world.load_b.sum(), rel=0.02)
    assert (counts.xc <= counts.nc).all()


@pytest.mark.parametrize(("wander_s", "alike_after"), [(0.0, 1.0), (600.0, math.exp(-1000 / 600))])
def test_luck_has_its_spread_and_lasts_as_long_as_it_is_told(wander_s: float, alike_after: float) -> None:
    """The log has the standard deviation asked for at any time; after 1 000 s it is as like itself as it should be."""
    family = worlds.Family("unlike", spread=0.25, wander_s=wander_s)
    log = np.log(fleets.luck(family, 2000, 3, 1100.0, np.random.default_rng(3)))

    first, last = log[:, :, 0].ravel(), log[:, :, 10].ravel()
    assert first.std() == pytest.approx(0.25, rel=0.05)
    assert last.std() == pytest.approx(0.25, rel=0.05)
    assert np.corrcoef(first, last)[0, 1] == pytest.approx(alike_after, abs=0.05)


def test_luck_multiplies_the_rates_of_the_instances_that_serve() -> None:
    """Two canary instances with factors 1 and 3 double the canary's rate; stable's own luck moves stable's."""
    world = worlds.rates(IDENTICAL, None, SHORT, 40, 0.01, 1, np.random.default_rng(1))
    canary = np.array([1.0, 3.0, 1, 1, 1, 1]).reshape(1, 6, 1).repeat(6, axis=2)

    lucky = fleets.with_luck(world, SHORT, canary, np.full((1, 12, 6), 0.5))

    assert lucky.pc[0, 0] == pytest.approx(0.02)
    assert lucky.pc[0, -1] == pytest.approx(0.01 * 8 / 6)
    assert lucky.pb[0] == pytest.approx(0.005)


def test_no_two_cells_share_a_name() -> None:
    """A name is the key of a stored outcome and the seed of its luck."""
    names = [cell.name for cell in all_cells()]

    assert len(set(names)) == len(names)
    assert any(cell.is_late for cell in all_cells())
    assert not any(cell.family.chosen_on for cell in all_cells() if cell.reported)
    assert Cell(IDENTICAL, 1, 0.0).name == "null/identical versions/1 rps/0.00%"
