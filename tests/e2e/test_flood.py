"""A flood of spans beside a release on the real stack: the telemetry process suffers, the lease does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import pytest

from controller.embedded.stack import open_stack
from controller.settings import load
from tests.e2e.drill import GATE, Drill

RATE_MB_S, FLOOD_S = 50, 20
LOOK_EVERY_S = 0.1
BLIND = {"name": "blind", "judge": "threshold", "max_error_percent": 100, "min_requests": 40}


@pytest.mark.process
@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_flood_of_spans_never_touches_a_lease(tmp_path: Path) -> None:
    """50 MB/s for 20 s: the lease is there at each look, by the same epoch, and nobody's request fails."""
    settings = load({"SERINUS_STATE_DIR": str(tmp_path / "state")})
    async with open_stack(settings, tell=lambda event: None) as stack:
        await stack.ready()
        drill = Drill(stack)
        users = await drill.declare("flooded")
        asking = asyncio.create_task(users.run())
        release = await drill.start("flooded", "v2", plan=GATE, policy=BLIND)
        await drill.exposed("flooded")

        before = (await drill.observe("flooded")).lease
        flooding = asyncio.create_task(flood(stack.settings.telemetry.url))
        leases = []
        while not flooding.done():
            leases.append((await drill.observe("flooded")).lease)
            await asyncio.sleep(LOOK_EVERY_S)
        told = flooding.result()

        await drill.tell(release, "abort")
        await drill.outcome(release)
        await drill.keeper.aclose()
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    lapsed = sum(lease is None for lease in leases)
    print(f"{told}; {len(leases)} looks, {lapsed} without a lease, {len(users.answered)} requests of users")
    assert before is not None
    assert lapsed == 0
    assert {lease.epoch for lease in leases if lease} == {before.epoch}
    assert users.failures_of_stable() == []
    assert set(told["answers"]) <= {"200", "429", "503"}
    assert told["answers"].get("200", 0) > 0


async def flood(url: str) -> dict[str, dict[str, int]]:
    """Flood in a process of its own, so that our looks stay steady."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.e2e.flooder",
        url,
        str(RATE_MB_S),
        str(FLOOD_S),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    found: dict[str, dict[str, int]] = json.loads(out)
    return found
