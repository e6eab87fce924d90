"""The bench in short: a handful of cells with few replications, compared exactly, because their seeds are fixed."""

from __future__ import annotations

import pytest

from tests.bench.analysis.cells import IDENTICAL, NULLS, Cell
from tests.bench.analysis.judge import judge_cell
from tests.bench.analysis.promises import misses, one_line
from tests.bench.analysis.worlds import Family, Fault

REPLICATIONS = 20


@pytest.mark.parametrize("family", [IDENTICAL, *NULLS[:3]], ids=lambda family: family.name)
def test_good_versions_stay(family: Family) -> None:
    """Twenty good releases of each kind: none is rolled back by the engine."""
    outcome = judge_cell(Cell(family, 80, 0.003), REPLICATIONS)

    assert [outcome["by"][name]["false"] for name in ("one metric", "two metrics", "fleet")] == [0, 0, 0]
    assert misses([outcome]) == []


def test_bad_versions_go_and_the_delay_is_always_the_same() -> None:
    """Twenty canaries with 20 % errors at 30 canary requests a second: all seen; the seeds fix the seconds."""
    cell = Cell(IDENTICAL, 1000, 0.008, fault=Fault("+20 %", level=0.2))

    outcome = judge_cell(cell, REPLICATIONS)

    assert outcome == judge_cell(cell, REPLICATIONS)
    assert outcome["by"]["one metric"]["detected"] == REPLICATIONS
    assert outcome["by"]["one metric"]["median_s"] == 3.0
    assert outcome["by"]["clairvoyant"]["median_s"] == 2.0
    assert outcome["by"]["two metrics"]["median_s"] == 3.0
    assert one_line([outcome], 1).startswith("bench-analysis: cells 1/1; misses 0 ")
    assert misses([outcome]) == []
