"""What changed from one version of a service to another, in sentences. Pure.

Before it: `VersionDifference`, counts of a trace store. After it: why a release was rolled back, and `serinus traces
diff`. Small counts say nothing about durations: a change is told from `LEAST_CALLS` on, and when it is larger than what
the histogram's buckets (10 % wide) can make up.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.model.insight import CallChange, OperationChange, VersionDifference

LEAST_CALLS = 50
LEAST_CALLS_P95 = 200
"""Below this the 95th percentile is one of the ten slowest."""
SHIFT = 1.25
LEAST_SHIFT_NS = 1_000_000
LEAST_RATIO = 0.2
"""Calls a request."""
MOST = 10


def sentences(found: VersionDifference) -> tuple[str, ...]:
    """Return at most ten: new failures, then durations, then calls; nothing when nothing worth telling changed."""
    said = [*_errors(found), *_durations(found), *_calls(found)]
    return tuple(said[:MOST])


def _errors(found: VersionDifference) -> Iterator[str]:
    for one in sorted(found.errors, key=lambda one: -one.other):
        if one.other and not one.base:
            times = "once" if one.other == 1 else f"{one.other} times"
            yield f"new in {found.other}: {one.operation} fails with {one.error}, {times} (never in {found.base})"


def _durations(found: VersionDifference) -> Iterator[str]:
    for one in found.operations:
        shift = _shift(one)
        if shift:
            name, base_ns, other_ns = shift
            word = "slower" if other_ns > base_ns else "faster"
            yield (
                f"{one.operation} is {word}: {name} {_ms(other_ns)} in {found.other}, {_ms(base_ns)} in {found.base}"
            )


def _shift(one: OperationChange) -> tuple[str, int, int] | None:
    calls = min(one.base.calls, one.other.calls)
    for name, base_ns, other_ns, least in (
        ("median", one.base.p50_ns, one.other.p50_ns, LEAST_CALLS),
        ("p95", one.base.p95_ns, one.other.p95_ns, LEAST_CALLS_P95),
    ):
        low, high = sorted((base_ns, other_ns))
        if calls >= least and high >= SHIFT * low and high - low >= LEAST_SHIFT_NS:
            return name, base_ns, other_ns
    return None


def _calls(found: VersionDifference) -> Iterator[str]:
    for one in found.calls:
        ratios = _ratios(one)
        if ratios is None:
            continue
        base, other = ratios
        what = f"{one.callee} {one.operation}".rstrip()
        if not one.base_calls:
            yield f"{found.other} calls {what}, {found.base} does not"
        elif not one.other_calls:
            yield f"{found.other} does not call {what} any more"
        else:
            yield f"{found.other} calls {what} {other:.2g} times a request, {found.base} {base:.2g} times"


def _ratios(one: CallChange) -> tuple[float, float] | None:
    if min(one.base_served, one.other_served) < LEAST_CALLS:
        return None
    base, other = one.base_calls / one.base_served, one.other_calls / one.other_served
    return (base, other) if abs(base - other) >= LEAST_RATIO else None


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:.3g} ms"
