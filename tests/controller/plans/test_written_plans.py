"""Plans and policies as people write them: strict, in per cent, and the same after a round trip."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.model.plan import (
    Fallback,
    JudgeKind,
    Limits,
    MannWhitney,
    Plan,
    Policy,
    Rail,
    Step,
    Tolerance,
)
from controller.model.share import BasisPoints
from controller.model.traffic import Match
from controller.model.wealth import Margin
from controller.plans import ready
from controller.plans.schema import read_plan, read_policy, write_plan, write_policy
from controller.plans.validation import MOST_ERRORS, InvalidFields


def step(**fields: object) -> dict[str, Any]:
    """Return a written plan with one step."""
    return {"steps": [{"share": 10, **fields}]}


def test_a_short_plan_gets_the_models_defaults() -> None:
    """What is left out has the default of the model, and per cent become basis points."""
    plan = read_plan({"name": "mine", "steps": [{"share": 0.01}, {"share": 12.34, "gate": True}]})

    assert plan == Plan(
        name="mine", steps=(Step(share=BasisPoints(1)), Step(share=BasisPoints(1234), gate=True))
    )


def test_a_step_may_name_its_audience() -> None:
    """The same words as a target's matches; a step for few may have all of them, and everybody may follow with less."""
    inside = {"headers": {"x-internal": "1"}, "cookies": {"group": "a"}, "query": {"beta": "*"}}
    written = {"steps": [{"share": 100, "matches": [inside, {"query": {"x": "1"}}]}, {"share": 0.1}]}

    plan = read_plan(written)

    assert plan.steps[0].matches == (Match(**inside), Match(query={"x": "1"}))
    assert [step["matches"] for step in write_plan(plan)["steps"]] == [[inside, {"query": {"x": "1"}}], []]
    assert read_plan(write_plan(plan)) == plan


def test_a_short_policy_gets_the_models_defaults() -> None:
    """An empty policy is the model's own, under the name custom."""
    assert read_policy({}) == Policy(name="custom")


@pytest.mark.parametrize(
    ("document", "policy"),
    [
        (
            {
                "judge": "threshold",
                "max_error_percent": 5,
                "limits": {"interval_s": 300, "failure_limit": 3, "inconclusive_limit": 0},
            },
            Policy(
                "custom",
                judge=JudgeKind.THRESHOLD,
                max_error_rate=0.05,
                limits=Limits(300.0, failure_limit=3, inconclusive_limit=0),
            ),
        ),
        (
            {"judge": "mann_whitney", "mann_whitney": {"allowed_increase": 1.5}},
            Policy("custom", judge=JudgeKind.MANN_WHITNEY, mann_whitney=MannWhitney(allowed_increase=1.5)),
        ),
    ],
)
def test_the_judges_of_the_peers_can_be_written(document: object, policy: Policy) -> None:
    """Argo's analysis of its documentation, and Kayenta's classifier with an allowed increase."""
    assert read_policy(document) == policy


BAD_PLANS = [
    ({}, "steps"),
    ({"steps": []}, "steps"),
    ({"steps": [{"share": 10}] * 101}, "steps"),
    ({"steps": {"share": 10}}, "steps"),
    ({"steps": [{}]}, "steps.0.share"),
    ({"steps": [10]}, "steps.0"),
    (step(share=0), "steps.0.share"),
    (step(share=-0.0), "steps.0.share"),
    (step(share=-1), "steps.0.share"),
    (step(share=95.01), "steps.0.share"),
    (step(share=101), "steps.0.share"),
    (step(share=True), "steps.0.share"),
    (step(share="50"), "steps.0.share"),
    (step(share=None), "steps.0.share"),
    (step(share=float("nan")), "steps.0.share"),
    (step(share=float("inf")), "steps.0.share"),
    (step(share=10.005), "steps.0.share"),
    (step(share=0.001), "steps.0.share"),
    (step(hold_s=-1), "steps.0.hold_s"),
    (step(hold_s="2"), "steps.0.hold_s"),
    (step(hold_s=100_000, deadline_s=200_000), "steps.hold_s"),
    (step(hold_s=60, deadline_s=60), "steps.deadline_s"),
    (step(deadline_s=0.5, hold_s=0), "steps.deadline_s"),
    (step(gate=1), "steps.0.gate"),
    (step(treshold=1), "steps.0.treshold"),
    ({"steps": [{"share": 20}, {"share": 10}]}, "steps.share"),
    (step(matches={}), "steps.0.matches"),
    (step(matches=[{}]), "steps.0.matches"),
    (step(matches=[{"headers": {"X-Internal": "1"}}]), "steps.0.matches.headers"),
    (step(matches=[{"headers": {"x-envoy-internal": "true"}}]), "steps.0.matches.headers"),
    (step(matches=[{"headers": {"x-internal": 1}}]), "steps.0.matches.0.headers.x-internal"),
    (step(matches=[{"cookies": {"a b": "1"}}]), "steps.0.matches.cookies"),
    (step(matches=[{"query": {"beta": "a\nb"}}]), "steps.0.matches.query"),
    (step(matches=[{"path": "/"}]), "steps.0.matches.0.path"),
    (step(matches=[{"headers": {"x-a": "1"}}] * 17), "steps.0.matches"),
    (step(share=100), "steps.0.share"),
    ({"steps": [{"share": 5}, {"share": 9, "matches": [{"query": {"beta": "*"}}]}]}, "steps.matches"),
    ({**step(), "name": "Not A Name"}, "name"),
    ({**step(), "name": "a\n"}, "name"),
    ({**step(), "ready_timeout_s": 0}, "ready_timeout_s"),
    ({**step(), "extra": 1}, "extra"),
]


