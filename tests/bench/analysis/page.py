"""The bench's page: every cell as one row of a markdown table, with seeds, commit and what was missed.

Before it: `run` has the outcomes. After it: people read docs.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

from tests.bench.analysis import peers
from tests.bench.analysis.cells import CHOOSING_LADDER, REPORTED_LADDER
from tests.bench.analysis.chances import lower, upper
from tests.bench.analysis.judge import OURS, SEED
from tests.bench.analysis.promises import Outcome, has_enough_errors, misses, one_line, ratio
from tests.bench.analysis.shapes import Ladder

CI = 0.975


def page(outcomes: Sequence[Outcome], *, commit: str, planned: int) -> str:
    """Return the whole page.

    Args:
        outcomes: One a cell.
        commit: Of the tree that was measured.
        planned: How many cells a whole run has.
    """
    return "\n".join(
        [*_head(outcomes, commit, planned), *_nulls(outcomes), *_faults(outcomes), *_rest(outcomes), ""]
    )


def _head(outcomes: Sequence[Outcome], commit: str, planned: int) -> Iterator[str]:
    yield "# The decision engine against its peers, on services that do not exist\n"
    yield "Written by `make bench-analysis`; do not edit.\n"
    yield f"{one_line(outcomes, planned)}\n"
    yield f"Seed {SEED}, commit {commit}, Python {platform.python_version()}, {platform.machine()}.\n"
    yield f"Reported: {_ladder(REPORTED_LADDER)}. Choosing, not held against the figures: {_ladder(CHOOSING_LADDER)}.\n"
    yield (
        "Delays are seconds from the fault to the verdict. Looks are one second apart, a fault begins with a look, and"
        " a reading is one second old when it is judged, for us and for the oracles: no delay is below 2 s. Peers read"
        " a 15 s scrape and judge without that second. Early faults begin when the warm-up ends. Actuation is excluded"
        " for everybody. Peers are re-implemented from their documented rules, not run.\n"
    )
    yield "## Misses\n"
    found = misses(outcomes)
    yield from (f"- {miss}" for miss in found)
    if not found:
        yield "None."


def _ladder(ladder: Ladder) -> str:
    return f"{'/'.join(f'{s:.0%}' for s in ladder.shares)} x {ladder.step_s:g} s"


def _nulls(outcomes: Sequence[Outcome]) -> Iterator[str]:
    columns = (*OURS, "rail at any time", "rail in warm-up", *peers.NAMES)
    yield "\n## Good versions that were rolled back (95 % exact interval for ours)\n"
    yield f"| cell | n | {' | '.join(columns)} |"
    yield f"|---|---|{'---|' * len(columns)}"
    for outcome in outcomes:
        if outcome["kind"] != "null":
            continue
        n, by = outcome["replications"], outcome["by"]
        cells = [
            _with_interval(by[c]["false"], n) if c in OURS else f"{by[c]['false'] / n:.2%}" for c in columns
        ]
        yield f"| {outcome['cell'].removeprefix('null/')} | {n} | {' | '.join(cells)} |"


def _with_interval(k: int, n: int) -> str:
    return f"{k / n:.2%} ({lower(k, n, CI):.2%}-{upper(k, n, CI):.2%})"


def _faults(outcomes: Sequence[Outcome]) -> Iterator[str]:
    columns = ("clairvoyant", "drift-proof", *OURS, "rail at any time", "rail in warm-up", *peers.NAMES)
    yield "\n## Bad versions: detected; delay s median / p95; canary requests; failing requests users saw, median / p95\n"
    yield f"| cell | n | ratio to clairvoyant (two metrics / fleet) | to drift-proof | {' | '.join(columns)} |"
    yield f"|---|---|---|---|{'---|' * len(columns)}"
    for outcome in outcomes:
        if outcome["kind"] != "fault":
            continue
        few = "" if has_enough_errors(outcome) else " (few errors)"
        ratios = (
            f"{_times(ratio(outcome, 'one metric', 'clairvoyant'))} ({_times(ratio(outcome, 'two metrics', 'clairvoyant'))} / {_times(ratio(outcome, 'fleet', 'clairvoyant'))}){few}",
            _times(ratio(outcome, "one metric", "drift-proof")),
        )
        cells = [_delay(outcome, column) for column in columns]
        name = outcome["cell"].removeprefix("fault/")
        yield f"| {name} | {outcome['replications']} | {' | '.join((*ratios, *cells))} |"


def _times(found: float | None) -> str:
    return "-" if found is None else f"{found:.2f}"


def _delay(outcome: Outcome, column: str) -> str:
    by, n = outcome["by"][column], outcome["replications"]
    false = f", {by['false'] / n:.0%} before it" if by["false"] else ""
    if not by["detected"]:
        return f"-{false}"
    return (
        f"{by['detected'] / n:.0%}{false}; {by['median_s']:.0f} / {by['p95_s']:.0f} s; {by['requests']:.0f};"
        f" {by['failing']:.0f} / {by['failing_p95']:.0f}"
    )


def _rest(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "\n## Latency ladder\n\n| cell | n | seen | median / p95 s |\n|---|---|---|---|"
    for o in outcomes:
        if o["kind"] == "latency":
            yield f"| {o['cell']} | {o['replications']} | {o['seen'] / o['replications']:.1%} | {_times_s(o)} |"
    yield "\n## Promotion: steps certified in time; seconds to the end of the last step\n"
    yield "| cell | n | certified, each step | promoted | median / p95 s | rolled back |\n|---|---|---|---|---|---|"
    for o in outcomes:
        if o["kind"] == "promotion":
            n, steps = o["replications"], " / ".join(f"{part:.1%}" for part in o["steps"])
            yield (
                f"| {o['cell']} | {n} | {steps} | {o['promoted'] / n:.1%} | {_times_s(o)}"
                f" | {o['rolled_back'] / n:.2%} |"
            )
    yield from (_cost(o) for o in outcomes if o["kind"] == "cost")


def _times_s(outcome: Outcome) -> str:
    return f"{outcome['median_s']:.0f} / {outcome['p95_s']:.0f}" if "median_s" in outcome else "-"


def _cost(outcome: Outcome) -> str:
    looks = ", ".join(f"{name} {us:.1f}" for name, us in outcome["look_us"].items())
    return (
        f"\n## Cost\n\nCPU microseconds of one metric and look: {looks}; its proof {outcome['proof_us']:.1f}."
        f" A loop of 100 multiplications and additions took {outcome['loop_us']:.2f}: the worst look is"
        f" {outcome['ratio']:.1f} of them. 1 000 releases x 4 metrics x 1 look/s, odds and proof together:"
        f" {outcome['fleet_cores']:.2f} core."
    )
