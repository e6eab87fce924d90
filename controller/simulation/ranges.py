"""The one check of the numbers that a scene is made of.

Before it: the options of `serinus simulate`. After it: `scene` and `latency` hold only worlds that can be played.
"""

from __future__ import annotations

import math

from controller.errors import InvalidInput


def between(value: float, low: float, high: float, name: str) -> None:
    """Check that a number is finite and in its range.

    Raises:
        InvalidInput: It is not; `name` is the option.
    """
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidInput(f"expected a number from {low:g} to {high:g}", field=name)
