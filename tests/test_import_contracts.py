"""The import contracts hold, and each of them catches what it is there for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINTER = Path(sysconfig.get_path("scripts")) / "lint-imports"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINTER, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("controller", "workflows", "services"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "seed", "contract"),
    [
        ("controller/model/share.py", "import httpx", "The pure core touches no IO library"),
        ("controller/analysis/rails.py", "import controller.settings", "The pure core touches no IO library"),
        ("controller/releases/ordering.py", "import temporalio.client", "Temporal stays in workflows"),
        ("controller/metrics/envoy.py", "import controller.routing.remote", "Controller reads top down"),
        ("controller/store/sql.py", "import controller.api.app", "Controller reads top down"),
        (
            "controller/traces/remote.py",
            "import controller.traces.memory",
            "Adapters never import each other",
        ),
        ("services/faults.py", "import controller.errors", "Services know nobody"),
        ("controller/judging/loop.py", "import workflows.messages", "Packages point one way"),
        ("workflows/release.py", "import controller.bootstrap", "Workflow code sees only the model"),
        ("controller/routing/keeper.py", "import fastapi", "The router starts light"),
    ],
)
def test_a_seeded_violation_is_caught(copy: Path, file: str, seed: str, contract: str) -> None:
    """One forbidden import breaks the contract that forbids it."""
    with (copy / file).open("a") as source:
        source.write(f"\n{seed}\n")

    result = lint(copy)

    assert result.returncode == 1
    assert f"{contract} BROKEN" in " ".join(result.stdout.split())


def test_a_folder_without_a_place_in_the_layers_is_caught(copy: Path) -> None:
    """A new folder in controller has to be given its place."""
    (copy / "controller" / "helpers").mkdir()
    (copy / "controller" / "helpers" / "__init__.py").write_text('"""Anything."""\n')

    result = lint(copy)

    assert result.returncode == 1
    assert "helpers" in result.stdout
