"""What one Envoy has of the shares, and how it is known that it lost them. Pure.

Before it: `session` tells what went out and what came back, `runtime` what Envoy itself says. After it: `session` sends
the layer again, with its body, from the leases that are unexpired then. The lease of the holder does not end: what may be
sent is bounded by its deadline, and one Envoy must not end everybody's.
"""

from __future__ import annotations

from collections.abc import Callable

RAN_OUT = "the layer ran out at the proxy before it was renewed"
CAME_WITHOUT = "the proxy came back without the shares that it had"


class Grip:
    """Whether one Envoy has the shares, for the time of one stream.

    Args:
        on_lapse: Told of each lapse, in words.
    """

    def __init__(self, on_lapse: Callable[[str], None] = lambda why: None) -> None:
        self._on_lapse = on_lapse
        self._is_of_shares = False
        self.had = False
        """Whether the stream before this one ended with shares at this Envoy, and it has accepted nothing since."""
        self.has = False
        """Whether the layer that it accepted last has shares in it, and was not lost."""
        self.lapse = ""
        """Why Envoy has no shares though a lease is live; "" when it has them, or none is due."""

    def lose(self, why: str, *, is_due: bool) -> bool:
        """Take in that Envoy has no shares; returns whether that is news.

        Args:
            why: In words.
            is_due: Whether a lease is live; else nothing is lost.
        """
        if not is_due or self.lapse:
            return False
        self.has, self.lapse = False, why
        self._on_lapse(why)
        return True

    def sent(self, *, is_of_shares: bool) -> None:
        """Take in that a full layer went out."""
        self._is_of_shares = is_of_shares

    def accepted(self) -> None:
        """Take in that Envoy took the full layer."""
        self.had, self.has, self.lapse = False, self._is_of_shares, ""
