"""Temporal's own engine under our processes: what it has to say comes out as our log lines.

Before it: `workflows.client` and `workflows.worker` open a connection each. After it: the Rust core, with its threads.
"""

from __future__ import annotations

import asyncio
import logging

from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter


def make_runtime() -> Runtime:
    """Return an engine that logs through the standard library, warnings and worse."""
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    quiet = TelemetryFilter(core_level="WARN", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=quiet, forwarding=forwarding)))


SETTLING_S = 0.2
"""Measured: without it 5 of 25 short processes ended by SIGABRT on a busy machine, with it none of 25."""


async def settle() -> None:
    """Let the engine's threads leave Python alone before the interpreter ends.

    One that is still handing over a result when the interpreter goes away takes the process down with SIGABRT, after all
    its work is done (temporalio/sdk-python, issue 300).
    """
    await asyncio.sleep(SETTLING_S)
