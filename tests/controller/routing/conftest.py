"""Fixtures of the routing tests: a short folder for sockets, an edge, a router in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.controller.routing.edge import Edge
from tests.controller.routing.keeping import SHOP, Desk, open_desk


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name (108 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="srn"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def edge(short_folder: Path) -> Iterator[Edge]:
    """An Envoy that is not started yet; ended after the test."""
    made = Edge(short_folder)
    yield made
    made.kill()


@pytest.fixture
def other_edge(short_folder: Path) -> Iterator[Edge]:
    """A second Envoy with a folder of its own."""
    folder = short_folder / "b"
    folder.mkdir()
    made = Edge(folder)
    yield made
    made.kill()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """A router in memory that knows the shop."""
    made = await open_desk()
    await made.keeper.declare(SHOP)
    yield made
    await made.keeper.aclose()
