"""Whether the spans of one version go missing, by what the edge counted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.metrics.coverage import LATE_S, Coverage


@settings(max_examples=40, deadline=None)
@given(
    shares=st.lists(st.integers(0, 100), min_size=30, max_size=60),
    late_s=st.integers(0, int(LATE_S)),
    others=st.integers(0, 50),
)
def test_spans_that_are_only_late_are_not_missing(shares: list[int], late_s: int, others: int) -> None:
    """Whatever the traffic is, and how it shifts between versions; requests that pass by the edge do no harm."""
    coverage = Coverage()
    for now_s in range(len(shares)):
        served = {"v1": sum(100 - one for one in shares[: now_s + 1]), "v2": sum(shares[: now_s + 1])}
        arrived = max(0, now_s + 1 - late_s)
        traced = {
            "v1": sum(100 - one + others for one in shares[:arrived]),
            "v2": sum(shares[:arrived]),
        }
        coverage.add(float(now_s), served, traced)

        assert coverage.missing() == ()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), part=st.floats(0.05, 1.0))
def test_versions_that_are_sampled_alike_are_not_missing_spans(seed: int, part: float) -> None:
    """A part of both is no loss of one. Three standard deviations may be passed now and then, not for long."""
    chance = random.Random(seed)
    coverage, edge, traced = Coverage(), {"v1": 0, "v2": 0}, {"v1": 0, "v2": 0}
    said = 0
    for now_s in range(200):
        for version, served in (("v1", 45), ("v2", 5)):
            edge[version] += served
            traced[version] += sum(chance.random() < part for _ in range(served))
        coverage.add(float(now_s), edge, traced)
        said += bool(coverage.missing())

    assert said < 60


@pytest.mark.parametrize(("kept", "seconds"), [(16, 120), (18, 310)])
def test_a_version_that_loses_spans_is_named(kept: int, seconds: int) -> None:
    """A fifth of the canary's in two minutes, a tenth in five, at 20 requests a second."""
    coverage = Coverage()
    for now_s in range(seconds):
        coverage.add(
            float(now_s), {"v1": 80 * now_s, "v2": 20 * now_s}, {"v1": 80 * now_s, "v2": kept * now_s}
        )

    assert coverage.missing() == ("v2",)


def test_a_gap_is_forgotten() -> None:
    """After telemetry was down, and after counters began again, only what came since counts."""
    coverage = Coverage()
    for now_s in range(500):
        traced = {"v1": 80 * now_s, "v2": 20 * min(now_s, 30) + 20 * max(0, now_s - 60)}
        coverage.add(float(now_s), {"v1": 80 * now_s, "v2": 20 * now_s}, traced)
        if now_s == 60:
            assert coverage.missing() == ("v2",)

    assert coverage.missing() == ()
