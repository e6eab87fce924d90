"""Looks for the tests of the judges that measure in intervals: one letter a measurement, one measurement a second."""

from __future__ import annotations

from controller.model.look import Arm, Look, SourceState

GOOD, BAD, COMMON, FEW, NONE, DOWN = ".xc?-!"
NEW = {
    GOOD: ((900, 9), (100, 1)),
    BAD: ((900, 9), (100, 20)),
    COMMON: ((900, 72), (100, 8)),
    FEW: ((900, 9), (49, 30)),
    NONE: ((900, 9), (0, 0)),
    DOWN: ((900, 9), (100, 20)),
}
"""What each letter brings: new requests and failures of (stable, canary); what comes with DOWN is read a second later."""


def looks(letters: str, *, generation: str = "g") -> list[Look]:
    """Return the first look, which sets the mark, and one a letter."""
    found = [Look(1, 0.0, SourceState.OK, generation, Arm(), Arm())]
    counts = [0, 0, 0, 0]
    for number, letter in enumerate(letters, start=1):
        (stable, stable_failed), (canary, canary_failed) = NEW[letter]
        new = (stable, stable_failed, canary, canary_failed)
        counts = [old + more for old, more in zip(counts, new, strict=True)]
        source = SourceState.DOWN if letter == DOWN else SourceState.OK
        arms = Arm(counts[0], counts[1]), Arm(counts[2], counts[3])
        found.append(Look(number + 1, float(number), source, generation, *arms))
    return found
