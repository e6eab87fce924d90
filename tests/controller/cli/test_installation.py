"""The guard of the installation: `workflows` and `services` are names that others use as well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from controller.cli import main


def test_this_installation_is_whole() -> None:
    """Our own packages lie side by side."""
    main.check_installation()


def test_every_command_is_added_once() -> None:
    """A module that is listed twice would add its commands twice."""
    assert len(set(main.MODULES)) == len(main.MODULES)


@pytest.mark.process
def test_a_strangers_package_is_refused(tmp_path: Path) -> None:
    """With somebody else's `workflows` before ours the command ends with 78 and says which package lies where."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "__init__.py").touch()
    program = "from controller.cli.main import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", program, "status"], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == main.EXIT_CONFIGURATION
    assert "workflows" in done.stderr
    assert len(done.stderr.splitlines()) == 1
