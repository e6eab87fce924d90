"""What a release begins with, when the policy's ladder and the rungs that were frozen differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.analysis.beginning import begin, start_of, unjudged
from controller.analysis.streams import borders, label
from controller.model.look import History
from controller.model.metric import LADDER, METRICS, MetricKind
from controller.model.plan import Policy
from controller.model.start import Rung, Start
from controller.plans import ready

START = Start(rungs=(Rung(0.5, 0.05, 0.5), Rung(0.9, 0.1, 0.1), Rung(0.99, 0.2, 0.01)))
OWN = Policy("own")


def with_ladder(*places: int) -> Policy:
    """A policy whose latency ladder has only some of the usual rungs."""
    errors, latency = METRICS
    return Policy("other", metrics=(errors, replace(latency, ladder=tuple(LADDER[one] for one in places))))


def test_every_rung_of_the_ladder_has_its_stream() -> None:
    """Under its own policy nothing is left out, and the weights add up to 1."""
    evidence = begin(OWN, START)

    assert [label(evidence, one) for one in evidence.streams] == [
        "errors",
        "latency p50",
        "latency p90",
        "latency p99",
    ]
    assert sum(one.weight for one in evidence.streams) == pytest.approx(1)
    assert unjudged(OWN, START) == ()


def test_a_rung_without_margins_is_left_out() -> None:
    """The others keep their margins, and carry the whole weight of latency."""
    policy = with_ladder(0, 2)
    evidence = begin(policy, START)
    latency = [one for one in evidence.streams if one.metric is MetricKind.LATENCY]

    assert [label(evidence, one) for one in latency] == ["latency p50", "latency p99"]
    assert [borders(policy, evidence, one).tolerable for one in latency] == [
        LADDER[0].tolerable,
        LADDER[2].tolerable,
    ]
    assert sum(one.weight for one in latency) == pytest.approx(0.4 / 0.9)
    assert unjudged(policy, START) == (START.rungs[1],)


def test_a_quantile_that_went_through_arithmetic_is_found() -> None:
    """0.1 + 0.2 + 0.6 is the quantile 0.9, whatever its last bit says."""
    start = replace(START, rungs=(replace(START.rungs[1], quantile=0.1 + 0.2 + 0.6),))

    assert unjudged(OWN, start) == ()


def test_a_policy_without_latency_leaves_nothing_out() -> None:
    """Who does not ask for latency misses none."""
    policy = Policy("errors", metrics=METRICS[:1])

    assert len(begin(policy, START).streams) == 1
    assert unjudged(policy, START) == ()


def test_a_version_that_served_nothing_yet_has_no_ladder() -> None:
    """The source has latencies, and there is no minute of this version: nothing is known, and nothing breaks."""
    history = History(0.0, 0, 0, bounds_s=(0.1, 0.2))

    assert start_of(ready.plan("fast"), OWN, history).rungs == ()
