"""Services that do not exist: what users, instances and faults do to the counts of both arms.

Before it: `cells` names a family, a rate, a base rate and a fault. After it: `vectorised`, `peers` and `oracle` judge
the counts drawn here. Each family is one line that says what is unusual about it; the drawing is the same for all.

Unlike instances are added by `fleets`. Requests arrive as a Poisson process, so that good and failing ones are drawn separately. Errors may come in groups
(retries of one failure, one user's session); members of a group share an arm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tests.bench.analysis.shapes import Counts, Floats, Ints, Ladder

BURSTS = 3
WARM_UP_S = 15.0


@dataclass(frozen=True, slots=True)
class Family:
    """What is unusual about a service.

    Args:
        name: As in the table.
        bursts: Common bursts of errors, three a rollout, to 5-50 % for 4-60 s.
        drift: The common error rate swings up to this factor over the rollout.
        swing: The traffic swings by this part, in three waves.
        sizes: Errors come in groups of these sizes, each as likely.
        apart: Members of a group are one look apart; else in one look.
        late_looks: Stable's counters are read this many looks late.
        spread: Standard deviation of the log base rate between instances.
        wander_s: For how long an instance keeps its luck, seconds; 0 for ever.
        cold_s: For this long the canary answers 30 % with errors, inside the warm-up.
        at_margin: The canary is exactly at the default margin.
        bound: The bound on group size that the engine is told; None where it has to measure the dispersion.
        chosen_on: The defaults were chosen on this family (another plan, other rates), so its figures flatter them.
    """

    name: str
    bursts: bool = False
    drift: float = 1.0
    swing: float = 0.0
    sizes: tuple[int, ...] = (1,)
    apart: bool = False
    late_looks: int = 0
    spread: float = 0.0
    wander_s: float = 0.0
    cold_s: float = 0.0
    at_margin: bool = False
    bound: int | None = 1
    chosen_on: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a version.

    Args:
        name: As in the table.
        factor: Multiplies the base rate.
        level: Adds failures to this part of the requests.
        at_s: When it begins, seconds into the rollout.
        ramp_s: How long it takes to grow, seconds.
    """

    name: str
    factor: float = 1.0
    level: float = 0.0
    at_s: float = WARM_UP_S
    ramp_s: float = 0.0

    def rate(self, common: Floats, at: Floats) -> Floats:
        """Return the canary's failing rate at each look that begins at `at`."""
        begun: Floats = (at >= self.at_s).astype(np.float64)
        if self.ramp_s:
            begun = np.minimum(np.maximum((at - self.at_s) / self.ramp_s, 0.0), 1.0)
        worse = common * (1 + (self.factor - 1) * begun)
        rate: Floats = np.minimum(worse + self.level * begun * (1 - np.minimum(worse, 1)), 1.0)
        return rate


@dataclass(frozen=True, slots=True)
class Rates:
    """Expected requests a look and failing parts, each (replications, looks)."""

    load_b: Floats
    load_c: Floats
    pb: Floats
    pc: Floats


def rates(
    family: Family,
    fault: Fault | None,
    ladder: Ladder,
    rps: float,
    base: float,
    rows: int,
    rng: np.random.Generator,
) -> Rates:
    """Return what the world is about to do, with instances that are all alike."""
    shape = (rows, ladder.looks)
    at: Floats = np.arange(ladder.looks) * np.float64(ladder.look_s)
    turn = at / ladder.total_s
    phase = rng.uniform(0, 2 * math.pi, (rows, 1))
    load = rps * ladder.look_s * (1 + family.swing * np.sin(3 * 2 * math.pi * turn + phase))
    common = np.broadcast_to(base * family.drift ** np.sin(math.pi * turn + phase / 2) ** 2, shape).copy()
    if family.bursts:
        _burst(common, at, ladder, rng)
    share = ladder.share_of()
    pb = np.minimum(common, 1.0)
    pc = fault.rate(pb, at) if fault else pb.copy()
    if family.at_margin:
        pc = np.minimum(1.1 * pc + 0.0005, 1.0)
    if family.cold_s:
        pc = np.where(at < family.cold_s, np.maximum(pc, 0.3), pc)
    return Rates(np.broadcast_to(load * (1 - share), shape), np.broadcast_to(load * share, shape), pb, pc)


def _burst(common: Floats, at: Floats, ladder: Ladder, rng: np.random.Generator) -> None:
    rows = len(common)
    for _ in range(BURSTS):
        begin = rng.uniform(0, ladder.total_s, (rows, 1))
        end = begin + rng.uniform(4, 60, (rows, 1))
        level = rng.uniform(0.05, 0.5, (rows, 1))
        np.copyto(common, np.maximum(common, level), where=(at >= begin) & (at < end))


def counts(family: Family, world: Rates, ladder: Ladder, rng: np.random.Generator) -> Counts:
    """Draw the counts of both arms."""
    nb, xb = _arm(family, world.load_b, world.pb, rng)
    nc, xc = _arm(family, world.load_c, world.pc, rng)
    if family.late_looks:
        nb, xb = _delayed(nb, family.late_looks), _delayed(xb, family.late_looks)
    return Counts(nb=nb, xb=xb, nc=nc, xc=xc)


def _arm(family: Family, load: Floats, rate: Floats, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Return requests and failures; groups of size s come as Poisson processes of their own."""
    failed = np.zeros(load.shape, dtype=np.int64)
    mean_size = sum(family.sizes) / len(family.sizes)
    for size in family.sizes:
        groups = rng.poisson(load * rate / (mean_size * len(family.sizes)))
        if not family.apart or size == 1:
            failed += groups * size
            continue
        for member in range(size):
            failed += _delayed(groups, member)
    return rng.poisson(load * (1 - rate)) + failed, failed


def _delayed(array: Ints, looks: int) -> Ints:
    if looks == 0:
        return array
    late = np.zeros_like(array)
    late[:, looks:] = array[:, :-looks]
    return late
