"""How often a policy is wrong about a version like stable: limits enumerated, known cases, and bounds."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.analysis.soundness import Risk, risk
from controller.analysis.tails import above, enough
from controller.model.look import History
from controller.model.plan import Fallback, JudgeKind, Limits, MannWhitney, Plan, Policy, Rail, Step
from controller.model.share import BasisPoints
from controller.plans import ready

NEVER = Rail(min_requests=1_000_000)
POLICY = Policy("p", judge=JudgeKind.THRESHOLD, max_error_rate=0.02, min_requests=10, warmup_s=0, rail=NEVER)
PLAN = Plan("p", (Step(BasisPoints(1000), hold_s=120, deadline_s=250),))


def served(per_s: float, failing: float) -> History:
    """So long that the prior belief beside it does not count."""
    return History(36e5, round(36e5 * per_s), round(36e5 * per_s * failing))


@pytest.mark.parametrize("consecutive", [False, True])
@pytest.mark.parametrize("failure_limit", [0, 1, 2])
def test_limits_are_followed_exactly(failure_limit: int, consecutive: bool) -> None:
    """Every course of four measurements, enumerated: two before the step may pass, four before its deadline."""
    limits = Limits(interval_s=60, failure_limit=failure_limit, consecutive=consecutive)
    high = above(0.02, 0.01, 60.0, least=10)
    common = above(0.02, 0.01, 540.0, least=10)
    good = enough(60.0, least=10) - high
    chances = {"x": high * (1 - common), "c": high * common, ".": good, "?": 1 - high - good}
    failed = held = 0.0
    for course in itertools.product(chances, repeat=4):
        chance, count = math.prod(chances[one] for one in course), 0
        for number, one in enumerate(course, start=1):
            count = count + 1 if one == "x" else 0 if one == "." and consecutive else count
            if count > failure_limit:
                failed += chance
                break
            if number >= 2 and one == ".":
                break
        else:
            held += chance * (course[-1] in "xc")

    found = risk(PLAN, replace(POLICY, limits=limits), served(10, 0.01))

    assert found.judge == pytest.approx(failed, rel=1e-3)
    assert found.held == pytest.approx(held, rel=1e-3)


@pytest.mark.parametrize(
    ("policy", "per_s", "failing", "low", "high"),
    [
        # Flagger's tutorial, drawn for 40 minutes by another program: 57 %
        (replace(POLICY, max_error_rate=0.01, limits=Limits(60, 4)), 10, 0.005, 0.45, 0.7),
        (replace(POLICY, max_error_rate=0.05, limits=Limits(60, 3)), 10, 0.005, 0.0, 1e-5),
        (replace(POLICY, max_error_rate=0.01, limits=Limits(60, 3)), 1_000, 0.005, 0.0, 1e-3),
        # a limit below what stable itself fails: never blamed, and never passed
        (replace(POLICY, max_error_rate=0.01, limits=Limits(60, 3)), 1_000, 0.02, 0.99, 1.0),
        (replace(POLICY, max_error_rate=0.01), 1_000, 0.02, 0.99, 1.0),
        # the default rail at any rate: it forgives what stable fails as well
        (Policy("e"), 1_000, 0.005, 0.0, 1e-4),
        (Policy("e"), 1_000, 0.4, 0.0, 1e-3),
        (Policy("e", rail=Rail(min_requests=5, max_failed=0.2)), 5, 0.05, 0.2, 1.0),
    ],
)
def test_what_is_known_of_rules_is_foreseen(
    policy: Policy, per_s: float, failing: float, low: float, high: float
) -> None:
    """The same rules, rates and traffic as measured by others, or whose answer is plain."""
    plan = Plan(
        "p", tuple(Step(BasisPoints(share), hold_s=480, deadline_s=900) for share in (500, 1000, 2500, 5000))
    )

    assert low <= risk(plan, policy, served(per_s, failing)).total <= high


def test_who_waits_for_a_person_rolls_nothing_back_at_a_deadline() -> None:
    """The policy decides what being held comes to."""
    limits = replace(POLICY, max_error_rate=0.01, limits=Limits(60, 3))

    rolls, waits = (
        risk(PLAN, replace(limits, on_inconclusive=choice), served(1_000, 0.02))
        for choice in (Fallback.ROLLBACK, Fallback.WAIT)
    )

    assert rolls.held == pytest.approx(1)
    assert waits.held == 0.0
    assert rolls.judge == waits.judge


def test_ranks_are_wrong_more_often_with_more_points_and_less_confidence() -> None:
    """Each look is one more chance; more confidence and a larger tolerance take it away."""

    def wrong(hold_s: float, **rule: float) -> float:
        plan = Plan("p", (Step(BasisPoints(5000), hold_s=hold_s, deadline_s=9_000),))
        policy = replace(POLICY, judge=JudgeKind.MANN_WHITNEY, mann_whitney=MannWhitney(**rule))  # type: ignore[arg-type]
        return risk(plan, policy, served(100, 0.01)).judge

    assert 0 < wrong(300) < wrong(900) < wrong(3_600) < 0.05
    assert wrong(900) < wrong(900, tolerance=0.0)
    assert wrong(900) < wrong(900, confidence=0.9)
    assert wrong(900, allowed_increase=2.0) < 0.1 * wrong(900)


@pytest.mark.parametrize("plan", ready.PLANS.values(), ids=lambda plan: plan.name)
@pytest.mark.parametrize("policy", ready.POLICIES.values(), ids=lambda policy: policy.name)
def test_what_is_ready_made_keeps_its_promise(plan: Plan, policy: Policy) -> None:
    """At base rates up to 1 % and any traffic every ready-made policy passes the check of every start."""
    for per_s in (0.5, 2, 10, 50, 300, 5_000):
        for failing in (0.0, 0.0005, 0.005, 0.01):
            assert risk(plan, policy, served(per_s, failing)).total <= policy.tolerance.alpha / 2


def test_of_three_ways_any_is_enough() -> None:
    """The parts add up as independent ones."""
    assert Risk(0.5, 0.5, 0.0).total == 0.75
    assert Risk().total == 0.0


@settings(max_examples=40, deadline=None)
@given(
    judge=st.sampled_from(JudgeKind),
    limit=st.floats(0, 1),
    least=st.integers(1, 10_000),
    limits=st.one_of(st.none(), st.builds(Limits, st.floats(1, 3_600), st.integers(0, 100), st.booleans())),
    rail=st.builds(Rail, st.integers(1, 10_000), st.floats(0.0001, 1), st.floats(1, 600)),
    per_s=st.floats(0.001, 1e6),
    failing=st.floats(0, 1),
    hold_s=st.floats(0, 80_000),
    warmup_s=st.floats(0, 3_600),
)
def test_a_risk_is_a_probability(
    judge: JudgeKind,
    limit: float,
    least: int,
    limits: Limits | None,
    rail: Rail,
    per_s: float,
    failing: float,
    hold_s: float,
    warmup_s: float,
) -> None:
    """Whatever is written and whatever was served."""
    policy = Policy(
        "p", judge, max_error_rate=limit, min_requests=least, limits=limits, rail=rail, warmup_s=warmup_s
    )
    steps = tuple(Step(BasisPoints(share), hold_s=hold_s, deadline_s=hold_s + 600) for share in (1, 9_500))
    total = max(round(3600 * per_s), 1)

    found = risk(Plan("p", steps), policy, History(3600, total, round(total * failing)))

    assert all(0.0 <= one <= 1.0 for one in (found.judge, found.held, found.rail, found.total))
