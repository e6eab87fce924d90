"""Looks for the tests of the evidence judge: cumulative counts written as so many a second."""

from __future__ import annotations

from collections.abc import Sequence

from controller.analysis.engine import judge
from controller.model.evidence import Evidence
from controller.model.look import Arm, Exceedance, Instance, Look, SourceState
from controller.model.plan import Policy
from controller.model.verdict import Verdict

Pair = tuple[int, int]


def arm(
    at_s: int,
    each: Sequence[Pair],
    *,
    over: tuple[int, ...] | None = None,
    in_flight: int = 0,
    names: str = "i",
) -> Arm:
    """Return an arm whose instances have served so many (requests, failures) a second each."""
    instances = tuple(
        Instance(f"{names}{number}", at_s * total, at_s * failed)
        for number, (total, failed) in enumerate(each)
    )
    total, failed = sum(one.total for one in instances), sum(one.failed for one in instances)
    slow = None if over is None else Exceedance(total, tuple(at_s * one for one in over))
    return Arm(total, failed, slow, in_flight, instances=instances if len(instances) > 1 else ())


def look(at_s: int, stable: Arm, canary: Arm, *, source: SourceState = SourceState.OK) -> Look:
    """Return one look."""
    return Look(id=at_s + 1, at_s=float(at_s), source=source, generation="g", stable=stable, canary=canary)


def judged(policy: Policy, evidence: Evidence, looks: Sequence[Look]) -> tuple[Evidence, Verdict]:
    """Judge looks one after another; returns what the last one leaves."""
    for each in looks:
        evidence, verdict = judge(policy, evidence, each)
    return evidence, verdict
