"""Orders, verdicts and commands that the workflow tests begin with."""

from __future__ import annotations

from controller.model.evidence import Evidence, StepReport
from controller.model.lease import ClosureKind
from controller.model.machine import Happening
from controller.model.plan import Plan, Policy, Step
from controller.model.release import Command, CommandKind, ReleaseOrder
from controller.model.share import BasisPoints
from controller.model.target import Target
from controller.model.verdict import Decision, Ground, Verdict

PASS = Verdict(Decision.PASS, Ground.WITHIN_LIMIT, 100, 1, 900, 9, 0.05, 12.5, look=12)
FAIL = Verdict(Decision.FAIL, Ground.ERROR_RATE, 60, 14, 540, 3, 0.05, 6.0, look=6)
SILENCE = Verdict(Decision.HOLD, Ground.NO_TRAFFIC, 0, 0, 900, 9, None, 60.0, look=60)


def a_target() -> Target:
    """A service with three versions."""
    return Target(
        name="catalog",
        stable="v1",
        versions={"v1": ("127.0.0.1:9001",), "v2": ("127.0.0.1:9002",), "v3": ()},
        workloads="embedded",
    )


def an_order(
    *,
    release: str = "rel-1",
    version: str = "v2",
    steps: int = 3,
    gate: int | None = None,
    policy: Policy | None = None,
) -> ReleaseOrder:
    """An order whose shares rise evenly; `gate` is the index of a step that waits for a person."""
    rungs = tuple(
        Step(BasisPoints(900 * (index + 1)), hold_s=1, deadline_s=60, gate=index == gate)
        for index in range(steps)
    )
    return ReleaseOrder(
        id=release,
        target=a_target(),
        version=version,
        plan=Plan("ladder", rungs, ready_timeout_s=5),
        policy=policy or Policy("strict"),
        actor="ada",
        correlation_id="cor-1",
        created_at=1_000.0,
    )


def a_command(kind: CommandKind, *, release: str = "rel-1", key: str = "", reason: str = "") -> Command:
    """A command by a person."""
    return Command(
        id=key or f"cmd-{kind}", release=release, kind=kind, actor="bo", at=2_000.0, reason=reason, digest="d"
    )


def passed() -> StepReport:
    """A judge that is content."""
    return StepReport(Happening.STEP_PASSED, Evidence(looks=12), PASS, "12 looks were fine")


def failed() -> StepReport:
    """A judge that has closed the release."""
    return StepReport(
        Happening.STEP_FAILED,
        Evidence(looks=6, failed=FAIL),
        FAIL,
        "14 of 60 failed",
        ClosureKind.FAILED,
        verdict_at=5_000.0,
        closed_at=5_000.25,
    )


def undecided() -> StepReport:
    """A judge that saw no traffic until the deadline."""
    return StepReport(Happening.STEP_UNDECIDED, Evidence(looks=60), SILENCE, "nobody came")
