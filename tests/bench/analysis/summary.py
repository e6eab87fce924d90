"""The first screen of the bench's page: what was compared, the worst figures beside their limits, what is missed and why.

Before it: `promises` says which cells miss. After it: `page` puts the tables below.
"""

from __future__ import annotations

import fnmatch
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench.analysis import cells, peers
from tests.bench.analysis.chances import lower, upper
from tests.bench.analysis.judge import OURS, SEED
from tests.bench.analysis.promises import (
    FALSE_BOUND,
    FAST_REQUESTS_S,
    FAST_S,
    FLEET_CORES,
    LATE_MEAN,
    LATE_WORST,
    LOOK_US,
    MOST,
    PROMOTED_S,
    Miss,
    Outcome,
    entrants_of,
    has_enough_errors,
    is_plain,
    misses,
    one_line,
    ratio,
)
from tests.bench.analysis.shapes import Ladder

REASONS: Sequence[tuple[str, str]] = (
    (
        "fault/+20 %/1000 rps/5.00%",
        "30 canary requests a second, of which 1.5 fail anyway: the mean is 3.7 s beside the clairvoyant's 2.5 s. Tried"
        " afterwards, not taken: a cap of 4 nats (one metric 3 s, two metrics 4 s) and of 5 (3 s; one look"
        " may then win 148-fold), 0.75 of the wealth at the start, grids of 5, 6 and 8 sizes (4 s).",
    ),
    (
        "fault/2x/*",
        "The price of not knowing the size: one of seven sizes has 0.086 of the wealth, 2.5 nats beside the 4.6 that"
        " decide. Tried: grids of 5 to 8 sizes, up to 0.75 at the start (1 to 2 % less, late faults 2 to 4 % more).",
    ),
)
"""Why a cell misses and what was tried, by the pattern of its name; the first that fits."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One promise: its limit, the worst that was found, and the cell that it was found in."""

    promise: str
    limit: str
    found: str
    cell: str


def summary(outcomes: Sequence[Outcome], *, commit: str, planned: int) -> Iterator[str]:
    """Return the lines above the tables.

    Args:
        outcomes: One a cell.
        commit: Of the tree that was measured.
        planned: How many cells a whole run has.
    """
    counted = [o for o in outcomes if o.get("reported", True)]
    yield "# The decision engine against its peers, on services that do not exist\n"
    yield "Written by `make bench-analysis`; do not edit.\n"
    yield (
        "The engine judges simulated releases, good ones and bad ones, beside the documented rules of Argo Rollouts,"
        " Flagger, Kayenta, a burn-rate alert and a repeated z test, all on the same counts. Two judges who know what"
        " nobody can know set the scale: the *clairvoyant* knows both rates and the second in which the fault begins,"
        " the *drift-proof* one knows the same and trusts no level of stable's rate.\n"
    )
    yield f"{one_line(outcomes, planned)}\n"
    yield "| promise | limit | worst found | in |\n|---|---|---|---|"
    yield from (f"| {f.promise} | {f.limit} | {f.found} | {f.cell} |" for f in figures(counted))
    yield from _beside(counted)
    yield from _missed(misses(outcomes))
    yield from _repeat(outcomes, commit)


def figures(counted: Sequence[Outcome]) -> Iterator[Figure]:
    """Return every promise with the worst cell; nothing for promises that no cell speaks of."""
    yield from _false(counted)
    early = [o for o in counted if o["kind"] == "fault" and not o["late"] and has_enough_errors(o)]
    late = [o for o in counted if o["kind"] == "fault" and o["late"] and is_plain(o)]
    yield from _ratios(
        "early fault, delay to the clairvoyant, one metric", "1.6x", early, "one metric", "clairvoyant"
    )
    yield from _ratios("the same with two metrics", "1.9x", early, "two metrics", "clairvoyant")
    yield from _ratios(
        "late fault, delay to the drift-proof", f"{LATE_WORST:g}x", late, "one metric", "drift-proof"
    )
    known = [r for o in late if (r := ratio(o, "one metric", "drift-proof")) is not None]
    if known:
        mean = f"{sum(known) / len(known):.2f}x"
        yield Figure("the same on average", f"{LATE_MEAN:g}x", mean, f"{len(known)} cells")
    yield from _seconds(counted)
    for o in (o for o in counted if o["kind"] == "cost"):
        yield Figure(
            "CPU of one metric and look", f"{LOOK_US:g} us", f"{max(o['look_us'].values()):.1f} us", "cost"
        )
        yield Figure(
            "1 000 releases x 4 metrics x 1 look/s",
            f"{FLEET_CORES:g} core",
            f"{o['fleet_cores']:.2f} core",
            "cost",
        )


def _false(counted: Sequence[Outcome]) -> Iterator[Figure]:
    nulls = [
        (o["by"][n]["false"], o["replications"], o)
        for o in counted
        if o["kind"] == "null"
        for n in entrants_of(o)
    ]
    if not nulls:
        return
    k, n, worst = max(nulls, key=lambda found: found[0] / found[1])
    bound = lower(k, n, 0.999)
    yield Figure(
        "good release rolled back, exact 99.9 % lower bound",
        f"{FALSE_BOUND:.0%}",
        f"{bound:.2%} (estimate {k / n:.2%} of {n})",
        worst["cell"],
    )
    failed, whole = sum(k for k, _, _ in nulls), sum(n for _, n, _ in nulls)
    pooled = (
        f"{failed / whole:.3%} (95 %: {lower(failed, whole, 0.975):.3%} to {upper(failed, whole, 0.975):.3%})"
    )
    yield Figure(
        "the same, all of them together", "goal 0.3 %", pooled, f"{len(nulls)} rows, {whole} releases"
    )


