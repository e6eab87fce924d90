"""Every message comes back from Temporal's JSON as it went in."""

from __future__ import annotations

import ast
import asyncio
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.converter import DataConverter

from controller.model.evidence import Block, Darkness, Evidence, Measured, Series, StepOrder, StepReport
from controller.model.lease import ClosureKind
from controller.model.machine import Happening
from controller.model.plan import Fallback, JudgeKind, Limits, MannWhitney, Plan, Policy, Rail, Step
from controller.model.release import CommandKind, Outcome, State
from controller.model.share import EVERYTHING, BasisPoints
from controller.model.traffic import Match
from controller.model.wealth import Tally
from tests.workflows.orders import FAIL, PASS, a_command, an_order, failed, passed
from workflows import release
from workflows.messages import (
    Answer,
    CloseErrand,
    Delivered,
    Delivery,
    Ending,
    Errand,
    Judged,
    JudgeErrand,
    Ledger,
    Note,
    ReleaseEnd,
    Retirement,
    Round,
    Taken,
)

EVIDENCE = Evidence(
    looks=3,
    at_s=12.0,
    generation="g1",
    canary_seen=Tally(10, 1),
    stable_seen=Tally(90, 2),
    judged_s=2.5,
    recent=(Block(0.0, 1.0, Tally(5, 1), Tally(40, 0)), Block(1.0, 2.0, Tally(5, 0), Tally(50, 2))),
    restarts=0,
    failed=FAIL,
    has_audience=True,
    darkness=Darkness(7, 2, 5, 90),
    series=Series(
        open=Block(1.0, 2.0, Tally(5, 1)),
        newest=Measured.FAILED,
        failed=2,
        points=((100, 1, 900, 9), (80, 0, 1, 1)),
    ),
)
NOTE = Note(
    "step_passed", 2, 1_700_000_000.25, State.STEPPING, 1, BasisPoints(1_800), "fine", PASS, "bo", "cor-2"
)
ODD = Policy(
    "odd",
    judge=JudgeKind.THRESHOLD,
    max_error_rate=0.0,
    min_requests=1,
    limits=Limits(30.0, 3, consecutive=True, inconclusive_limit=0),
    mann_whitney=MannWhitney(confidence=0.9),
    warmup_s=0.0,
    rail=Rail(5, 1.0, 7.5),
    on_inconclusive=Fallback.WAIT,
)
ORDER = an_order(gate=1, policy=ODD)
FOR_FEW = Plan(
    "few", (Step(EVERYTHING, matches=(Match(headers={"x-internal": "1"}), Match(query={"beta": "*"}))),)
)


def travelled(value: Any) -> Any:
    """Return what arrives when a value is sent."""

    async def travel() -> Any:
        converter = DataConverter.default
        return (await converter.decode(await converter.encode([value]), [type(value)]))[0]

    return asyncio.run(travel())


@pytest.mark.parametrize(
    "value",
    [
        ORDER,
        replace(ORDER, target=replace(ORDER.target, plan=ORDER.plan, policy=ORDER.policy)),
        StepOrder(ORDER, 1, is_open=True, evidence=EVIDENCE, is_continued=True),
        StepOrder(ORDER, 0),
        replace(ORDER, plan=FOR_FEW),
        failed(),
        StepReport(Happening.CLOSED, EVIDENCE, closure=ClosureKind.PROMOTED),
        a_command(CommandKind.PAUSE, reason="lunch é \U0001f424"),
        Errand(ORDER, (NOTE, replace(NOTE, share=None, verdict=None))),
        JudgeErrand(StepOrder(ORDER, 2), (NOTE,)),
        CloseErrand(ORDER, ClosureKind.FAILED, "14 of 60 failed", FAIL, (NOTE,)),
        Ending(
            ORDER, Outcome.ROLLED_BACK, "why", FAIL, 2, "bo", {"verdict_at": 1.5, "closed_at": 2.0}, (NOTE,)
        ),
        Retirement(ORDER, "v1", True),
        Answer(Happening.CLOSED, "why", Ledger.OWED, ClosureKind.FAILED, FAIL, 5.5, Outcome.ABORTED, True),
        Answer(),
        Judged(passed(), Ledger.UNKNOWN, False),
        Taken(State.PAUSED, 2),
        ReleaseEnd(None, "unknown"),
        Round("pager", ("a", "b")),
        Delivery(Delivered.GIVEN_UP, "a"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_message_comes_back_as_it_was_sent(value: object) -> None:
    """Nested values, tuples, enumerations, mappings, whole-number types and None survive the journey."""
    assert travelled(value) == value


@given(
    at_s=st.one_of(st.none(), st.floats(0, 1e12)),
    restarts=st.one_of(st.none(), st.integers(0, 10**9)),
    window_s=st.floats(0, 1e6),
    total=st.integers(0, 2**53),
    limit=st.one_of(st.none(), st.floats(0, 1)),
)
def test_numbers_of_the_evidence_come_back_exactly(
    at_s: float | None, restarts: int | None, window_s: float, total: int, limit: float | None
) -> None:
    """A judge that takes over counts on with the very same numbers."""
    verdict = replace(FAIL, canary_total=total, limit=limit, window_s=window_s)
    evidence = Evidence(
        at_s=at_s, restarts=restarts, judged_s=window_s, canary_seen=Tally(total), failed=verdict
    )

    assert travelled(evidence) == evidence


def test_the_sandbox_knows_the_module_of_every_value_that_travels() -> None:
    """A value whose module the workflow never imported cannot be read there, and the release would stand still."""

    def modules(kind: object) -> set[str]:
        inner = {name for part in get_args(kind) for name in modules(part)}
        if not isinstance(kind, type) or not is_dataclass(kind):
            return inner
        return inner.union({kind.__module__}, *(modules(hint) for hint in get_type_hints(kind).values()))

    tree = ast.parse(Path(release.__file__).read_text())
    named = {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    named |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}

    assert modules(JudgeErrand) | modules(Judged) | modules(Ending) <= named


def test_a_field_of_a_newer_sender_is_ignored() -> None:
    """An older worker reads what it knows, so that two builds can run beside each other."""

    async def travel() -> Answer:
        converter = DataConverter.default
        payloads = await converter.encode([{"kind": "well", "ledger": "owed", "of_tomorrow": 1}])
        answer: Answer = (await converter.decode(payloads, [Answer]))[0]
        return answer

    assert asyncio.run(travel()) == Answer(ledger=Ledger.OWED)


@settings(max_examples=30)
@given(shares=st.lists(st.integers(1, 9_500), min_size=1, max_size=100).map(sorted))
def test_every_plan_survives(shares: list[int]) -> None:
    """The ladder arrives with every rung."""
    plan = Plan("any", tuple(Step(BasisPoints(share), hold_s=0.5, deadline_s=1.5) for share in shares))

    assert travelled(replace(ORDER, plan=plan)).plan == plan
