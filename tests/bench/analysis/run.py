"""`make bench-analysis`: judge every cell, keep each outcome as it comes, write the page, and say it in one line.

Before it: `cells`, `latency`, `promotion` and `cost` name what is measured. After it: a page in docs. A run that is
stopped goes on where it was: outcomes are lines of JSON, each with the digest of the sources that made it.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.analysis import cells, cost, latency, promotion
from tests.bench.analysis.compiled import ROOT, digest
from tests.bench.analysis.judge import judge_cell
from tests.bench.analysis.page import page
from tests.bench.analysis.promises import LOOK_AGAIN, entrants_of, one_line

AGAIN = 20_000
"""Replications of a null cell whose first estimate is above 0.7 %."""
Job = tuple[str, Callable[[], dict[str, Any]]]


def main() -> None:
    """Run what is asked for and print the summary as the last line."""
    asked = _arguments()
    for path in filter(None, (asked.results, asked.page)):
        path.parent.mkdir(parents=True, exist_ok=True)
    stamp = digest()
    known = {
        o["cell"]: o for o in _stored(asked.results) if o["digest"] == stamp and o["asked"] == asked.scale
    }
    planned = [job for job in jobs(asked.scale) if fnmatch.fnmatch(job[0], asked.cells)]
    todo = [job for job in planned if job[0] not in known]
    for outcome in _run(todo, asked.workers, time.monotonic() + asked.seconds):
        known[outcome["cell"]] = outcome
        with asked.results.open("a") as file:
            file.write(json.dumps(outcome | {"digest": stamp, "asked": asked.scale}) + "\n")
        print(f"{len(known)}/{len(planned)} {outcome['cell']}", flush=True)
    outcomes = [known[name] for name, _ in planned if name in known]
    if asked.page:
        asked.page.write_text(page(outcomes, commit=commit(), planned=len(planned)))
    print(one_line(outcomes, len(planned)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="markdown file to write")
    parser.add_argument("--results", type=Path, required=True, help="JSON lines, kept between runs")
    parser.add_argument("--seconds", type=float, default=2400, help="no cell begins after this long")
    parser.add_argument("--cells", default="*", help="names to run, as a shell pattern")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the replications")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    return parser.parse_args()


def jobs(scale: float) -> Iterator[Job]:
    """Return every cell with the call that judges it."""
    for cell in cells.all_cells():
        if cell.fault:
            yield cell.name, partial(judge_cell, cell, max(round(400 * scale), 20))
        else:
            yield cell.name, partial(judge_null, cell, max(round(2000 * scale), 20))
    for slower in latency.cells():
        yield slower.name, partial(latency.judge_latency, slower, max(round(400 * scale), 20))
    for climb in promotion.climbs():
        yield climb.name, partial(promotion.judge_climb, climb, max(round(1000 * scale), 20))
    yield "cost", cost.measure


def judge_null(cell: cells.Cell, replications: int) -> dict[str, Any]:
    """Judge a good version; an estimate above 0.7 % is thrown away and measured anew with fresh luck."""
    outcome = judge_cell(cell, replications)
    worst = max(outcome["by"][name]["false"] for name in entrants_of(outcome)) / replications
    if worst <= LOOK_AGAIN or replications < 1000 or not cell.reported:
        return outcome
    return judge_cell(cell, AGAIN, salt=1) | {"first_estimate": worst}


def _run(todo: Sequence[Job], workers: int, until: float) -> Iterator[dict[str, Any]]:
    """Yield outcomes as they come; after the deadline no cell begins."""
    waiting = list(reversed(todo))
    with ProcessPoolExecutor(workers) as pool:
        running: set[Future[dict[str, Any]]] = set()
        while waiting or running:
            while waiting and len(running) < workers and time.monotonic() < until:
                running.add(pool.submit(waiting.pop()[1]))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _stored(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def commit() -> str:
    """Return the commit that is checked out, with a mark where files differ from it."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
