"""Pure: whose counts are read in which round. A few targets are looked at, all others are only remembered.

Before it: `reader`, which is told what is declared and who is asked for. After it: `admin` asks Envoy for these alone,
because a page about everybody holds up Envoy's one main thread, and every push with it (5 000 services: 0.7 s).

Looked at, and so read in each round, is a target that has a share, was changed, or whose counts somebody wanted in the
last `LOOKED_AT_FOR_S` seconds. The others come in turn, all of them within `ALL_WITHIN` rounds.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from controller.model.target import Target, TargetKey

LOOKED_AT_FOR_S = 10.0
"""A judge looks once a second; one that is slow to come back must not find counts of half a minute ago."""
AT_LEAST = 100
"""Targets a round beside those that are looked at; where there are fewer, all are read every time."""
ALL_WITHIN = 30
"""Rounds. The past is kept by minute, so twice a minute is enough for it."""


class Turns:
    """Remembers who is looked at, and whose turn it is."""

    def __init__(self) -> None:
        self._declared: dict[TargetKey, Target] = {}
        self._looked_at_s: dict[TargetKey, float] = {}
        self._queue: list[TargetKey] = []

    def declare(self, targets: Iterable[Target], at_s: float) -> None:
        """Take in which targets there are. One that changed or is gone is looked at for a while.

        Its hosts may come back, and count from zero then: somebody must have seen that they were not there. A new
        target has nothing to miss.
        """
        before, self._declared = self._declared, {target.key: target for target in targets}
        for key, target in before.items():
            now = self._declared.get(key)
            if now is not target and now != target:
                self._looked_at_s[key] = at_s

    def look(self, key: TargetKey, at_s: float) -> None:
        """Say that somebody wants the counts of a target. Who asks for what is not declared changes nothing."""
        if key in self._declared:
            self._looked_at_s[key] = at_s

    def looked_at(self, at_s: float, shared: Collection[TargetKey]) -> tuple[TargetKey, ...]:
        """Return who is looked at.

        Args:
            at_s: On the clock of the other calls, seconds.
            shared: Who has a share.
        """
        for key in [key for key, seen_s in self._looked_at_s.items() if at_s - seen_s > LOOKED_AT_FOR_S]:
            del self._looked_at_s[key]
        with_shares = dict.fromkeys(key for key in shared if key in self._declared)
        return tuple(with_shares | dict.fromkeys(self._looked_at_s))

    def others(self, looked_at: Collection[TargetKey]) -> tuple[TargetKey, ...]:
        """Return whose turn it is beside those who are looked at; the next call goes on behind them."""
        waiting = self._declared.keys() - set(looked_at)
        number = max(AT_LEAST, math.ceil(len(self._declared) / ALL_WITHIN))
        taken: dict[TargetKey, None] = {}
        while len(taken) < min(number, len(waiting)):
            if not self._queue:
                self._queue = list(reversed(self._declared))
            key = self._queue.pop()
            if key in waiting:
                taken[key] = None
        return tuple(taken)
