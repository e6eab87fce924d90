"""What became of the parts of a body, in numbers and in words for its sender.

Before it: `spans`, `logs` and `points` count here. After it: the partial success of the answer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """Counts while a body is looked at.

    Args:
        kept: Parts that stay.
        clipped: Parts, resources and scopes that were cut.
        rejected: Parts that go, by the reason.
        changed: The body is not what came in any more.
    """

    kept: int = 0
    clipped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    changed: bool = False

    def reject(self, reason: str, number: int = 1) -> None:
        """Count parts that are left out."""
        self.rejected[reason] += number
        self.changed = True

    def clip(self) -> None:
        """Count a part that was cut."""
        self.clipped += 1
        self.changed = True

    def told(self) -> str:
        """Return all reasons in one line; "" when everything was kept as it came."""
        parts = [f"{number} left out: {reason}" for reason, number in self.rejected.items()]
        if self.clipped:
            parts.append(f"{self.clipped} clipped: the attribute serinus.clipped says what was cut")
        return "; ".join(parts)
