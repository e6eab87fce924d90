"""What a release leaves behind for replay: how it was to be judged, and every look that was judged.

`controller.judging.recording` writes it while a release runs, a line a look; `controller.simulation.replay` judges it
again under another policy. Small, because a look is written every second.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.model.look import Look
from controller.model.plan import Plan, Policy
from controller.model.start import Start
from controller.model.target import TargetKey


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands before the looks.

    Args:
        release: Its id.
        target: What was released.
        stable: The version that served everybody else.
        version: The canary.
        plan: The ladder it climbed.
        policy: The rule it was judged by.
        start: What the judge knew when the release began.
        is_narrowed: The target itself let only some requests meet a canary.
    """

    release: str
    target: TargetKey
    stable: str
    version: str
    plan: Plan
    policy: Policy
    start: Start
    is_narrowed: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """One judged look: in which step, and whether the step was open (paused, waiting, a gate)."""

    look: Look
    step: int = 0
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole release.

    Args:
        heading: What stands before the looks.
        looks: In the order in which they were judged. The first one's id is above 1 when the beginning is missing.
        damaged: Lines that could not be read and are left out.
    """

    heading: Heading
    looks: tuple[Recorded, ...]
    damaged: int = 0
