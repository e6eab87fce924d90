"""The judge that users of Kayenta know: is the canary's series of values shifted against the baseline's?

Before it: one value a minute of a metric that is no count of ours, of both arms. After it: whoever asked for this judge
reads the classification. It reproduces NetflixACAJudge's Mann-Whitney classifier, so that a configuration that moves
here keeps its verdicts, with one addition: fewer than five values a side are not enough.

What to know before choosing it: its tolerance is a part of the estimated shift itself, so that
any shift it is sure of is outside, however small; a minute with five requests weighs as much as one with five million;
it is made for one look, and is not valid for many. The evidence judge has none of these limits. Outliers are kept.

Tested by tests/controller/analysis/test_mann_whitney.py on published pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from controller.analysis.rank_sum import Shift, shift, superiority
from controller.errors import InvalidInput

FEWEST_VALUES = 5
"""With fewer a side even samples that do not overlap leave the interval as wide as their whole range."""
NOT_COMPARED = 1.0
"""Deviation where nothing was compared, or nothing differs."""


class Label(StrEnum):
    """What a metric is classified as, in Kayenta's words; the last is ours."""

    PASS = "Pass"  # noqa: S105 - not a password
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL_METRIC = "NodataFailMetric"
    NOT_ENOUGH = "NotEnough"


class Direction(StrEnum):
    """Which shift is a fault."""

    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"


class NanStrategy(StrEnum):
    """What stands for a value that is not a number: nothing, or zero."""

    REMOVE = "remove"
    REPLACE = "replace"


class EffectSize(StrEnum):
    """How a shift's size is measured: mean ratio, or the part of pairs in which the canary's value is larger."""

    MEAN_RATIO = "meanRatio"
    CLES = "cles"


NEUTRAL = {EffectSize.MEAN_RATIO: 1.0, EffectSize.CLES: 0.5}
"""The effect size of no shift."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A shift is a fault from these effect sizes on; None: at any size on its side.

    Args:
        decrease: At most this for a low canary.
        increase: At least this for a high one.
    """

    decrease: float | None = None
    increase: float | None = None


ANY_SIZE = Bounds()


@dataclass(frozen=True, slots=True)
class Rule:
    """How one metric is classified; the defaults are Kayenta's.

    Args:
        tolerance: Part of the estimated shift that the whole interval must exceed; 0 or more.
        confidence: Of the interval, above 0 and below 1.
        direction: Which shift is a fault.
        nan_strategy: What stands for values that are not numbers; with REPLACE no values at all pass.
        measure: Of the effect size.
        allowed: Effect sizes up to which a shift is no fault.
        critical: Whether a fault of this metric fails the whole canary.
        critical_bounds: Effect sizes from which on it does.
        must_have_data: Whether no data fail this metric (a critical one fails with them anyway).
        fewest: Values a side below which nothing is said.
    """

    tolerance: float = 0.25
    confidence: float = 0.98
    direction: Direction = Direction.EITHER
    nan_strategy: NanStrategy = NanStrategy.REMOVE
    measure: EffectSize = EffectSize.MEAN_RATIO
    allowed: Bounds = ANY_SIZE
    critical: bool = False
    critical_bounds: Bounds = ANY_SIZE
    must_have_data: bool = False
    fewest: int = FEWEST_VALUES

    def __post_init__(self) -> None:
        if not (0.0 <= self.tolerance < math.inf and 0.0 < self.confidence < 1.0):
            raise InvalidInput("expected a tolerance from 0 and a confidence between 0 and 1", field="rule")


DEFAULT_RULE = Rule()


@dataclass(frozen=True, slots=True)
class Classification:
    """What the judge says of one metric.

    Args:
        label: The class.
        critical: Whether it fails the whole canary.
        deviation: Mean of the canary's values by the baseline's; not a number when either mean is 0.
        shift: The interval the class rests on; None when nothing was compared.
    """

    label: Label
    critical: bool = False
    deviation: float = NOT_COMPARED
    shift: Shift | None = None


def classify(
    experiment: Sequence[float], control: Sequence[float], rule: Rule = DEFAULT_RULE
) -> Classification:
    """Classify one metric.

    Args:
        experiment: The canary's values, in any order; some may be not a number.
        control: The baseline's, likewise.
        rule: How.

    Raises:
        InvalidInput: A value is infinite.
    """
    canary, baseline = (_numbers(values, rule.nan_strategy) for values in (experiment, control))
    if not canary or not baseline:
        return _without_data(rule)
    if sorted(canary) == sorted(baseline) or len({*canary, *baseline}) == 1:
        return Classification(Label.PASS)
    if min(len(canary), len(baseline)) < rule.fewest:
        return Classification(Label.NOT_ENOUGH)
    return _compared(canary, baseline, rule)


def _numbers(values: Sequence[float], strategy: NanStrategy) -> list[float]:
    if strategy is NanStrategy.REMOVE:
        return [value for value in values if not math.isnan(value)]
    return [0.0 if math.isnan(value) else value for value in values]


def _without_data(rule: Rule) -> Classification:
    if rule.nan_strategy is NanStrategy.REPLACE:
        return Classification(Label.PASS)
    if rule.must_have_data and not rule.critical:
        return Classification(Label.NODATA_FAIL_METRIC)
    return Classification(Label.NODATA, critical=rule.critical)


def _compared(canary: list[float], baseline: list[float], rule: Rule) -> Classification:
    found = _shift(canary, baseline, rule.confidence)
    deviation = _mean_ratio(canary, baseline)
    effect = superiority(canary, baseline) if rule.measure is EffectSize.CLES else deviation
    bound = rule.tolerance * abs(found.estimate)
    label = Label.PASS
    if rule.direction is not Direction.DECREASE and found.lower > bound:
        label = Label.HIGH
    elif rule.direction is not Direction.INCREASE and found.upper < -bound:
        label = Label.LOW
    if not _reaches(rule.allowed, label, effect, rule.measure):
        label = Label.PASS
    is_critical = rule.critical and _reaches(rule.critical_bounds, label, effect, rule.measure)
    return Classification(label, critical=is_critical, deviation=deviation, shift=found)


def _shift(canary: list[float], baseline: list[float], confidence: float) -> Shift:
    """Return the interval; two constants are apart by their difference, whatever the ranks can prove."""
    if len(set(canary)) == len(set(baseline)) == 1:
        apart = canary[0] - baseline[0]
        return Shift(apart, apart, apart)
    return shift(canary, baseline, confidence=confidence)


def _mean_ratio(canary: list[float], baseline: list[float]) -> float:
    ours, theirs = math.fsum(canary) / len(canary), math.fsum(baseline) / len(baseline)
    return math.nan if ours == 0.0 or theirs == 0.0 else ours / theirs


def _reaches(bounds: Bounds, label: Label, effect: float, measure: EffectSize) -> bool:
    """Whether a shift is as large as a bound. A ratio to nothing has no size, and reaches every bound."""
    if label is Label.HIGH:
        least = NEUTRAL[measure] if bounds.increase is None else bounds.increase
        return math.isnan(effect) or effect >= least
    if label is Label.LOW:
        most = NEUTRAL[measure] if bounds.decrease is None else bounds.decrease
        return math.isnan(effect) or effect <= most
    return False
