"""The figures of the bench held against what was promised: which cells miss, and the one line that says so.

Before it: `run` has one outcome a cell. After it: `page` prints the misses and `run` the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.analysis.chances import lower
from tests.bench.analysis.entrants import MARGIN_DELTA, MARGIN_RHO
from tests.bench.analysis.judge import OURS

Outcome = Mapping[str, Any]
FALSE_BOUND, CONFIDENCE, LOOK_AGAIN = 0.01, 0.999, 0.007
"""No null cell may have its exact 99.9 % lower bound above 1 %; estimates above 0.7 % get another run."""
EARLY_RATIO = {"one metric": 1.6, "two metrics": 1.9}
LATE_MEAN, LATE_WORST = 2.5, 3.0
FAST_S, FAST_REQUESTS_S = 3.0, 25.0
SLOW_RATIO, SLOW_REQUESTS_S = 2.0, 5.0
PROMOTED_S, FALSE_PROMOTION = 120.0, 0.05
LOOK_US, FLEET_CORES = 50.0, 0.2
MOST = 0.95
"""Ratios are taken where both sides detect at least this part."""
ERRORS = 10
"""Early ratios count where the clairvoyant itself needs at least this many failing requests on average."""


@dataclass(frozen=True, slots=True)
class Miss:
    """One cell beyond one figure."""

    cell: str
    figure: str
    found: float
    limit: float

    def __str__(self) -> str:
        return f"{self.cell}: {self.figure} {self.found:.3g} (limit {self.limit:g})"


def ratio(outcome: Outcome, ours: str, theirs: str) -> float | None:
    """Return mean delay of ours over theirs, None where one of the two misses more than 5 %."""
    a, b, n = outcome["by"][ours], outcome["by"][theirs], outcome["replications"]
    if min(a["detected"], b["detected"]) < MOST * n:
        return None
    return float(a["mean_censored_s"] / b["mean_censored_s"])


def has_enough_errors(outcome: Outcome) -> bool:
    """Whether the clairvoyant decides on at least ten failing requests."""
    return is_plain(outcome) and float(outcome["by"]["clairvoyant"].get("failing", 0)) >= ERRORS


def entrants_of(outcome: Outcome) -> tuple[str, ...]:
    """Return the forms of our engine that are meant for this world: unlike instances need the margin of luck."""
    return OURS if outcome["alike"] else OURS[2:]


def is_plain(outcome: Outcome) -> bool:
    """Whether instances are alike and errors come alone, so that the oracles know all there is."""
    return bool(outcome["alike"] and outcome["alone"])


def misses(outcomes: Sequence[Outcome]) -> list[Miss]:
    """Return every reported cell that breaks a figure."""
    counted = [o for o in outcomes if o.get("reported", True)]
    late = [r for o in counted if o.get("late") and (r := ratio(o, "one metric", "drift-proof")) is not None]
    found = [miss for o in counted for miss in _of(o)]
    if late and sum(late) / len(late) > LATE_MEAN:
        found.append(Miss("all late faults", "mean ratio to drift-proof", sum(late) / len(late), LATE_MEAN))
    return found


def _of(outcome: Outcome) -> Iterable[Miss]:
    return {"null": _null, "fault": _fault, "promotion": _promotion, "cost": _cost}.get(
        outcome["kind"], lambda _: ()
    )(outcome)


def _null(outcome: Outcome) -> Iterable[Miss]:
    for name in entrants_of(outcome):
        bound = lower(outcome["by"][name]["false"], outcome["replications"], CONFIDENCE)
        if bound > FALSE_BOUND:
            yield Miss(outcome["cell"], f"false rollbacks, {name}, lower bound", bound, FALSE_BOUND)


def _fault(outcome: Outcome) -> Iterable[Miss]:
    if not is_plain(outcome):
        return
    if outcome["late"]:
        found = ratio(outcome, "one metric", "drift-proof")
        if found is not None and found > LATE_WORST:
            yield Miss(outcome["cell"], "ratio to drift-proof", found, LATE_WORST)
        return
    for name, limit in EARLY_RATIO.items():
        found = ratio(outcome, name, "clairvoyant")
        if found is not None and found > limit and has_enough_errors(outcome):
            yield Miss(outcome["cell"], f"ratio to clairvoyant, {name}", found, limit)
    if outcome["level"] >= 0.2:
        yield from _large(outcome)


def _large(outcome: Outcome) -> Iterable[Miss]:
    for name in EARLY_RATIO:
        ours = outcome["by"][name]
        if outcome["canary_rps"] >= FAST_REQUESTS_S and ours.get("median_s", FAST_S + 1) > FAST_S:
            yield Miss(outcome["cell"], f"median s, {name}", ours.get("median_s", float("nan")), FAST_S)
    found = ratio(outcome, "one metric", "clairvoyant")
    if SLOW_REQUESTS_S <= outcome["canary_rps"] < FAST_REQUESTS_S and found and found > SLOW_RATIO:
        yield Miss(outcome["cell"], "ratio at 5 canary requests/s", found, SLOW_RATIO)


def _promotion(outcome: Outcome) -> Iterable[Miss]:
    if not outcome["alike"]:
        return  # what is proved is proved of the instances that serve; no promise is held against their luck
    if outcome["at_margin"]:
        for step, part in enumerate(outcome["steps"], 1):
            n = outcome["replications"]
            bound = lower(round(part * n), n, CONFIDENCE)
            if bound > FALSE_PROMOTION:
                yield Miss(outcome["cell"], f"false promotion, step {step}", part, FALSE_PROMOTION)
    elif outcome["cell"].startswith("promotion/fast/good/1000 rps") and (
        outcome.get("median_s", PROMOTED_S + 1) > PROMOTED_S
    ):
        yield Miss(outcome["cell"], "median s", outcome.get("median_s", float("nan")), PROMOTED_S)


def _cost(outcome: Outcome) -> Iterable[Miss]:
    worst = max(outcome["look_us"].values())
    if worst > LOOK_US:
        yield Miss("cost", "us a metric and look", worst, LOOK_US)
    if outcome["fleet_cores"] > FLEET_CORES:
        yield Miss("cost", "cores for 1 000 releases x 4 metrics", outcome["fleet_cores"], FLEET_CORES)


def one_line(outcomes: Sequence[Outcome], planned: int) -> str:
    """Return the worst figures beside their limits."""
    counted = [o for o in outcomes if o.get("reported", True)]
    nulls = [
        (o["by"][n]["false"] / o["replications"], o["cell"])
        for o in counted
        if o["kind"] == "null"
        for n in entrants_of(o)
    ]
    early = [_early(o, "one metric") for o in counted if o["kind"] == "fault" and not o["late"]]
    usual = [_early(o, "two metrics") for o in counted if o["kind"] == "fault" and not o["late"]]
    late = [ratio(o, "one metric", "drift-proof") for o in counted if o["kind"] == "fault" and o["late"]]
    known = [r for r in late if r is not None]
    cost = next((o for o in outcomes if o["kind"] == "cost"), None)
    parts = [
        f"cells {len(outcomes)}/{planned}",
        f"misses {len(misses(outcomes))} (<= 5)",
        f"worst null {max(nulls)[0]:.2%} (lower bound <= 1 %)" if nulls else "",
        f"early {_worst(early)}x one metric (<= 1.6), {_worst(usual)}x two metrics (<= 1.9)",
        f"late mean {sum(known) / len(known):.2f}x worst {max(known):.2f}x (<= 2.5, <= 3)" if known else "",
        f"look {max(cost['look_us'].values()):.0f} us (<= 50), fleet {cost['fleet_cores']:.2f} core (<= 0.2)"
        if cost
        else "",
    ]
    return f"bench-analysis: {'; '.join(p for p in parts if p)}; margin {MARGIN_RHO} x + {MARGIN_DELTA:.2%}"


def _early(outcome: Outcome, ours: str) -> float | None:
    return ratio(outcome, ours, "clairvoyant") if has_enough_errors(outcome) else None


def _worst(found: Iterable[float | None]) -> str:
    known = [r for r in found if r is not None]
    return f"{max(known):.2f}" if known else "-"
