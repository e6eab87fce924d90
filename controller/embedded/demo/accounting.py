"""What the demo claims is counted here, from Envoy's access log, the load generator's files, and the release. Pure.

Nothing is taken from the judge's word alone: when the first canary request failed, and when the last one began, is what
the proxy wrote down.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FAILED_FROM = 500


@dataclass(frozen=True, slots=True)
class CanaryLine:
    """One canary request out of the access log.

    Args:
        at: When it began, seconds since 1970 (UTC).
        failed: The canary answered 500 or above, or not at all. A user whose request was asked again of stable saw
            nothing of it.
    """

    at: float
    correlation_id: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one release's canary got.

    Args:
        first_failure_at: When its first failed request began; None when none failed.
        last_at: When its last request began; None when it got none.
        failing: A correlation ID of a failed request, the newest; "" when none failed.
    """

    first_failure_at: float | None
    last_at: float | None
    failing: str


@dataclass(frozen=True, slots=True)
class Users:
    """What users saw: requests, errors, and those errors that no canary caused."""

    requests: int
    errors: int
    errors_outside_canary: int


def canary_lines(log: Iterable[str], release: str | None = None) -> list[CanaryLine]:
    """Return the canary requests of an access log, of one release or of all; lines that are none are passed over."""
    found = []
    for text in log:
        line = _parsed(text)
        if line.get("track") != "canary" or (release is not None and line.get("release") != release):
            continue
        status, attempts = int(line.get("status") or 0), int(line.get("attempts") or 1)
        found.append(
            CanaryLine(
                at=float(line["start_ms"]) / 1000,
                correlation_id=str(line.get("correlation_id", "")),
                failed=status == 0 or status >= FAILED_FROM or attempts > 1,
            )
        )
    return found


def exposure(lines: Iterable[CanaryLine]) -> Exposure:
    """Sum up what a canary got."""
    ordered = sorted(lines, key=lambda line: line.at)
    failures = [line for line in ordered if line.failed]
    return Exposure(
        first_failure_at=failures[0].at if failures else None,
        last_at=ordered[-1].at if ordered else None,
        failing=failures[-1].correlation_id if failures else "",
    )


def users(report: Mapping[str, Any], failures: Iterable[str], on_canary: Iterable[CanaryLine]) -> Users:
    """Sum up what users saw.

    Args:
        report: The load generator's final report.
        failures: Its file of failed requests, line by line.
        on_canary: Every canary request of the run, all releases.
    """
    touched = {line.correlation_id for line in on_canary}
    failed = [str(line["correlation_id"]) for line in map(_parsed, failures) if "correlation_id" in line]
    return Users(
        requests=int(report["requests"]),
        errors=int(report["errors"]),
        errors_outside_canary=sum(1 for one in failed if one not in touched),
    )


def close_ms(seen: Exposure, verdict_at: float) -> float:
    """Return how long after the verdict the last request began on the canary, milliseconds, never below 0."""
    return 0.0 if seen.last_at is None else max(0.0, round((seen.last_at - verdict_at) * 1000, 1))


def detect_s(seen: Exposure, verdict_at: float) -> float:
    """Return the time from the beginning of the first failed canary request to the verdict, seconds.

    Raises:
        ValueError: No canary request failed.
    """
    if seen.first_failure_at is None:
        raise ValueError("no failed canary request is in the access log")
    return round(verdict_at - seen.first_failure_at, 3)


def _parsed(text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        return {}  # The last line may still be being written.
    return line if isinstance(line, dict) else {}
