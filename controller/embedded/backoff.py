"""How long a crashed part waits before it is started again. Pure: the supervisor and the versions both ask here.

0.2 s at first, doubled with every quick death, never more than 5 s; a part that ran for 10 s has earned a fresh start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_MOST_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Backoff:
    """The memory of quick deaths in a row.

    Args:
        first_s: Wait after the first death, seconds.
        longest_s: Never longer than this, seconds.
        forgiven_after_s: A run of at least this length, seconds, wipes the memory.
        deaths: Quick deaths in a row so far.
    """

    first_s: float = 0.2
    longest_s: float = 5.0
    forgiven_after_s: float = 10.0
    deaths: int = 0

    def after(self, uptime_s: float) -> tuple[float, Backoff]:
        """Return the wait in seconds after a run of `uptime_s`, and the memory to keep for the next death."""
        deaths = 0 if uptime_s >= self.forgiven_after_s else self.deaths
        wait_s = min(self.longest_s, self.first_s * 2 ** min(deaths, _MOST_DOUBLINGS))
        return wait_s, replace(self, deaths=deaths + 1)
