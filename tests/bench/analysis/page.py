"""The bench's page: the summary, then every cell as one row of a markdown table.

Before it: `run` has the outcomes and `summary` the first screen. After it: people read docs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.bench.analysis import peers
from tests.bench.analysis.chances import lower, upper
from tests.bench.analysis.judge import OURS
from tests.bench.analysis.promises import Outcome, has_enough_errors, ratio
from tests.bench.analysis.summary import summary

CI = 0.975
RAILS = ("rail at any time", "rail in warm-up")
ORACLES = ("clairvoyant", "drift-proof")
RAIL_ALONE = (
    "`rail at any time` looks at the canary alone; the product's rail also asks that stable fails at most a fourth as"
    " often, because bursts on both arms are nobody's fault."
)
DELAYS = (
    "Each field: releases in which it was detected; seconds; canary requests; failing requests that users saw (each"
    " median / p95, from the fault to the verdict). `few errors`: the clairvoyant needs fewer than ten, no limit."
)


def page(outcomes: Sequence[Outcome], *, commit: str, planned: int) -> str:
    """Return the whole page.

    Args:
        outcomes: One a cell.
        commit: Of the tree that was measured.
        planned: How many cells a whole run has.
    """
    reported = [o for o in outcomes if o.get("reported", True)]
    chosen = [o for o in outcomes if not o.get("reported", True)]
    lines = [
        *summary(outcomes, commit=commit, planned=planned),
        *_nulls(reported, "Good versions that were rolled back (95 % exact interval for ours)"),
        *_faults(reported, "Bad versions"),
        *_latency(reported),
        *_promotion(reported),
        *(_cost(o) for o in reported if o["kind"] == "cost"),
        *_nulls(chosen, "Chosen on: good versions"),
        *_faults(chosen, "Chosen on: bad versions"),
    ]
    return "\n".join([*lines, ""])


def _of(kind: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [o for o in outcomes if o["kind"] == kind]


def _table(title: str, columns: Sequence[str], what: str = "") -> Iterator[str]:
    yield f"\n## {title}\n"
    if what:
        yield f"{what}\n"
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"


def _nulls(outcomes: Sequence[Outcome], title: str) -> Iterator[str]:
    columns = (*OURS, *RAILS, *peers.NAMES)
    yield from _table(title, ("cell", "n", *columns), RAIL_ALONE)
    for outcome in _of("null", outcomes):
        n, by = outcome["replications"], outcome["by"]
        cells = [
            _with_interval(by[c]["false"], n) if c in OURS else f"{by[c]['false'] / n:.2%}" for c in columns
        ]
        yield f"| {_name(outcome)} | {n} | {' | '.join(cells)} |"


def _with_interval(k: int, n: int) -> str:
    return f"{k / n:.2%} ({lower(k, n, CI):.2%}-{upper(k, n, CI):.2%})"


def _faults(outcomes: Sequence[Outcome], title: str) -> Iterator[str]:
    """Return two tables: we beside the judges who know, then we beside the peers."""
    found, ours = _of("fault", outcomes), OURS[0]
    ratios = (
        "times the clairvoyant: one metric",
        "two metrics",
        "fleet",
        "times the drift-proof: one metric",
    )
    yield from _table(f"{title}, beside judges who know", ("cell", "n", *ratios, *ORACLES, *OURS), DELAYS)
    for o in found:
        columns = (*_ratios(o), *(_delay(o, column) for column in (*ORACLES, *OURS)))
        yield f"| {_name(o)} | {o['replications']} | {' | '.join(columns)} |"
    others = (ours, *RAILS, *peers.NAMES)
    yield from _table(f"{title}, beside the peers", ("cell", *others), DELAYS)
    for o in found:
        yield f"| {_name(o)} | {' | '.join(_delay(o, column) for column in others)} |"


def _ratios(outcome: Outcome) -> Iterator[str]:
    few = "" if has_enough_errors(outcome) else " (few errors)"
    for name in OURS:
        yield f"{_times(ratio(outcome, name, 'clairvoyant'))}{few}"
    yield _times(ratio(outcome, OURS[0], "drift-proof"))


def _times(found: float | None) -> str:
    return "-" if found is None else f"{found:.2f}"


def _delay(outcome: Outcome, column: str) -> str:
    by, n = outcome["by"][column], outcome["replications"]
    false = f", {by['false'] / n:.0%} before it" if by["false"] else ""
    if not by["detected"]:
        return f"-{false}"
    return (
        f"{by['detected'] / n:.0%}{false}; {by['median_s']:.0f} / {by['p95_s']:.0f} s;"
        f" {by['requests']:.0f} / {by['requests_p95']:.0f};"
        f" {by['failing']:.0f} / {by['failing_p95']:.0f}"
    )


def _latency(outcomes: Sequence[Outcome]) -> Iterator[str]:
    what = "Exceedance counts at the bounds that were stable's p50, p90 and p99, with 0.4 of the wealth."
    yield from _table("Latency", ("cell", "n", "rolled back", "median / p95 s"), what)
    for o in _of("latency", outcomes):
        name = o["cell"].removeprefix("latency/")
        yield f"| {name} | {o['replications']} | {o['seen'] / o['replications']:.1%} | {_times_s(o)} |"


def _promotion(outcomes: Sequence[Outcome]) -> Iterator[str]:
    what = (
        "A step ends when the canary is certified to be within the profile's margin (`fast` 1.5 x + 1 point,"
        " `standard` 1.25 x + 0.2 points), and not before its least time. `at the margin`: the canary is exactly as bad"
        " as the margin, and at most 5 % of such steps may be certified. `unlike instances`: every instance has a luck"
        " of its own, and the proof is about the instances that serve."
    )
    columns = ("cell", "n", "certified in time, each step", "promoted", "median / p95 s", "rolled back")
    yield from _table("Time to full promotion", columns, what)
    for o in _of("promotion", outcomes):
        n, steps = o["replications"], " / ".join(f"{part:.1%}" for part in o["steps"])
        name = o["cell"].removeprefix("promotion/")
        rolled_back = f"{o['rolled_back'] / n:.2%}"
        yield f"| {name} | {n} | {steps} | {o['promoted'] / n:.1%} | {_times_s(o)} | {rolled_back} |"


def _name(outcome: Outcome) -> str:
    return str(outcome["cell"]).split("/", 1)[1].removesuffix(" (choosing)")


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
