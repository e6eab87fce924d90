"""The canary's part of the traffic, in basis points: 0 to 10 000, so that 0.01 % can be said exactly.

People read per cent; code never does. Everything that raises or lowers a canary carries one of these.
"""

from __future__ import annotations

from typing import NewType

from controller.errors import InvalidInput

BasisPoints = NewType("BasisPoints", int)
"""One hundredth of a per cent."""

NOTHING = BasisPoints(0)
EVERYTHING = BasisPoints(10_000)


def basis_points(value: int, *, field: str = "share") -> BasisPoints:
    """Check a number of basis points.

    Raises:
        InvalidInput: The value is not a whole number from 0 to 10 000 (a bool is not a number).
    """
    if isinstance(value, bool) or not isinstance(value, int) or not NOTHING <= value <= EVERYTHING:
        raise InvalidInput(
            "expected a whole number of basis points from 0 to 10000 (100 is 1 %)", field=field
        )
    return BasisPoints(value)


def in_percent(share: BasisPoints) -> str:
    """Say a share as people read it: `500` is `5 %`, `1` is `0.01 %`."""
    return f"{share / 100:.2f}".rstrip("0").rstrip(".") + " %"
