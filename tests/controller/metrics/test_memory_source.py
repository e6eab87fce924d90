"""The memory source says what it is told, in the order it is told."""

from __future__ import annotations

from controller.metrics.memory import MemorySource
from controller.model.look import Arm, Reading, SourceState
from controller.model.target import TargetKey
from tests.controller.routing.keeping import KEY, SHOP


async def test_a_script_goes_before_what_was_counted() -> None:
    """Scripted readings come first, one a call; then the counters."""
    source = MemorySource()
    source.put(KEY, "v1", Arm(total=9, failed=1))
    scripted = Reading("other", SourceState.STALE, 5.0, {"v1": Arm(total=1)})
    source.script.append(scripted)

    first, second = await source.read(SHOP), await source.read(SHOP)

    assert first == scripted
    assert second.arms == {"v1": Arm(total=9, failed=1)}


async def test_targets_are_kept_apart() -> None:
    """Another target's requests are not in the reading."""
    source = MemorySource()
    source.count(KEY, "v1", total=5)
    source.count(TargetKey("local.orders"), "v1", total=3)

    reading = await source.read(SHOP)

    assert {version: arm.total for version, arm in reading.arms.items()} == {"v1": 5}
