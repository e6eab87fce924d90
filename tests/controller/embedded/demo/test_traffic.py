"""What the load generator's files say: `controller.embedded.demo.traffic`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from controller.embedded.demo.accounting import Users
from controller.embedded.demo.traffic import Traffic
from controller.embedded.stack import Stack
from controller.errors import Unavailable
from controller.settings import Settings, load


@dataclass(frozen=True, slots=True)
class Folders:
    """What the traffic needs of a stack."""

    settings: Settings
    logs: Path


def _traffic(tmp_path: Path, *, is_final: bool) -> Traffic:
    demo = tmp_path / "demo"
    demo.mkdir(mode=0o700)
    report = {"requests": 1200, "errors": 2, "is_final": is_final}
    (demo / "report.json").write_text(json.dumps(report))
    (demo / "failures.jsonl").write_text('{"correlation_id": "a"}\n{"correlation_id": "b"}\n')
    settings = load({"SERINUS_STATE_DIR": str(tmp_path)})
    settings.access_log.parent.mkdir(parents=True, exist_ok=True)
    line = {"track": "canary", "start_ms": "1000", "correlation_id": "a", "status": 500}
    settings.access_log.write_text(json.dumps(line) + "\n")
    return Traffic(stack=cast("Stack", Folders(settings, tmp_path / "logs")), rate=300.0)


def test_users_are_summed_up_from_the_final_report(tmp_path: Path) -> None:
    """Errors of requests that touched the canary are told from the others."""
    assert _traffic(tmp_path, is_final=True).users() == Users(
        requests=1200, errors=2, errors_outside_canary=1
    )


def test_a_report_that_is_not_final_is_not_summed_up(tmp_path: Path) -> None:
    """A generator that was killed has not counted its last users: its numbers would contradict each other."""
    with pytest.raises(Unavailable, match="no final report"):
        _traffic(tmp_path, is_final=False).users()


def test_the_users_of_an_earlier_run_are_forgotten(tmp_path: Path) -> None:
    """Before this run's users come nothing is known of any."""
    traffic = _traffic(tmp_path, is_final=True)

    traffic.forget()

    assert list((tmp_path / "demo").iterdir()) == []
    with pytest.raises(Unavailable):
        traffic.users()
