"""The house rules that a machine can check: sizes, docstrings, names, and nothing of this machine in the tree."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("controller", "workflows", "services")
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if not path.stem.endswith(("_pb2", "_pb2_grpc"))
)
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    """Files stop at 400 lines, functions at 60, and each file says why it exists."""
    text = path.read_text()
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert text.count("\n") <= LONGEST_FILE
    assert [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno > LONGEST_FUNCTION] == []
    assert ast.get_docstring(tree)


def test_only_settings_reads_the_environment() -> None:
    """Everybody else is told; the command line and child processes are named exceptions."""
    allowed = {"controller/settings.py"}
    reading = re.compile(r"os\.(environ|getenv)")

    found = {
        named(path)
        for path in SOURCES
        if path.is_relative_to(ROOT / "controller") and reading.search(path.read_text())
    }

    assert found - allowed <= {
        "controller/cli/demo.py",  # the start of the command, handed on by make
        "controller/embedded/child.py",  # what a child process inherits
        "controller/embedded/folders.py",  # XDG_RUNTIME_DIR, the place of sockets
    }


def test_our_package_names_belong_to_us_alone() -> None:
    """`workflows` and friends collide with other packages on an index; in this environment they do not."""
    owners = metadata.packages_distributions()

    assert {name: owners[name] for name in PACKAGES if name in owners} == {
        name: ["serinus"] for name in PACKAGES if name in owners
    }


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_with_hashes_and_names_no_index(lock: str) -> None:
    """Every package is pinned by version and hash; nothing says where it comes from."""
    text = (ROOT / lock).read_text()
    pins = re.findall(r"^([a-z0-9-]+)==\S+", text, flags=re.MULTILINE)

    assert len(pins) > 50
    assert not re.search(r"https?://|--index|--find-links", text)
    assert text.count("--hash=sha256:") >= len(pins)


def test_the_lock_of_npm_names_no_address() -> None:
    """Versions and hashes only: neither where a package comes from nor where its authors ask for money."""
    text = (ROOT / "tests/clients/js/package-lock.json").read_text()

    assert "://" not in text
    assert text.count('"integrity": "sha512-') > 50


def test_the_layers_in_the_architecture_page_are_the_contracts() -> None:
    """The page and the linter say the same."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["name"] == "Controller reads top down")
    page = " ".join((ROOT / "ARCHITECTURE.md").read_text().split())

    assert " > ".join(layers) in page
