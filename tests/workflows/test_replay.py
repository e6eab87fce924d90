"""Releases that older code began are carried on by today's: every stored history replays."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.histories.record import DELIVERY, STORIES
from workflows.deliver import DeliverWorkflow
from workflows.release import ReleaseWorkflow

FILES = sorted((Path(__file__).parents[1] / "histories").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_stored_history_replays(path: Path) -> None:
    """The workflow takes the same decisions on the same events; where it would not, releases in flight would hang."""
    history = WorkflowHistory.from_json(path.stem, path.read_text())

    result = await Replayer(workflows=[ReleaseWorkflow, DeliverWorkflow]).replay_workflow(history)

    assert result.replay_failure is None


def test_every_way_through_a_release_has_a_history() -> None:
    """A story without a file was never recorded: `python -m tests.histories.record --missing`."""
    assert {path.name.split(".")[0] for path in FILES} >= {*STORIES, DELIVERY}