@pytest.mark.parametrize(("document", "field"), BAD_PLANS)
def test_a_wrong_plan_names_the_field(document: object, field: str) -> None:
    """Every wrong plan is refused with the path of its field."""
    with pytest.raises(InvalidInput) as caught:
        read_plan(document)

    assert caught.value.field == field


BAD_POLICIES = [
    ({"max_error_percent": 101}, "max_error_percent"),
    ({"max_error_percent": -1}, "max_error_percent"),
    ({"max_error_rate": 0.05}, "max_error_rate"),
    ({"min_requests": 0}, "min_requests"),
    ({"min_requests": 1.0}, "min_requests"),
    ({"warmup_s": 4_000}, "warmup_s"),
    ({"on_no_data": "guess"}, "on_no_data"),
    ({"on_no_data": "wait\n"}, "on_no_data"),
    ({"rail": None}, "rail"),
    ({"rail": {"window_s": 0}}, "rail.window_s"),
    ({"rail": {"max_failed_percent": 0}}, "rail.max_failed_percent"),
    ({"judge": "kayenta"}, "judge"),
    ({"limits": {"interval_s": 0.5}}, "limits.interval_s"),
    ({"limits": {"failure_limit": -1}}, "limits.failure_limit"),
    ({"limits": {"failure_limit": 1.5}}, "limits.failure_limit"),
    ({"limits": {"failureLimit": 3}}, "limits.failureLimit"),
    ({"limits": {"consecutive": "yes"}}, "limits.consecutive"),
    ({"limits": {"inconclusive_limit": 101}}, "limits.inconclusive_limit"),
    ({"limits": {"consecutive_error_limit": None}}, "limits.consecutive_error_limit"),
    ({"mann_whitney": None}, "mann_whitney"),
    ({"mann_whitney": {"fewest": 4}}, "mann_whitney.fewest"),
    ({"mann_whitney": {"confidence": 1}}, "mann_whitney.confidence"),
    ({"mann_whitney": {"tolerance": 1}}, "mann_whitney.tolerance"),
    ({"mann_whitney": {"allowed_increase": 0.9}}, "mann_whitney.allowed_increase"),
]


@pytest.mark.parametrize(("document", "field"), BAD_POLICIES)
def test_a_wrong_policy_names_the_field(document: object, field: str) -> None:
    """Every wrong policy is refused with the path of its field."""
    with pytest.raises(InvalidInput) as caught:
        read_policy(document)

    assert caught.value.field == field


@pytest.mark.parametrize("document", [None, [], "", 1, "standard", [{"share": 1}]])
def test_only_an_object_is_a_plan(document: object) -> None:
    """Nothing but a JSON object is read as a plan."""
    with pytest.raises(InvalidInput):
        read_plan(document)


def test_many_errors_stay_few() -> None:
    """Of thousands of errors ten are listed and all are counted."""
    with pytest.raises(InvalidFields) as caught:
        read_plan({"steps": [{"share": 10}], **{f"unknown{index}": 1 for index in range(5_000)}})

    assert len(caught.value.errors) == MOST_ERRORS
    assert "4999 more" in caught.value.message


def test_a_hostile_field_name_is_not_repeated() -> None:
    """An unknown field with a name that is not plain is refused without its name."""
    with pytest.raises(InvalidFields) as caught:
        read_plan({"steps": [{"share": 10}], "<script>alert(1)</script>": 1})

    assert "script" not in str(caught.value.field)


steps = st.lists(
    st.builds(
        Step,
        share=st.integers(1, 9_500).map(BasisPoints),
        hold_s=st.floats(0, 100).map(lambda value: round(value, 3)),
        deadline_s=st.floats(101, 10_000).map(lambda value: round(value, 3)),
        gate=st.booleans(),
    ),
    min_size=1,
    max_size=10,
).map(lambda found: tuple(sorted(found, key=lambda one: one.share)))


