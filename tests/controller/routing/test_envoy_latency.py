"""Latency buckets: what we promise of them, and how Envoy's lines become numbers."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from controller.routing.envoy import latency


def test_bounds_grow_slowly() -> None:
    """From 1 ms to a minute; each at most 1.2 times the one before, below 5 ms one millisecond wider."""
    assert latency.BOUNDS_MS[0] == 1
    assert latency.BOUNDS_MS[-1] >= 60_000
    assert all(0 < new - old <= max(1, 0.2 * old) for old, new in pairwise(latency.BOUNDS_MS))
    assert tuple(bound / 1000 for bound in latency.BOUNDS_MS) == latency.BOUNDS_S


def test_bounds_are_edges_of_envoys_bins() -> None:
    """Two significant digits: then a bucket is made of whole bins and is exact."""
    assert all(float(f"{bound:.1e}") == bound for bound in latency.BOUNDS_MS)


def test_a_line_becomes_counts() -> None:
    """The second number counts, since the process began; a line with other buckets is none."""
    labels = latency._LABELS
    line = " ".join(f"B{label}({place},{10 * place})" for place, label in enumerate(labels))

    assert latency.read(line) == tuple(10 * place for place in range(latency.BUCKETS))
    assert latency.read(line.replace("B1.5(", "B1.6(")) is None
    assert latency.read("B0.5(0,1) B1(0,2)") is None
    assert latency.read("No recorded values") is None


@pytest.mark.parametrize(
    ("name", "is_wanted"),
    [
        ("local.shop/v1", True),
        ("local.shop/v1-final", True),
        ("local.shop/v1-external", True),
        ("local.shop/internal", True),
        ("local.shop/v1.external", False),
        ("local.shop/v1.internal", False),
    ],
)
def test_only_the_sum_of_all_callers_is_kept(name: str, is_wanted: bool) -> None:
    """Envoy's histograms of internal and external callers are the same numbers again."""
    found = re.fullmatch(latency.pattern(), f"cluster.{name}.upstream_rq_time")

    assert (found is not None) is is_wanted
