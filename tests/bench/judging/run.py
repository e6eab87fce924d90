"""`make bench-judging`: what a whole judged look costs, beside a fixed loop of arithmetic in the same run.

`make bench-analysis` measures the bets alone; here `engine.judge` counts, watches, bets, weighs and says. CPU time of one
process, best of some rounds; the ratio to the loop compares machines. The last line is the summary.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from controller.analysis.beginning import begin
from controller.analysis.engine import judge
from controller.model.evidence import Evidence
from controller.model.look import Arm, Exceedance, Instance, Look, SourceState
from controller.model.plan import JudgeKind, Policy
from controller.model.share import BasisPoints
from controller.model.start import Rung, Start

LOOKS, ROUNDS, LOOP = 400, 5, 100_000
RUNGS = (Rung(0.5, 0.05, 0.5), Rung(0.9, 0.14, 0.1), Rung(0.99, 0.32, 0.01))
RELEASES = 1_000
EVIDENCE = Policy("evidence", warmup_s=0)
KINDS: dict[str, tuple[Policy, tuple[Rung, ...], int]] = {
    "errors": (EVIDENCE, (), 0),
    "errors and three latency rungs": (EVIDENCE, RUNGS, 0),
    "the same with four instances": (EVIDENCE, RUNGS, 4),
    "a threshold": (Policy("threshold", judge=JudgeKind.THRESHOLD, warmup_s=0), (), 0),
}


def measure() -> dict[str, float]:
    """Return microseconds of CPU of one judged look of each kind, and of the loop."""
    found = {name: _look_us(*kind) for name, kind in KINDS.items()}
    return found | {"loop": min(_timed(_loop, LOOP / 100) for _ in range(ROUNDS))}


def looks(rungs: tuple[Rung, ...], instances: int) -> list[Look]:
    """Return seeded looks: 950 requests a second on stable and 50 on the canary, errors on both."""
    rng, stable, canary, found = Random(1), [0, 0], [0, 0], []
    for t in range(LOOKS):
        stable = [stable[0] + 950, stable[1] + rng.randrange(3)]
        canary = [canary[0] + 50, canary[1] + (rng.random() < 0.1)]
        first, second = (_arm(total, failed, rungs, instances) for total, failed in (stable, canary))
        found.append(Look(t, float(t), SourceState.OK, "g", stable=first, canary=second))
    return found


def _arm(total: int, failed: int, rungs: tuple[Rung, ...], instances: int) -> Arm:
    over = Exceedance(total, tuple(int(total * rung.prior) for rung in rungs)) if rungs else None
    each = tuple(
        Instance(str(number), total // instances, failed // instances) for number in range(instances)
    )
    return Arm(total, failed, over, instances=each)


def _look_us(policy: Policy, rungs: tuple[Rung, ...], instances: int) -> float:
    told = looks(rungs, instances)
    fresh = begin(policy, Start(rungs=rungs), BasisPoints(500))

    def all_looks() -> None:
        evidence: Evidence = fresh
        for look in told:
            evidence, _ = judge(policy, evidence, look)

    return min(_timed(all_looks, LOOKS) for _ in range(ROUNDS))


def _timed(work: Callable[[], None], parts: float) -> float:
    begun = time.process_time()
    work()
    return (time.process_time() - begun) / parts * 1e6


def _loop() -> None:
    value = 1.0
    for _ in range(LOOP):
        value = value * 0.999 + 0.001


def main() -> None:
    """Print a line a kind, and the summary."""
    found = measure()
    for name, us in found.items():
        print(f"{name}: {us:.0f} us, {us / found['loop']:.0f} times 100 multiplications and additions")
    most = found["errors and three latency rungs"]
    print(
        f"bench-judging: {found['errors']:.0f} us a look of one metric, {most:.0f} us of four; "
        f"{RELEASES} releases with four metrics and a look a second: {most * RELEASES / 1e6:.2f} core"
    )


if __name__ == "__main__":
    main()