@given(st.builds(Plan, name=st.just("mine"), steps=steps, ready_timeout_s=st.floats(1, 3_600)))
def test_a_plan_survives_writing_and_reading(plan: Plan) -> None:
    """What GET shows can be sent back and means the same, for every share of the ladder."""
    assert read_plan(write_plan(plan)) == plan


@given(
    st.builds(
        Policy,
        name=st.just("mine"),
        judge=st.sampled_from(JudgeKind),
        tolerance=st.builds(
            Tolerance,
            alpha=st.floats(1e-6, 0.5),
            beta=st.floats(1e-6, 0.5),
            tolerable=st.builds(
                Margin, st.floats(1, 2), st.integers(0, 100).map(lambda value: value / 10_000)
            ),
            acceptable=st.builds(Margin, st.floats(2.1, 9), st.integers(200, 900).map(lambda v: v / 10_000)),
            cap=st.floats(0.5, 10),
        ),
        max_error_rate=st.integers(0, 10_000).map(lambda value: value / 10_000),
        min_requests=st.integers(1, 1_000_000),
        limits=st.one_of(
            st.none(),
            st.builds(
                Limits,
                interval_s=st.floats(1, 3_600),
                failure_limit=st.integers(0, 100),
                consecutive=st.booleans(),
                inconclusive_limit=st.one_of(st.none(), st.integers(0, 100)),
                consecutive_error_limit=st.integers(0, 100),
            ),
        ),
        mann_whitney=st.builds(
            MannWhitney,
            interval_s=st.floats(1, 3_600),
            fewest=st.integers(5, 60),
            confidence=st.floats(0.5, 0.9999),
            tolerance=st.floats(0, 0.95),
            allowed_increase=st.floats(1, 100),
        ),
        warmup_s=st.floats(0, 3_600),
        rail=st.builds(
            Rail,
            min_requests=st.integers(1, 1_000),
            max_failed=st.integers(1, 100).map(lambda value: value / 100),
            window_s=st.floats(1, 600),
        ),
        on_inconclusive=st.sampled_from(Fallback),
        on_no_data=st.sampled_from(Fallback),
        on_source_down=st.sampled_from(Fallback),
    )
)
def test_a_policy_survives_writing_and_reading(policy: Policy) -> None:
    """The same for a policy, to ten decimals of a per cent."""
    again = read_policy(write_policy(policy))

    assert again.max_error_rate == pytest.approx(policy.max_error_rate, abs=1e-12)
    assert again.rail.max_failed == pytest.approx(policy.rail.max_failed, abs=1e-12)
    assert write_policy(again) == write_policy(policy)


@pytest.mark.parametrize("name", ready.PLANS)
def test_ready_made_plans_can_be_read_back(name: str) -> None:
    """Every ready-made plan is one that people could have written."""
    plan = ready.plan(name)

    assert read_plan(write_plan(plan)) == plan


def test_an_unknown_name_lists_the_known_ones() -> None:
    """A plan or policy that nobody made is an error with the names that exist, and without the one that was sent."""
    with pytest.raises(InvalidInput, match="standard, fast, demo") as plan:
        ready.plan("nonsense")
    with pytest.raises(InvalidInput, match="standard, fast, demo"):
        ready.policy("nonsense")

    assert "nonsense" not in plan.value.message


def test_the_probe_begins_with_a_thousandth() -> None:
    """Its first share is 0.1 %, exactly; it leaves two hours for the requests that it needs there."""
    probe = ready.plan("probe")

    assert [step.share for step in probe.steps] == [10, 100, 500, 2_500, 5_000]
    assert probe.steps[0].deadline_s == 7_200


@pytest.mark.parametrize(("written", "share"), [(0.01, 1), (0.1, 10), (0.29, 29), (94.99, 9_499)])
def test_a_share_is_written_to_a_hundredth_of_a_per_cent(written: float, share: int) -> None:
    """From 0.01 %, whatever a binary fraction makes of it; and it is written as it was read."""
    plan = read_plan({"steps": [{"share": written}]})

    assert plan.steps[0].share == share
    assert write_plan(plan)["steps"][0]["share"] == written


def test_the_demo_is_quick() -> None:
    """The demo's plan holds three short steps and its policy warms up for a second."""
    assert [step.share for step in ready.plan("demo").steps] == [1_000, 3_000, 6_000]
    assert sum(step.hold_s for step in ready.plan("demo").steps) <= 9
    assert ready.policy("demo").warmup_s == 1.0
