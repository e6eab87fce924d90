"""The lines of `why`: failing traces, what they share, what the version changed. The same everywhere.

Before it: the answer of `GET /v1/releases/{id}/why`. After it: `serinus explain`, `serinus traces why`, the demo.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MISSING = {
    "unavailable": "traces: unavailable (the telemetry process did not answer in time)",
    "partly": "traces: some answers did not come in time; ask again",
}


def why_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what is said below the verdict."""
    return [_clean(line) for line in _lines(found)]


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    if found["traces"] in MISSING:
        yield MISSING[found["traces"]]
    if found["failing_traces"]:
        yield f"failing requests of {found['version']}, newest first:"
        for one in found["failing_traces"]:
            yield (
                f"  {one['started_at'][11:23]}  {one['correlation_id'] or '-':<34} trace {one['trace_id']}  "
                f"{one['failed']} of {one['spans']} spans failed"
            )
        yield f"  look at one: serinus traces get {found['failing_traces'][0]['trace_id']}"
    if found["differences"]:
        yield "what they have in common:"
        for one in found["differences"]:
            yield f"  {one['sentence']}"
    if _are_like_the_good_ones(found):
        yield "  no attribute but the failure itself tells them from good requests"
    if found["changes"]:
        yield f"what changed from {found['stable']} to {found['version']}:"
        for sentence in found["changes"]:
            yield f"  {sentence}"


def _are_like_the_good_ones(found: Mapping[str, Any]) -> bool:
    is_known = found["traces"] == "ok" and bool(found["failing_traces"])
    return is_known and all(one["is_symptom"] for one in found["differences"])


def _clean(line: str) -> str:
    """Names come from services: nothing of them may steer a terminal."""
    return "".join(one if one.isprintable() else "?" for one in line)
