"""The log lines of our processes: `controller.observability`. It sets up a whole process, so each test is one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LIBRARIES = ["alembic.runtime.migration", "httpx", "temporalio.worker._worker", "uvicorn.error"]


def _logged(level: str) -> list[dict[str, object]]:
    """Return the lines of a process in which every library says something ordinary and something alarming."""
    program = (
        "import logging\n"
        "from controller import observability\n"
        f"observability.configure('router', {level!r})\n"
        f"for name in {LIBRARIES!r}:\n"
        "    logging.getLogger(name).info('Started server process [1]')\n"
        "    logging.getLogger(name).warning('look soon')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.process
def test_only_trouble_of_libraries_is_logged() -> None:
    """Their info is prose about themselves; their warnings are ours to see."""
    lines = _logged("info")

    assert [(line["event"], line["process"]) for line in lines] == [("look soon", "router")] * len(LIBRARIES)


@pytest.mark.process
def test_a_quieter_level_holds_for_libraries_too() -> None:
    """Who asked for errors alone gets no warning of a library."""
    assert _logged("error") == []
