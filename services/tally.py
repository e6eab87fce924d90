"""What the users of the shop saw, counted: requests, errors, and latency in classes of 5 %.

Before it: `services.load`, which counts every finished request. After it: the running report that the demo shows.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

_GROWTH = 1.05


@dataclass(slots=True)
class Tally:
    """What happened so far.

    Args:
        sent: Requests that went out.
        dropped: Requests that were due while too many were unanswered.
        by_status: Finished requests by status, or by `timeout`, `reset` and `refused`.
        latencies: Finished requests by latency class; class k ends at 1.05^k times 0.1 ms.
    """

    sent: int = 0
    dropped: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    latencies: Counter[int] = field(default_factory=Counter)

    def finish(self, status: str, latency_s: float) -> bool:
        """Count a finished request; returns whether it failed (a status of 500 or above, or no answer)."""
        self.by_status[status] += 1
        self.latencies[max(0, math.ceil(math.log(max(latency_s, 1e-4) / 1e-4, _GROWTH)))] += 1
        return is_failure(status)

    def quantile_ms(self, q: float) -> float | None:
        """Return a quantile of the latency in milliseconds, at most 5 % too high; None before the first answer."""
        left = q * self.latencies.total()
        for latency_class in sorted(self.latencies):
            left -= self.latencies[latency_class]
            if left <= 0:
                return round(0.1 * _GROWTH**latency_class, 3)
        return None

    def report(self) -> dict[str, object]:
        """Return the numbers as they stand in the report."""
        return {
            "requests": self.by_status.total(),
            "errors": sum(count for status, count in self.by_status.items() if is_failure(status)),
            "dropped": self.dropped,
            "in_flight": self.sent - self.by_status.total(),
            "by_status": dict(sorted(self.by_status.items())),
            "p50_ms": self.quantile_ms(0.5),
            "p99_ms": self.quantile_ms(0.99),
        }


def is_failure(status: str) -> bool:
    """Whether a user would call it an error: 5xx, or no answer."""
    return not status.isdigit() or int(status) >= 500
