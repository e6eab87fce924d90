"""An alert on its way to people: written with the decision in one transaction, delivered afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing people must be told.

    Args:
        id: Stable for ever (`<release>.<outcome>`): a receiver that sees it twice drops the second.
        channel: Name of the configured channel it goes to.
        kind: `release.rolled_back`, `release.aborted`, ...
        release: Which release.
        title: At most one line.
        text: The reason in one sentence, with numbers.
        at: When it happened, seconds since 1970 (UTC).
        details: Numbers, names and links; flat, JSON-safe, no secrets.
        attempts: Deliveries tried so far.
    """

    id: str
    channel: str
    kind: str
    release: str
    title: str
    text: str
    at: float
    details: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    attempts: int = 0
