"""The judge that users of Kayenta know: published pairs, and the rules around them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.mann_whitney import (
    Bounds,
    Classification,
    Direction,
    EffectSize,
    Label,
    NanStrategy,
    Rule,
    classify,
)
from controller.errors import InvalidInput

PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_text())["vectors"]
CLASSIFIED = {v["id"]: v for v in PUBLISHED if v["group"] == "kayenta.mann_whitney"}
REPORTED = {v["id"]: v for v in PUBLISHED if v["group"] == "judge.user_reported_wrong"}
NAN = math.nan
LOW = [1.0, 1.2, 0.9, 1.1, 1.3, 1.0, 0.8]
HIGH = [value + 5 for value in LOW]


def bounds(pair: list[float] | None) -> Bounds:
    return Bounds(*pair) if pair else Bounds()


def rule_of(params: dict[str, Any]) -> Rule:
    """Translate the parameters of a published pair; the limit on few values is ours, and off here."""
    return Rule(
        tolerance=params["tolerance"],
        confidence=params["confidence"],
        direction=Direction(params["direction"]),
        nan_strategy=NanStrategy(params["nan_strategy"]),
        measure=EffectSize(params.get("effect_size_measure", "meanRatio")),
        allowed=bounds(params.get("effect_size_allowed_decrease_increase")),
        critical=params["critical_metric"],
        critical_bounds=bounds(params.get("critical_decrease_increase")),
        fewest=1,
    )


def test_the_published_pairs_are_these() -> None:
    """None is dropped in silence, and each is judged below."""
    assert set(CLASSIFIED) == {f"kayenta-classify-{n:02}" for n in range(1, 35, 3)}
    assert set(REPORTED) == {"user-mw-1", "user-mw-3b"}


@pytest.mark.parametrize("vector", CLASSIFIED.values(), ids=list(CLASSIFIED))
def test_published_classifications(vector: dict[str, Any]) -> None:
    """The same class, and where they are published the same criticality and deviation."""
    given, expected = vector["input"], vector["expected"]
    found = classify(given["experiment"], given["control"], rule_of(given["params"]))

    assert found.label == expected["classification"]
    assert found.critical == expected.get("critical", False)
    if "deviation" in expected:
        assert found.deviation == pytest.approx(float(expected["deviation"]), nan_ok=True)


@pytest.mark.parametrize("vector", REPORTED.values(), ids=list(REPORTED))
def test_what_users_reported_is_reproduced(vector: dict[str, Any]) -> None:
    """Also where they expected something else: this judge is here to give the verdicts they know."""
    given = vector["input"]
    rule = Rule(
        tolerance=given["tolerance"],
        confidence=given["confidence"],
        allowed=bounds(given.get("effect")),
        critical_bounds=bounds(given.get("critical")),
    )

    assert classify(given["experiment"], given["control"], rule).label == vector["expected"]["kayenta_actual"]


def test_only_the_asked_direction_is_a_fault() -> None:
    """A metric that may only rise, only fall, or neither."""
    assert classify(HIGH, LOW, Rule(direction=Direction.INCREASE)).label is Label.HIGH
    assert classify(HIGH, LOW, Rule(direction=Direction.DECREASE)).label is Label.PASS
    assert classify(LOW, HIGH, Rule(direction=Direction.DECREASE)).label is Label.LOW
    assert classify(LOW, HIGH, Rule(direction=Direction.INCREASE)).label is Label.PASS


def test_four_values_a_side_are_not_enough() -> None:
    """Our own addition: samples so small can hardly fail, and would pass."""
    assert classify(HIGH[:4], LOW).label is Label.NOT_ENOUGH
    assert classify(HIGH, LOW[:4]).label is Label.NOT_ENOUGH
    assert classify(HIGH[:5], LOW[:5]).label is Label.HIGH


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(), Classification(Label.NODATA)),
        (Rule(critical=True), Classification(Label.NODATA, critical=True)),
        (Rule(must_have_data=True), Classification(Label.NODATA_FAIL_METRIC)),
        (Rule(must_have_data=True, critical=True), Classification(Label.NODATA, critical=True)),
        (Rule(nan_strategy=NanStrategy.REPLACE), Classification(Label.PASS)),
        (Rule(nan_strategy=NanStrategy.REPLACE, critical=True), Classification(Label.PASS)),
    ],
)
def test_no_data_follow_the_rule(rule: Rule, expected: Classification) -> None:
    """On either side."""
    assert classify([], LOW, rule) == expected
    assert classify(LOW, [], rule) == expected


def test_what_is_not_a_number_is_removed_or_zero() -> None:
    """Removed it leaves no data; as zeros it is a value like any other."""
    nothing = [NAN] * 6

    assert classify(nothing, LOW).label is Label.NODATA
    assert classify([*nothing, *LOW], LOW).label is Label.PASS
    assert classify(nothing, LOW, Rule(nan_strategy=NanStrategy.REPLACE)).label is Label.LOW
    assert classify(nothing, [0.0] * 6, Rule(nan_strategy=NanStrategy.REPLACE)).label is Label.PASS


def test_a_shift_below_the_allowed_size_passes() -> None:
    """By mean ratio (here 5.8) and by the part of larger values (here all)."""
    assert classify(HIGH, LOW, Rule(allowed=Bounds(increase=5.0))).label is Label.HIGH
    assert classify(HIGH, LOW, Rule(allowed=Bounds(increase=6.0))).label is Label.PASS
    cles = EffectSize.CLES
    assert classify(HIGH, LOW, Rule(measure=cles, allowed=Bounds(increase=1.0))).label is Label.HIGH
    assert classify(LOW, HIGH, Rule(measure=cles, allowed=Bounds(decrease=0.0))).label is Label.LOW
    assert classify(LOW, HIGH, Rule(measure=cles, allowed=Bounds(decrease=-0.1))).label is Label.PASS


def test_a_critical_metric_fails_the_canary_from_its_own_size_on() -> None:
    """The class does not change with it."""
    small = classify(HIGH, LOW, Rule(critical=True, critical_bounds=Bounds(increase=7.0)))
    large = classify(HIGH, LOW, Rule(critical=True, critical_bounds=Bounds(increase=5.0)))
    falling = classify(LOW, HIGH, Rule(critical=True, critical_bounds=Bounds(decrease=0.5)))

    assert (small.label, small.critical) == (Label.HIGH, False)
    assert (large.label, large.critical) == (Label.HIGH, True)
    assert (falling.label, falling.critical) == (Label.LOW, True)
    assert not classify(HIGH, LOW, Rule(critical_bounds=Bounds(increase=5.0))).critical


def test_two_constants_are_apart_by_their_difference() -> None:
    """Ranks alone could not tell by how much."""
    found = classify([7.0] * 5, [5.0] * 5)

    assert found.label is Label.HIGH
    assert found.shift is not None
    assert (found.shift.lower, found.shift.upper) == (2.0, 2.0)


def test_the_same_values_in_another_order_pass() -> None:
    """So do equal constants of different lengths."""
    assert classify(LOW, LOW[::-1]) == Classification(Label.PASS)
    assert classify([1.0] * 9, [1.0] * 2) == Classification(Label.PASS)


def test_infinite_values_are_refused() -> None:
    """A difference of infinities says nothing."""
    with pytest.raises(InvalidInput):
        classify([*HIGH, math.inf], LOW)


@pytest.mark.parametrize("wrong", [{"tolerance": -0.1}, {"tolerance": NAN}, {"confidence": 1.0}])
def test_a_rule_without_a_meaning_is_refused(wrong: dict[str, float]) -> None:
    """A tolerance below nothing, and a confidence that no sample gives."""
    with pytest.raises(InvalidInput):
        Rule(**wrong)  # type: ignore[arg-type]


@given(
    experiment=st.lists(st.floats(-1e3, 1e3), max_size=15),
    control=st.lists(st.floats(-1e3, 1e3), max_size=15),
)
def test_swapping_the_arms_turns_high_into_low(experiment: list[float], control: list[float]) -> None:
    """Without limits on the size, the test is the same from both sides."""
    free = Rule(allowed=Bounds(decrease=math.inf, increase=-math.inf))
    turned = {Label.HIGH: Label.LOW, Label.LOW: Label.HIGH}
    found = classify(experiment, control, free).label

    assert classify(control, experiment, free).label is turned.get(found, found)
