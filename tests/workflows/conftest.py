"""One time-skipping Temporal for all workflow tests of a run: starting one for each would take most of their time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from temporalio.client import Client

from tests.workflows.stage import skipping


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A client of a server that skips what workflows wait for."""
    async with skipping() as client:
        yield client
