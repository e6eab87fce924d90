"""What changed between two versions, in sentences: only what is worth telling."""

from __future__ import annotations

from controller.analysis.changing import sentences
from controller.model.insight import CallChange, ErrorSignature, OperationChange, Red, VersionDifference

MS = 1_000_000


def changed(
    *,
    errors: tuple[ErrorSignature, ...] = (),
    operations: tuple[OperationChange, ...] = (),
    calls: tuple[CallChange, ...] = (),
) -> VersionDifference:
    return VersionDifference("catalog", "v1", "v2", operations, errors, calls)


def operation(base_ms: tuple[int, int], other_ms: tuple[int, int], *, calls: int = 200) -> OperationChange:
    base, other = (Red(calls, p50_ns=p50 * MS, p95_ns=p95 * MS) for p50, p95 in (base_ms, other_ms))
    return OperationChange("GET /", "server", base, other)


def test_new_failures_come_first_and_old_ones_are_no_news() -> None:
    """What stable does as well is not the version's."""
    errors = (
        ErrorSignature("GET /", "Timeout", 5, 9, ""),
        ErrorSignature("GET /", "KeyError", 0, 1, ""),
        ErrorSignature("PUT /", "InvoiceMissing", 0, 20, ""),
    )

    assert sentences(changed(errors=errors)) == (
        "new in v2: PUT / fails with InvoiceMissing, 20 times (never in v1)",
        "new in v2: GET / fails with KeyError, once (never in v1)",
    )


def test_a_shift_of_durations_is_told_when_it_is_one() -> None:
    """The median, or the tail alone; never a bucket's width, less than a millisecond, or a handful of calls."""
    assert sentences(changed(operations=(operation((10, 20), (40, 90)),))) == (
        "GET / is slower: median 40 ms in v2, 10 ms in v1",
    )
    assert sentences(changed(operations=(operation((10, 20), (10, 90)),))) == (
        "GET / is slower: p95 90 ms in v2, 20 ms in v1",
    )
    assert sentences(changed(operations=(operation((10, 20), (5, 20)),)))[0].startswith("GET / is faster")
    assert sentences(changed(operations=(operation((10, 20), (11, 22)),))) == ()
    assert sentences(changed(operations=(operation((1, 1), (1, 1)),))) == ()
    assert sentences(changed(operations=(operation((10, 20), (40, 90), calls=49),))) == ()
    assert sentences(changed(operations=(operation((10, 20), (10, 90), calls=199),))) == ()


def test_changed_calls_are_told_by_request() -> None:
    """More, new, gone; nothing while few requests were served."""
    calls = (
        CallChange("prices", "GET", 100, 100, 300, 100),
        CallChange("audit", "POST", 0, 100, 100, 100),
        CallChange("cache", "GET", 100, 100, 0, 100),
        CallChange("same", "GET", 100, 100, 110, 100),
        CallChange("few", "GET", 0, 100, 49, 49),
    )

    assert sentences(changed(calls=calls)) == (
        "v2 calls prices GET 3 times a request, v1 1 times",
        "v2 calls audit POST, v1 does not",
        "v2 does not call cache GET any more",
    )
