"""Fixtures of the end-to-end tests: a real stack, made once a module, and a fresh one for tests that end it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import Rig


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A stack that the tests of a module share; parts may be killed, the stack itself may not."""
    made = Rig(tmp_path_factory.mktemp("shared") / "state")
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def own_rig(tmp_path: Path) -> Iterator[Rig]:
    """A stack of the test's own, not started yet."""
    made = Rig(tmp_path / "state")
    try:
        yield made
    finally:
        made.stop()
