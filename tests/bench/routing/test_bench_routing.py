"""The bench in short: a few shifts under a small load lose nothing, and its numbers are what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.routing.envoy.plane import ACKNOWLEDGE_WITHIN_S
from tests.bench.routing.cost import PUSHES, cost, scale
from tests.bench.routing.run import one_line, percentile
from tests.bench.routing.shifts import Outcome, measure


def test_percentiles_are_values_that_were_measured() -> None:
    """Nothing is interpolated; no values are 0."""
    values = [float(number) for number in range(1, 101)]

    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([], 0.5)) == (51.0, 100.0, 0.0)


def test_the_summary_is_one_line() -> None:
    """What failed comes first."""
    outcome = Outcome(first=[0.001], last=[0.002], call=[0.003], requests=10, failed=1)

    assert one_line({"idle": outcome}, 1) == (
        "bench-routing: shifts 1 x 1; failed requests 1 of 10; idle new p50/p99 1.0/1.0 ms, old 2.0/2.0 ms"
    )


@pytest.mark.process
@pytest.mark.parametrize("rate", [0.0, 200.0])
async def test_shifts_lose_nothing(short_folder: Path, rate: float) -> None:
    """Six shifts there and back: no request fails, each is seen, and no request starts on the old side for long."""
    outcome = await measure(short_folder, shifts=6, gap_s=0.1, rate=rate)

    assert outcome.failed == 0
    assert outcome.requests > 50
    assert outcome.unseen == 0
    assert max(outcome.last) < 1.0


@pytest.mark.long
@pytest.mark.process
async def test_costs_are_measured(short_folder: Path) -> None:
    """Both listeners used CPU, and a shift of one service of three was acknowledged each time."""
    costs = await cost(short_folder, requests=160)
    (short_folder / "b").mkdir()
    three = await scale(short_folder / "b", services=3)

    assert min(costs.plain, costs.ours, costs.shared) >= 0
    assert len(three.begun_s) == len(three.stepped_s) == PUSHES
    assert max(*three.begun_s, *three.stepped_s) < ACKNOWLEDGE_WITHIN_S
    assert three.memory > 2**20
