"""Every row of the bench: which world, which rate, which fault, on which ladder.

Before it: `worlds` knows families and faults. After it: `run` judges them one after another.

Two sets, never mixed. CHOOSING holds what the defaults were picked on (analysis.md 5, 6 and 12: its ladders, rates and
families). REPORTED holds other ladders, other rates, other base rates and other shapes of the same dangers; only its
figures are held against the promises. Families that the defaults were looked at with are marked `chosen_on`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tests.bench.analysis.shapes import Ladder
from tests.bench.analysis.worlds import WARM_UP_S, Family, Fault

CHOOSING_LADDER = Ladder(shares=(0.05, 0.25, 0.5, 0.95), step_s=600)
REPORTED_LADDER = Ladder(shares=(0.03, 0.12, 0.4, 0.8), step_s=500)
FIRST_AT_25 = 0.03
"""The first share reported on; 25 canary requests a second need about 830 in all."""

IDENTICAL = Family("identical versions")
NULLS = (
    Family("common bursts", bursts=True),
    Family("day drift x8", drift=8.0),
    Family("traffic swing 60 %, drift x3", swing=0.6, drift=3.0),
    Family("errors in groups of 2 to 8, one look apart", sizes=tuple(range(2, 9)), apart=True, bound=8),
    Family("errors in groups of 3, one look, dispersion measured", sizes=(3,), bound=None),
    Family("bursts, stable read one look late", bursts=True, late_looks=1),
    Family("unlike instances, sd 0.25", spread=0.25),
    Family("unlike instances and groups of 3", spread=0.25, sizes=(3,), apart=True, bound=3),
    Family("unlike instances and groups of 3, dispersion measured", spread=0.25, sizes=(3,), bound=None),
    Family("unlike instances whose luck lasts 10 min", spread=0.25, wander_s=600.0),
    Family("sticky users, sessions of 5 and 10", sizes=(5, 10), apart=True, bound=None),
    Family("retries fed back, bursts", sizes=(1, 2, 3), apart=True, bound=3, bursts=True),
    Family("cold start", cold_s=10.0),
    Family("exactly at the margin", at_margin=True),
)
HARDER = (
    Family("unlike instances, sd 0.25", spread=0.25),
    Family("groups of 3", sizes=(3,), apart=True, bound=3),
    Family("groups of 3, dispersion measured", sizes=(3,), bound=None),
)
"""What caution costs: faults in worlds where fewer requests say less. No promise is held against them."""
CHOSEN_ON = (
    Family("identical versions", chosen_on=True),
    Family("day drift x5", drift=5.0, chosen_on=True),
    Family("traffic swing 80 %, drift x5", swing=0.8, drift=5.0, chosen_on=True),
    Family("common bursts", bursts=True, chosen_on=True),
    Family("bursts, stable read one look late", bursts=True, late_looks=1, chosen_on=True),
    Family("errors in groups of 4", sizes=(4,), apart=True, bound=4, chosen_on=True),
    Family("unlike instances, sd 0.3", spread=0.3, chosen_on=True),
    Family("bursts, stable read two looks late", bursts=True, late_looks=2, chosen_on=True),
)
"""The last one is beyond what is promised (a look is at least as long as the skew) and shows the price of that."""
LATE_IN_STEP_S = 840.0
"""Well inside the second step of the reported ladder (500 s to 1000 s)."""
LATER_S = 1350.0
"""Near the end of the third."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One row.

    Args:
        family: The world.
        rps: Requests a second of the whole target.
        base: Stable's failing part.
        ladder: The course.
        fault: What is wrong; None for a good version.
        reported: Its figures count against the promises.
    """

    family: Family
    rps: float
    base: float
    ladder: Ladder = REPORTED_LADDER
    fault: Fault | None = None
    reported: bool = True

    @property
    def name(self) -> str:
        """Return what the table and `--cells` call it."""
        kind = "fault" if self.fault else "null"
        what = self.family.name
        if self.fault:
            what = self.fault.name if self.family == IDENTICAL else f"{self.fault.name}, {what}"
        chosen = "" if self.reported else " (choosing)"
        return f"{kind}/{what}/{self.rps:g} rps/{self.base:.2%}{chosen}"

    @property
    def is_late(self) -> bool:
        """Whether the fault begins after the first step."""
        return self.fault is not None and self.fault.at_s > self.ladder.step_s


def null_cells() -> Iterator[Cell]:
    """Every good version that is reported on."""
    for rps in (1, 6, 40, 250, 1000, 5000):
        for base in (0.0, 0.0003, 0.003, 0.008, 0.03, 0.05):
            yield Cell(IDENTICAL, rps, base)
    for family in NULLS:
        for rps in (6, 80, 1500):
            for base in (0.003, 0.03):
                yield Cell(family, rps, base)
    yield Cell(Family("no traffic"), 0.0, 0.003)


EARLY = (
    Fault("2x", factor=2),
    Fault("5x", factor=5),
    Fault("+20 %", level=0.2),
    Fault("100 %", level=1.0),
    Fault("leak to +4 % in 800 s", level=0.04, ramp_s=800),
)
LATE = tuple(
    Fault(f"{name} at {at_s:g} s", factor=factor, level=level, at_s=at_s)
    for at_s in (LATE_IN_STEP_S, LATER_S)
    for name, factor, level in (("5x", 5, 0.0), ("+20 %", 1, 0.2), ("100 %", 1, 1.0))
)


def fault_cells() -> Iterator[Cell]:
    """Every bad version that is reported on."""
    for fault, rps, base in product(EARLY, (1, 6, 40, 250, 1000, 5000), (0.0003, 0.008)):
        yield Cell(IDENTICAL, rps, base, fault=fault)
    for fault, rps in product(EARLY[:3], (40, 1000)):
        yield Cell(IDENTICAL, rps, 0.05, fault=fault)
    for family, fault, rps in product(HARDER, EARLY[:3], (80, 1500)):
        yield Cell(family, rps, 0.008, fault=fault)
    for fault, rps in product(LATE, (6, 80, 600, 4000)):
        yield Cell(IDENTICAL, rps, 0.008, fault=fault)


def choosing_cells() -> Iterator[Cell]:
    """The families, ladder, rates and faults on which the defaults were chosen."""
    for family in CHOSEN_ON:
        for rps in (10, 100, 1000):
            yield Cell(family, rps, 0.005, ladder=CHOOSING_LADDER, reported=False)
    early = (
        Fault("2.5x", factor=2.5),
        Fault("5x", factor=5),
        Fault("+15 %", level=0.15),
        Fault("+60 %", level=0.6),
    )
    late = [
        Fault(f"{name} at {at_s} s", factor=factor, level=level, at_s=at_s)
        for at_s in (700, 1290)
        for name, factor, level in (("6x", 6, 0.0), ("+15 %", 1, 0.15), ("+60 %", 1, 0.6))
    ]
    for fault in (*early, *late):
        for rps in (10, 100, 1000, 3000):
            yield Cell(IDENTICAL, rps, 0.005, ladder=CHOOSING_LADDER, fault=fault, reported=False)


def all_cells() -> tuple[Cell, ...]:
    """Return every row, in the order of the page."""
    return (*null_cells(), *fault_cells(), *choosing_cells())


def warm_up_looks(ladder: Ladder) -> int:
    """Return the looks in which only rails act."""
    return round(WARM_UP_S / ladder.look_s)
