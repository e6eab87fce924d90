"""The bench in short: a handful of cells with few replications, compared exactly, because their seeds are fixed."""

from __future__ import annotations

import pytest

from tests.bench.analysis.cells import IDENTICAL, NULLS, Cell
from tests.bench.analysis.judge import judge_cell
from tests.bench.analysis.page import page
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


def test_the_page_says_the_worst_figure_first_and_then_every_cell() -> None:
    """A good cell and a bad one: limits, worst figures, nothing missed, how to repeat, and one row each."""
    good = judge_cell(Cell(IDENTICAL, 80, 0.003), REPLICATIONS)
    bad = judge_cell(Cell(IDENTICAL, 1000, 0.008, fault=Fault("+20 %", level=0.2)), REPLICATIONS)

    lines = page([good, bad], commit="abc", planned=2).splitlines()

    assert any(
        line.startswith("| 20 % errors or more, 25 canary requests/s") and "| 3 s |" in line for line in lines
    )
    assert lines[lines.index("## What is missed") + 2] == "Nothing."
    assert any("commit abc" in line for line in lines)
    assert sum(line.startswith("| identical versions/80 rps/0.30% |") for line in lines) == 1
    assert sum(line.startswith("| +20 %/1000 rps/0.80% |") for line in lines) == 2