def _ratios(promise: str, limit: str, among: Sequence[Outcome], ours: str, theirs: str) -> Iterator[Figure]:
    known = [(r, o["cell"]) for o in among if (r := ratio(o, ours, theirs)) is not None]
    if known:
        worst, cell = max(known)
        mean = sum(r for r, _ in known) / len(known)
        yield Figure(promise, limit, f"{worst:.2f}x (mean of {len(known)}: {mean:.2f}x)", cell)


def _seconds(counted: Sequence[Outcome]) -> Iterator[Figure]:
    large = [
        (o["by"]["two metrics"].get("median_s", float("inf")), o["cell"])
        for o in counted
        if o["kind"] == "fault"
        and is_plain(o)
        and not o["late"]
        and o["level"] >= 0.2
        and o["canary_rps"] >= FAST_REQUESTS_S
    ]
    if large:
        worst, cell = max(large)
        yield Figure(
            "20 % errors or more, 25 canary requests/s, two metrics, median",
            f"{FAST_S:g} s",
            f"{worst:g} s",
            cell,
        )
    climbs = [o for o in counted if o["cell"].startswith("promotion/fast/good/1000 rps") and "median_s" in o]
    if climbs:
        slowest = max(climbs, key=lambda o: o["median_s"])
        promise = "good release promoted with `fast` at 1 000 requests/s, median"
        yield Figure(promise, f"{PROMOTED_S:g} s", f"{slowest['median_s']:.0f} s", slowest["cell"])


def _beside(counted: Sequence[Outcome]) -> Iterator[str]:
    """Return one row a judge: what it does to good releases, and to bad ones that the clairvoyant finds."""
    good = [o for o in counted if o["kind"] == "null" and o["alike"]]
    bad = [o for o in counted if o["kind"] == "fault" and is_plain(o) and _is_found(o, "clairvoyant")]
    if not good or not bad:
        return
    yield (
        f"\n{len(good)} kinds of good releases with like instances, and {len(bad)} kinds of bad ones of which the"
        " clairvoyant finds 95 %:\n"
    )
    yield "| judge | good rolled back, mean / worst kind | kinds of bad found (95 %) | their median delay, mean |"
    yield "|---|---|---|---|"
    for name in ("one metric", "two metrics", *peers.NAMES):
        false = [o["by"][name]["false"] / o["replications"] for o in good]
        found = [o["by"][name]["median_s"] for o in bad if _is_found(o, name)]
        delay = f"{sum(found) / len(found):.0f} s" if found else "-"
        rolled = f"{sum(false) / len(false):.2%} / {max(false):.2%}"
        who = f"ours, {name}" if name in OURS else name
        yield f"| {who} | {rolled} | {len(found)} | {delay} |"
    yield "\nA judge that rolls back nearly everything finds every fault; delays are of the kinds each judge finds."


def _is_found(outcome: Outcome, name: str) -> bool:
    return bool(outcome["by"][name]["detected"] >= MOST * outcome["replications"])


def _missed(found: Sequence[Miss]) -> Iterator[str]:
    yield "\n## What is missed\n"
    if not found:
        yield "Nothing."
    for miss in found:
        why = next((reason for pattern, reason in REASONS if fnmatch.fnmatch(miss.cell, pattern)), "")
        yield f"- {miss}{'. ' if why else ''}{why}"


def _repeat(outcomes: Sequence[Outcome], commit: str) -> Iterator[str]:
    chosen = sorted({f.name for f in cells.CHOSEN_ON})
    least = min((o["replications"] for o in outcomes if "replications" in o), default=0)
    yield "\n## How it was measured, and how to repeat it\n"
    yield (
        f"`make bench-analysis` (seed {SEED}, commit {commit}, Python {platform.python_version()},"
        f" {platform.machine()}; at least {least} releases a cell). It can be stopped and goes on where it was;"
        " `ARGS=\"--cells 'null/*' --scale 0.1\"` runs a part of it. The compiled engine of the bench equals"
        " `controller/analysis` to 1e-9 on 10 000 seeded paths (tests/bench/analysis/test_bench_vectorised.py).\n"
    )
    yield (
        f"Defaults were chosen on other cells than those that are held against the limits. Chosen on:"
        f" {_ladder(cells.CHOOSING_LADDER)}, base rate 0.5 % (the effect sizes also 0.05 to 2 %, 10 to 5 000 requests/s),"
        f" the faults of the last table and its families ({'; '.join(chosen)}). Reported: {_ladder(cells.REPORTED_LADDER)}, other base rates, other rates of"
        " traffic, other faults, other shapes of the same dangers.\n"
    )
    yield (
        "Delays are seconds from the fault to the verdict. Looks are one second apart, a fault begins with a look, and"
        " a reading is one second old when it is judged, for us and for the oracles: no delay is below 2 s. Peers read"
        " a 15 s scrape and judge without that second. Early faults begin when the warm-up ends. Actuation is excluded"
        f" for everybody. {len(peers.NAMES)} rules of peers are re-implemented from their documents, not run."
    )


def _ladder(ladder: Ladder) -> str:
    return f"{'/'.join(f'{s:.0%}' for s in ladder.shares)} x {ladder.step_s:g} s"
