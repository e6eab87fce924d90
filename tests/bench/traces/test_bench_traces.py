"""The bench of the trace store: its parts run, and every question finds something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.traces import run
from tests.bench.traces.bodies import bodies
from tests.bench.traces.ingesting import batches, measure

pytestmark = pytest.mark.process


def test_batches_hold_all_spans_once() -> None:
    """A trace is never cut off, so there may be a few spans more."""
    made = list(batches(3_000, 1_000))
    assert 3_000 <= sum(held for _, held in made) < 3_030
    assert sum(len(batch) for batch, _ in made) == len(list(bodies(3_000, since_ns=0)))


@pytest.mark.parametrize("way", ["parse", "decode", "sqlite"])
def test_ways_beside_ours_run(way: str, tmp_path: Path) -> None:
    """Each takes all spans."""
    assert measure(way, tmp_path, 600, 300)["spans"] >= 600


@pytest.mark.long
def test_a_filled_store_answers_every_question(capsys: pytest.CaptureFixture[str]) -> None:
    """All is asked, idle and while spans come in."""
    assert "3,0" in run.answers(3_000, 1)
    assert capsys.readouterr().out.count("while ingesting") == 10
