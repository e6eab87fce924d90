"""The memory adapter says what it was told to say: `controller.workloads.memory`."""

from __future__ import annotations

import pytest

from controller.errors import WorkloadsUnavailable
from controller.model.target import Target
from controller.workloads.memory import MemoryWorkloads

TARGET = Target(name="catalog", stable="v1", versions={"v1": ("127.0.0.1:1",), "v2": ()}, workloads="memory")


async def test_a_crash_is_counted() -> None:
    """Each scripted crash is one restart more."""
    workloads = MemoryWorkloads()
    await workloads.start(TARGET, "v2")

    workloads.crash(TARGET, "v2")

    assert (await workloads.health(TARGET, "v2")).restarts == 1


async def test_a_failure_has_its_reason() -> None:
    """A version that was made to fail is not ready, for the given reason, until it is well again."""
    workloads = MemoryWorkloads()
    await workloads.start(TARGET, "v2")

    workloads.fail(TARGET, "v2", "out of memory")
    ill = await workloads.health(TARGET, "v2")
    workloads.fail(TARGET, "v2", "")

    assert (ill.is_ready, ill.reason) == (False, "out of memory")
    assert (await workloads.health(TARGET, "v2")).is_ready


async def test_what_is_declared_with_an_address_runs() -> None:
    """A stable version that nobody started here is ready all the same."""
    assert (await MemoryWorkloads().health(TARGET, "v1")).is_ready


async def test_when_it_is_down_every_call_says_so() -> None:
    """Nothing is known then."""
    workloads = MemoryWorkloads()
    workloads.is_down = True

    for call in (workloads.start, workloads.health, workloads.retire):
        with pytest.raises(WorkloadsUnavailable):
            await call(TARGET, "v2")
