"""One cell, judged by everybody, in batches that fit the memory.

Before it: `cells` names it. After it: `run` keeps the outcome as one line of JSON and `page` prints it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.bench.analysis import entrants, oracle, peers
from tests.bench.analysis.cells import Cell, warm_up_looks
from tests.bench.analysis.fleets import SEGMENT_S, STABLE_INSTANCES, canary_instances, luck, with_luck
from tests.bench.analysis.past import GENERATIONS, HOUR_S, look_back
from tests.bench.analysis.shapes import NEVER, Counts, Floats, Ints, Past
from tests.bench.analysis.vectorised import first_at_least
from tests.bench.analysis.worlds import Rates, counts, rates

SEED = 20_261_124
BATCH = 250
OURS = ("one metric", "two metrics", "fleet")
READING_S = 1.0
"""Age of a reading when it is judged; ours and the oracles' delays hold it, peers' own scrape is theirs."""


@dataclass(slots=True)
class Tally:
    """What one entrant did: seconds of its rollbacks (`NEVER` for none), requests and failures until then."""

    at_s: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    failing: list[int] = field(default_factory=list)


def judge_cell(cell: Cell, replications: int, salt: int = 0) -> dict[str, Any]:
    """Return the outcome of a cell as plain values.

    Args:
        cell: The row.
        replications: How many rollouts.
        salt: Another number gives fresh luck, for a rerun.
    """
    tallies: dict[str, Tally] = {}
    for batch in range(0, replications, BATCH):
        rng = np.random.default_rng([SEED, salt, zlib.crc32(cell.name.encode()), batch])
        _judge_batch(cell, min(BATCH, replications - batch), rng, tallies)
    begin_s = cell.fault.at_s if cell.fault else 0.0
    return {
        "cell": cell.name,
        "replications": replications,
        "reported": cell.reported,
        "kind": "fault" if cell.fault else "null",
        "alike": not cell.family.spread,
        "alone": cell.family.sizes == (1,),
        "late": cell.is_late,
        "rps": cell.rps,
        "base": cell.base,
        "level": cell.fault.level if cell.fault else 0.0,
        "canary_rps": cell.rps * cell.ladder.shares[int(begin_s // cell.ladder.step_s)],
        "by": {
            name: _summary(tally, begin_s, cell, 0.0 if name in peers.NAMES else READING_S)
            for name, tally in tallies.items()
        },
    }


def _judge_batch(cell: Cell, rows: int, rng: np.random.Generator, tallies: dict[str, Tally]) -> None:
    world, past = _draw(cell, rows, rng)
    drawn = counts(cell.family, world, cell.ladder, rng)
    odds = entrants.odds(drawn, past, cell)
    bar = entrants.FLEET_DELAY if cell.fault else entrants.FLEET_FALSE
    looks = {
        "one metric": first_at_least(odds.plain, entrants.ONE_METRIC),
        "two metrics": first_at_least(odds.plain, entrants.TWO_METRICS),
        "fleet": first_at_least(odds.lucky, bar),
        "rail at any time": entrants.rail(drawn),
        "rail in warm-up": entrants.rail(drawn, until=warm_up_looks(cell.ladder)),
    }
    if cell.fault:
        looks |= _oracles(cell, drawn, world)
    for name, look in looks.items():
        _add(tallies.setdefault(name, Tally()), np.where(look == NEVER, NEVER, look + 1.0), drawn, cell)
    for name, second in peers.judge_all(drawn, cell.ladder).items():
        _add(tallies.setdefault(name, Tally()), second.astype(np.float64), drawn, cell)


def _draw(cell: Cell, rows: int, rng: np.random.Generator) -> tuple[Rates, Past]:
    family, ladder = cell.family, cell.ladder
    stable = luck(family, rows, STABLE_INSTANCES, HOUR_S + ladder.total_s, rng)
    canary = luck(family, rows, canary_instances(max(ladder.shares)), ladder.total_s, rng)
    earlier = luck(family, rows, STABLE_INSTANCES * (GENERATIONS - 1), HOUR_S, rng).mean(axis=2)
    hour = round(HOUR_S / SEGMENT_S)
    past = look_back(family, cell.rps, cell.base, stable[:, :, :hour], earlier, rng)
    world = rates(family, cell.fault, ladder, cell.rps, cell.base, rows, rng)
    return with_luck(world, ladder, canary, stable[:, :, hour:]), past


def _oracles(cell: Cell, drawn: Counts, world: Rates) -> dict[str, Ints]:
    assert cell.fault is not None
    first = round(cell.fault.at_s / cell.ladder.look_s)
    margin = {"rho": entrants.MARGIN_RHO, "delta": entrants.MARGIN_DELTA}
    paths = {
        "clairvoyant": oracle.clairvoyant(drawn, world, first, **margin),
        "drift-proof": oracle.drift_proof(drawn, world, first, **margin),
    }
    return {name: first_at_least(path, entrants.ONE_METRIC) for name, path in paths.items()}


def _add(tally: Tally, at_s: Floats, drawn: Counts, cell: Cell) -> None:
    first = round(cell.fault.at_s / cell.ladder.look_s) if cell.fault else 0
    requests, failing = np.cumsum(drawn.nc, axis=1), np.cumsum(drawn.xc, axis=1)
    for row, second in enumerate(at_s):
        tally.at_s.append(float(second))
        if second == NEVER:
            continue
        last = min(int(second / cell.ladder.look_s), cell.ladder.looks) - 1
        before = first - 1
        tally.requests.append(int(requests[row, last] - (requests[row, before] if first else 0)))
        tally.failing.append(int(failing[row, last] - (failing[row, before] if first else 0)))


def _summary(tally: Tally, begin_s: float, cell: Cell, lag_s: float) -> dict[str, float | int]:
    """Return counts and delays; a rollback before the fault is a false one and has no delay."""
    at = np.asarray(tally.at_s)
    false = int(((at != NEVER) & (at <= begin_s)).sum()) if cell.fault else int((at != NEVER).sum())
    delays = at[at > begin_s] - begin_s + lag_s
    found: dict[str, float | int] = {"false": false, "detected": int(delays.size) if cell.fault else 0}
    if cell.fault and delays.size:
        missed = int((at == NEVER).sum())
        whole = np.concatenate([delays, np.full(missed, cell.ladder.total_s - begin_s + lag_s)])
        found |= {
            "mean_s": float(delays.mean()),
            "mean_censored_s": float(whole.mean()),
            "median_s": float(np.median(delays)),
            "p95_s": float(np.quantile(delays, 0.95)),
            "requests": float(np.median(tally.requests)),
            "requests_p95": float(np.quantile(tally.requests, 0.95)),
            "failing": float(np.median(tally.failing)),
            "failing_p95": float(np.quantile(tally.failing, 0.95)),
        }
    return found
