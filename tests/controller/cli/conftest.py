"""The controller that the client commands of these tests talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.controller.cli.serving import Serving


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """A controller on loopback, whose state folder is the one that the settings name."""
    monkeypatch.setenv("SERINUS_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("SERINUS_SETTINGS", raising=False)
    # The controller runs in this very process: its log lines must not mix with what the commands print.
    with capture_logs():
        found = Serving(tmp_path)
        yield found
        found.close()
